"""How much of each limit of the account is used."""

from __future__ import annotations

from datetime import datetime

from engine.control.desk import Desk
from engine.domain import risk
from engine.domain.model import PortfolioSnapshot
from engine.domain.risk import LimitUsage
from engine.settings import decision_limits


def limits_used(
    desk: Desk, snapshot: PortfolioSnapshot | None, market_time: datetime | None
) -> tuple[LimitUsage, ...]:
    """Each limit with its use, from the last known account; nothing before there is one."""
    if snapshot is None:
        return ()
    at = market_time if market_time is not None else desk.engine.clock.now()
    held = [position.symbol for position in snapshot.positions]
    facts = desk.engine.ledger.orders.symbol_facts(held, at) if held else {}
    stops = {
        symbol: fact.stop_price for symbol, fact in facts.items() if fact.stop_price is not None
    }
    committed = desk.account.commitments(at)
    return risk.usage(
        snapshot,
        decision_limits(desk.engine.settings).risk,
        open_orders=committed.open_orders,
        entry_stops=stops,
        orders_last_minute=committed.orders_last_minute,
    )
