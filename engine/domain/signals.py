"""Drops signals that may not be acted on, merges those of several strategies, and says why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from engine.domain.cycle import DroppedSignal
from engine.domain.model import Action, Position, Signal, Value

NOT_NEWEST = "not_newest"
MILLISECONDS = 1000


class FilteredSignals(Value, frozen=True, kw_only=True):
    """Signals sorted into kept and dropped; `received` counts all but `hold`.

    `kept` has at most one signal a symbol and is ordered by symbol.
    """

    kept: tuple[Signal, ...]
    dropped: tuple[DroppedSignal, ...]
    received: int


class _Context(NamedTuple):
    """What a signal is judged against; times in epoch milliseconds."""

    strategies: frozenset[str]
    min_confidence: float
    ttl_s: float
    step: int
    now: int
    newest: Mapping[str, int]
    positions: Mapping[str, Position]


def filter_signals(
    signals: Iterable[Signal],
    *,
    strategies: Sequence[str],
    min_confidence: float,
    ttl_s: float,
    timeframe_s: int,
    market_time: datetime,
    newest: Mapping[str, int],
    positions: Mapping[str, Position],
) -> FilteredSignals:
    """Keep at most one signal a symbol; every other one is dropped with `word: detail`.

    Words: unknown_strategy, unknown_symbol, bad_numbers, not_newest, expired, weak, no_position,
    not_owner, duplicate, outranked. `newest` gives the open time (ms) of each symbol's newest
    candle. The age limit is for entries: a sell is never too old to reduce a position. The order
    in which signals arrive does not matter.
    """
    context = _Context(
        strategies=frozenset(strategies),
        min_confidence=min_confidence,
        ttl_s=ttl_s,
        step=timeframe_s * MILLISECONDS,
        now=round(market_time.timestamp() * MILLISECONDS),
        newest=newest,
        positions=positions,
    )
    received = sorted((s for s in signals if s.action is not Action.HOLD), key=_rank)
    dropped: list[DroppedSignal] = []
    fit: list[Signal] = []
    for signal in received:
        fault = _fault(signal, context)
        if fault is None:
            fit.append(signal)
        else:
            dropped.append(DroppedSignal(signal=signal, reason=fault))
    kept, merged_away = _merge(fit)
    return FilteredSignals(
        kept=tuple(kept), dropped=(*dropped, *merged_away), received=len(received)
    )


def _rank(signal: Signal) -> tuple[object, ...]:
    # A sell first: shrinking a position goes before growing it. The rest makes the order total.
    return (
        signal.symbol,
        signal.action is not Action.SELL,
        -signal.confidence if signal.confidence == signal.confidence else 1.0,
        signal.strategy,
        signal.candle_time,
        str(signal.price),
        str(signal.stop_loss),
        str(signal.take_profit),
        signal.version,
        signal.reason,
    )


def _merge(signals: Iterable[Signal]) -> tuple[list[Signal], list[DroppedSignal]]:
    """The first of each symbol wins; `signals` come ranked."""
    winners: dict[str, Signal] = {}
    dropped = []
    for signal in signals:
        winner = winners.setdefault(signal.symbol, signal)
        if winner is not signal:
            dropped.append(DroppedSignal(signal=signal, reason=_lost_to(winner, signal)))
    return list(winners.values()), dropped


def _lost_to(winner: Signal, loser: Signal) -> str:
    if (winner.strategy, winner.action) == (loser.strategy, loser.action):
        return f"duplicate: {winner.strategy} said {winner.action} for this candle already"
    if winner.action is Action.SELL:
        return f"outranked: {winner.strategy} sells the position"
    return (
        f"outranked: {winner.strategy} is more confident"
        f" ({winner.confidence:.2f} against {loser.confidence:.2f})"
        if winner.confidence > loser.confidence
        else f"outranked: {winner.strategy} is as confident and comes first"
    )


def _fault(signal: Signal, context: _Context) -> str | None:
    if signal.strategy not in context.strategies:
        return f"unknown_strategy: {signal.strategy}"
    if signal.symbol not in context.newest:
        return f"unknown_symbol: {signal.symbol} was not asked about"
    return (
        _bad_numbers(signal)
        or _out_of_time(signal, context)
        or _weak(signal, context)
        or _not_sellable(signal, context)
    )


def _bad_numbers(signal: Signal) -> str | None:
    if not 0 <= signal.confidence <= 1:
        return f"bad_numbers: confidence {signal.confidence:g} is outside 0 to 1"
    if not _is_price(signal.price):
        return f"bad_numbers: price {signal.price}"
    if signal.action is Action.SELL:
        return None
    stop, target = signal.stop_loss, signal.take_profit
    if stop is not None and not (_is_price(stop) and stop < signal.price):
        return f"bad_numbers: stop {stop} is not below the price {signal.price}"
    if target is not None and not (_is_price(target) and target > signal.price):
        return f"bad_numbers: target {target} is not above the price {signal.price}"
    return None


def _is_price(value: Decimal) -> bool:
    return value.is_finite() and value > 0


def _out_of_time(signal: Signal, context: _Context) -> str | None:
    newest = context.newest[signal.symbol]
    if signal.candle_time != newest:
        return f"{NOT_NEWEST}: about the candle at {signal.candle_time}, the newest is {newest}"
    age_s = (context.now - signal.candle_time - context.step) / MILLISECONDS
    if signal.action is Action.BUY and age_s > context.ttl_s:
        return f"expired: the candle closed {age_s:.0f} s ago, at most {context.ttl_s:g} s"
    return None


def _weak(signal: Signal, context: _Context) -> str | None:
    if signal.confidence >= context.min_confidence:
        return None
    return f"weak: confidence {signal.confidence:.4g} is below {context.min_confidence:g}"


def _not_sellable(signal: Signal, context: _Context) -> str | None:
    if signal.action is not Action.SELL:
        return None
    position = context.positions.get(signal.symbol)
    if position is None or position.quantity <= 0:
        return "no_position: nothing to sell"
    if position.strategy != signal.strategy:
        return f"not_owner: the position belongs to {position.strategy or 'no strategy'}"
    return None
