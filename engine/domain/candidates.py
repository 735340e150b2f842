"""From signals and positions to candidates: exits first, then sized and assessed entries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from engine.domain import exits, sizing
from engine.domain import risk as rules
from engine.domain.candles import Candles
from engine.domain.cycle import DroppedSignal, SymbolFacts
from engine.domain.limits import Limits
from engine.domain.model import (
    Action,
    Instrument,
    OrderIntent,
    PortfolioSnapshot,
    Position,
    RiskDecision,
    Signal,
    TradingState,
)


class Desk(NamedTuple):
    """What candidates are judged on; facts, candles and instruments by symbol.

    `snapshot` is None when the account is not known: then nothing is entered or left.
    """

    snapshot: PortfolioSnapshot | None
    facts: Mapping[str, SymbolFacts]
    candles: Mapping[str, Candles]
    instruments: Mapping[str, Instrument]
    limits: Limits
    market_time: datetime
    trading_state: TradingState
    may_enter: bool


@dataclass
class Gathered:
    """Candidates for the barrier, refusals by the rules of one symbol, and dropped signals."""

    candidates: list[OrderIntent] = field(default_factory=list)
    denied: list[RiskDecision] = field(default_factory=list)
    dropped: list[DroppedSignal] = field(default_factory=list)


def gather(desk: Desk, kept: Iterable[Signal]) -> Gathered:
    """Exits first: a symbol that is left is not entered in the same cycle."""
    signals = list(kept)
    found = Gathered()
    leaving = {signal.symbol: signal for signal in signals if signal.action is Action.SELL}
    left: set[str] = set()
    for position in positions(desk):
        if position.symbol not in desk.facts:
            continue  # another batch's
        intent = _exit(desk, position, leaving.get(position.symbol))
        if intent is not None:
            found.candidates.append(intent)
            left.add(position.symbol)
    for signal in signals:
        if signal.action is not Action.BUY:
            continue
        if signal.symbol in left:
            reason = "the position is being left"
            found.dropped.append(DroppedSignal(signal=signal, reason=reason))
            continue
        _enter(desk, signal, found)
    return found


def positions(desk: Desk) -> tuple[Position, ...]:
    """What is held, as far as it is known."""
    return desk.snapshot.positions if desk.snapshot is not None else ()


def touched(desk: Desk, position: Position) -> exits.ProtectiveExit | None:
    """The protective exit that is called for; None also where candles or facts are missing."""
    facts = desk.facts.get(position.symbol)
    candles = desk.candles.get(position.symbol)
    if facts is None or candles is None:
        return None
    return exits.protective_exit(
        position,
        facts,
        candles,
        exits=desk.limits.exits,
        timeframe_s=desk.limits.timeframe_s,
        market_time=desk.market_time,
    )


def requested(desk: Desk, position: Position) -> exits.ProtectiveExit | None:
    """The exit that an operator asked for; it needs neither candles nor a touched level."""
    facts = desk.facts.get(position.symbol)
    reason = None if facts is None else facts.exits_requested.get(position.opened_at)
    if reason is None:
        return None
    return exits.ProtectiveExit(
        reason="operator",
        detail=reason,
        trigger_price=position.market_price,
        touch_price=position.market_price,
    )


def leave(
    desk: Desk, position: Position, cause: exits.ProtectiveExit | None, sell: Signal | None
) -> OrderIntent | None:
    """The sale of a position for `cause`, else for the strategy's `sell`; None if not sellable."""
    facts = desk.facts.get(position.symbol)
    instrument = desk.instruments.get(position.symbol)
    if facts is None or instrument is None or position.quantity <= 0:
        return None
    intent = sizing.size_exit(
        position,
        instrument,
        account=desk.limits.account,
        reason=cause.reason if cause is not None else "signal",
        facts=facts,
        candle_time=cause.candle_time if cause is not None else 0,
        detail=cause.detail if cause is not None else "",
        signal=sell if cause is None else None,
    )
    return intent if intent.quantity > 0 else None


def _exit(desk: Desk, position: Position, sell: Signal | None) -> OrderIntent | None:
    """The sale that operator, protective exit or strategy calls for; None keeps the position."""
    cause = requested(desk, position) or touched(desk, position)
    if cause is None and sell is None:
        return None
    return leave(desk, position, cause, sell)


def _enter(desk: Desk, signal: Signal, found: Gathered) -> None:
    """Size a buy and put it to the per-symbol rules."""
    facts = desk.facts.get(signal.symbol)
    instrument = desk.instruments.get(signal.symbol)
    candles = desk.candles.get(signal.symbol)
    if desk.snapshot is None or facts is None or instrument is None or candles is None:
        reason = "the account is not known" if desk.snapshot is None else "no candles or instrument"
        found.dropped.append(DroppedSignal(signal=signal, reason=reason))
        return
    answer = rules.assess(
        sizing.size_entry(signal, instrument, desk.snapshot, candles, desk.limits),
        facts,
        instrument,
        desk.snapshot,
        desk.limits,
        market_time=desk.market_time,
        trading_state=desk.trading_state,
        may_enter=desk.may_enter,
    )
    if isinstance(answer, RiskDecision):
        found.denied.append(answer)
    else:
        found.candidates.append(answer)
