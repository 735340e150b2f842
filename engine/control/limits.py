"""How much of each limit of the account is used."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from engine.control.desk import Desk
from engine.domain import risk
from engine.domain.model import PortfolioSnapshot
from engine.domain.risk import LimitUsage


def limits_used(
    desk: Desk, snapshot: PortfolioSnapshot | None, market_time: datetime | None
) -> tuple[LimitUsage, ...]:
    """Each limit with its use, from the last known account; nothing before there is one."""
    if snapshot is None:
        return ()
    at = market_time if market_time is not None else desk.engine.clock.now()
    levels = desk.account.entry_levels() if snapshot.positions else {}
    stops = {
        symbol: each.stop_price for symbol, each in levels.items() if each.stop_price is not None
    }
    committed = desk.account.commitments(at)
    limits = desk.engine.limits.risk
    used = risk.usage(
        snapshot,
        limits,
        open_orders=committed.open_orders,
        entry_stops=stops,
        orders_last_minute=committed.orders_last_minute,
    )
    return (*used, *_largest_position(snapshot, limits.max_position_size_pct))


def _largest_position(snapshot: PortfolioSnapshot, limit: Decimal) -> tuple[LimitUsage, ...]:
    """The position that is nearest to the bound on one symbol; none without equity or positions."""
    held = max(snapshot.positions, key=lambda position: position.value, default=None)
    if held is None or snapshot.equity <= 0:
        return ()
    used = (held.value / snapshot.equity).quantize(risk.SHARE_PLACES)
    effect = f"no further entry in {held.symbol}"
    row = LimitUsage(
        name="max_position_size_pct", used=used, limit=limit, unit="of equity", effect=effect
    )
    return (row,)
