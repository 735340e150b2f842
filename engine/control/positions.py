"""Positions as they are shown, and what an operator may want of one."""

from __future__ import annotations

from decimal import Decimal

from engine.control.desk import Desk
from engine.control.operator_documents import Adopted, Enabled, ExitAsked, Positions
from engine.domain.account_history import EntryLevels
from engine.domain.amounts import EXACT, ZERO
from engine.domain.ledger_values import ExitRequest, with_owners
from engine.domain.model import PortfolioSnapshot, Position
from engine.domain.operator_views import PositionRow
from engine.errors import NotFound, Refused
from engine.ownership import alert_key
from engine.telemetry import get_logger

log = get_logger(__name__)

SHARE = Decimal("0.000001")
MOST_ALERTS = 500
NO_LEVELS = EntryLevels(stop_price=None, target_price=None)


def positions(desk: Desk, limit: int, before: str | None) -> Positions:
    """What is held, the largest value first, as the portfolio last said. Calls no service.

    The cursor is the place in that order.
    """
    snapshot = desk.engine.ledger.state.last_snapshot()
    if snapshot is None:
        return _nothing(desk)
    given = with_owners(snapshot, desk.engine.ledger.positions.adoptions())
    foreign = {held.symbol for held in snapshot.positions if held.strategy is None}
    held = sorted(
        (each for each in given.positions if each.quantity > 0),
        key=lambda each: (-each.value, each.symbol),
    )
    start = int(before or 0)
    shown = held[start : start + limit]
    levels = desk.account.entry_levels()
    wishes = desk.engine.ledger.positions.exit_requests()
    rows = tuple(
        _row(each, given, levels.get(each.symbol, NO_LEVELS), wishes, foreign) for each in shown
    )
    unrealised = sum((_profit(each) for each in held), ZERO)
    return Positions(
        items=rows,
        next_before=str(start + limit) if len(held) > start + limit else None,
        count=len(held),
        currency=snapshot.currency,
        equity=snapshot.equity,
        cash=snapshot.cash,
        unrealised=unrealised,
        as_of=snapshot.as_of,
    )


def close(desk: Desk, symbol: str, reason: str, actor: str) -> ExitAsked:
    """Ask the next cycles to leave a position. Raises NotFound; Refused for a foreign one."""
    snapshot, held = _held(desk, symbol)
    given = with_owners(snapshot, desk.engine.ledger.positions.adoptions())
    owned = given.position(symbol)
    if owned is None or owned.strategy is None:
        raise Refused(
            f"{symbol} is foreign: no strategy opened it; adopt it before it can be closed"
        )
    changed = desk.engine.ledger.positions.request_exit(
        held, reason, actor, desk.engine.clock.now()
    )
    log.warning("exit_requested", symbol=symbol, reason=reason, actor=actor, changed=changed)
    state = desk.engine.ledger.state.read().effective
    return ExitAsked(
        symbol=symbol, quantity=held.quantity, requested=True, changed=changed, trading_state=state
    )


def adopt(desk: Desk, symbol: str, strategy: str, actor: str) -> Adopted:
    """Give a foreign position to a strategy. Raises NotFound, Refused."""
    snapshot, held = _held(desk, symbol)
    known = [entry.id for entry in desk.engine.settings.services.strategy.strategies]
    if strategy not in known:
        raise Refused(f"there is no strategy {strategy}; there are {', '.join(known)}")
    if held.strategy is not None:
        raise Refused(f"{symbol} is not foreign: it belongs to {held.strategy}")
    changed = desk.engine.ledger.positions.adopt(
        held, strategy, snapshot.applied_seq, actor, desk.engine.clock.now()
    )
    desk.engine.ledger.state.resolve_alert(alert_key(symbol), desk.engine.clock.now())
    log.warning("position_adopted", symbol=symbol, strategy=strategy, actor=actor)
    return Adopted(symbol=symbol, strategy=strategy, quantity=held.quantity, changed=changed)


def enable(desk: Desk, strategy: str, actor: str) -> Enabled:
    """Let a throttled strategy enter again, in every symbol. Raises NotFound for an unknown one."""
    if strategy not in {entry.id for entry in desk.engine.settings.services.strategy.strategies}:
        raise NotFound(f"no strategy {strategy}")
    mine = [each for each in desk.operator.disabled_strategies() if each.strategy == strategy]
    now = desk.engine.clock.now()
    count = desk.engine.ledger.state.enable_strategy(strategy, now, actor)
    for alert in desk.operator.alerts(MOST_ALERTS, None, open_only=True).items:
        if alert.key.startswith(f"strategy_disabled|{strategy}|"):
            desk.engine.ledger.state.resolve_alert(alert.key, now)
    log.warning("strategy_enabled", strategy=strategy, actor=actor, symbols=count)
    return Enabled(
        strategy=strategy, changed=count > 0, symbols=tuple(each.symbol for each in mine)
    )


def _held(desk: Desk, symbol: str) -> tuple[PortfolioSnapshot, Position]:
    snapshot = desk.engine.ledger.state.last_snapshot()
    held = None if snapshot is None else snapshot.position(symbol)
    if snapshot is None or held is None or held.quantity <= 0:
        raise NotFound(f"no position in {symbol}")
    return snapshot, held


def _nothing(desk: Desk) -> Positions:
    return Positions(
        items=(),
        next_before=None,
        count=0,
        currency=desk.engine.settings.trading_engine.account_currency,
        equity=None,
        cash=None,
        unrealised=ZERO,
        as_of=None,
    )


def _row(
    held: Position,
    snapshot: PortfolioSnapshot,
    levels: EntryLevels,
    wishes: tuple[ExitRequest, ...],
    foreign: set[str],
) -> PositionRow:
    wish = next((each.reason for each in wishes if each.is_of(held)), "")
    cost = EXACT.multiply(held.quantity, held.average_price)
    profit = _profit(held)
    return PositionRow(
        symbol=held.symbol,
        quantity=held.quantity,
        average_price=held.average_price,
        market_price=held.market_price,
        value=held.value,
        share=_share(held.value, snapshot.equity),
        profit=profit,
        profit_share=_share(profit, cost),
        strategy=held.strategy,
        adopted=held.strategy is not None and held.symbol in foreign,
        opened_at=held.opened_at,
        stop_price=levels.stop_price,
        target_price=levels.target_price,
        exit_requested=wish,
    )


def _profit(held: Position) -> Decimal:
    return EXACT.multiply(held.quantity, EXACT.subtract(held.market_price, held.average_price))


def _share(part: Decimal, whole: Decimal) -> Decimal:
    return (part / whole).quantize(SHARE) if whole > 0 else ZERO
