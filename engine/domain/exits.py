"""Protective exits of open positions: stop, target, trailing stop and time."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.domain.amounts import from_float
from engine.domain.candles import Candles
from engine.domain.cycle import SymbolFacts
from engine.domain.limits import DistanceRule, ExitPlan
from engine.domain.model import Position, Value
from engine.domain.sizing import atr

MILLISECONDS = 1000

Floats = NDArray[np.float64]
NO_AVERAGES: Floats = np.zeros(0)


class ProtectiveExit(Value, frozen=True, kw_only=True):
    """Why a position must be left.

    `trigger_price` is the level that was touched; `touch_price` is what an order resting there
    would have got: the level, or the open of a candle that gapped beyond it, or the market price
    when the mark touched it. `candle_time` is the open time (ms) of the touching candle, 0 for
    the mark.
    """

    reason: str
    detail: str
    trigger_price: Decimal
    touch_price: Decimal
    candle_time: int = 0


def protective_exit(
    position: Position,
    facts: SymbolFacts,
    candles: Candles,
    *,
    exits: ExitPlan,
    timeframe_s: int,
    market_time: datetime,
    averages: Floats | None = None,
) -> ProtectiveExit | None:
    """The first exit that the candles since the entry, or else the mark, call for; None if none.

    Candles that opened at or after the entry count fully; of the candle in which the entry
    happened only the close counts, since its high and low may be older than the position.
    Inside a candle a stop comes before a target. The trailing stop hangs below the highest high
    before the candle (its close is compared with it once the candle is over), and never falls.
    A foreign position has no exits: nobody but its owner knows what it is for. `averages` is
    ATR(14) of the candles where the caller knows it already.
    """
    if position.strategy is None:
        return None
    if not has_levels(facts, exits):
        return _time_is_up(position, exits, timeframe_s, market_time)
    path = _path(position, candles, timeframe_s)
    known = averages if averages is not None else _averages(candles, facts, exits)
    levels = _levels(position, facts, exits, path, known)
    touched = _first_touch(path, levels)
    if touched is not None:
        return touched
    marked = _mark(position, levels)
    if marked is not None:
        return marked
    return _time_is_up(position, exits, timeframe_s, market_time)


class Reach(NamedTuple):
    """Where a position may be touched from its entry on: `touched` for rows from `start` on.

    `trailing` is the level before each of these rows, and after the last one; NaN is no level.
    """

    start: int
    touched: NDArray[np.bool_]
    stop: float
    target: float
    trailing: Floats


def reach(
    position: Position, facts: SymbolFacts, candles: Candles, *, exits: ExitPlan, timeframe_s: int
) -> Reach | None:
    """Every row of a whole history that touches a level; None where levels hang on averages.

    `protective_exit` finds nothing in a window that ends before the first of them, since a window
    that begins later than the entry has seen no higher high. The mark and time are not looked at.
    """
    if _hangs_on_averages(facts, exits):
        return None
    path = _path(position, candles, timeframe_s)
    levels = _levels(position, facts, exits, path, NO_AVERAGES)
    by_stop, by_trailing, by_target = _touches(path, levels)
    return Reach(
        path.start, by_stop | by_trailing | by_target, levels.stop, levels.target, levels.trailing
    )


def _hangs_on_averages(facts: SymbolFacts, exits: ExitPlan) -> bool:
    open_rules = (
        exits.trailing,
        exits.stop if facts.stop_price is None else None,
        exits.target if facts.target_price is None else None,
    )
    return any(rule is not None and rule.unit == "atr" for rule in open_rules)


def has_levels(facts: SymbolFacts, exits: ExitPlan) -> bool:
    """Whether there is a price at which the position is left."""
    levels = (facts.stop_price, facts.target_price, exits.stop, exits.target, exits.trailing)
    return any(level is not None for level in levels)


class _Path(NamedTuple):
    """Prices since the entry: one row a candle; `start` is the first row in the whole series."""

    start: int
    time: NDArray[np.int64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats


class _Levels(NamedTuple):
    """Exit prices. `trailing` holds the level during each row, and after the last one."""

    stop: float
    target: float
    trailing: Floats


def _path(position: Position, candles: Candles, timeframe_s: int) -> _Path:
    entered = round(position.opened_at.timestamp() * MILLISECONDS)
    start = int(candles.time.searchsorted(entered - timeframe_s * MILLISECONDS, side="right"))
    time, close = candles.time[start:], candles.close[start:]
    opened, high, low = candles.open[start:], candles.high[start:], candles.low[start:]
    if len(time) > 0 and time[0] < entered:
        partial = time < entered
        opened, high, low = (np.where(partial, close, each) for each in (opened, high, low))
    return _Path(start, time, opened, high, low, close)


def _levels(
    position: Position, facts: SymbolFacts, exits: ExitPlan, path: _Path, averages: Floats
) -> _Levels:
    entry = float(position.average_price)
    stop = float(facts.stop_price) if facts.stop_price is not None else np.nan
    target = float(facts.target_price) if facts.target_price is not None else np.nan
    if facts.stop_price is None and exits.stop is not None:
        # An adopted position has no recorded stop: the configured one counts from its price.
        stop = entry - _distance(exits.stop, entry, averages, path.start)
    if facts.target_price is None and exits.target is not None and facts.stop_price is None:
        target = entry + _distance(exits.target, entry, averages, path.start)
    return _Levels(stop, target, _trailing(entry, averages, exits.trailing, path))


def _averages(candles: Candles, facts: SymbolFacts, exits: ExitPlan) -> Floats:
    """ATR of each candle; nothing where no level hangs on it, since it costs the most here."""
    if _hangs_on_averages(facts, exits):
        return atr(candles)
    return NO_AVERAGES


def _distance(rule: DistanceRule, price: float, averages: Floats, start: int) -> float:
    """In currency, with the ATR known when the position was opened; NaN where there is none."""
    if rule.unit == "fraction":
        return price * float(rule.amount)
    known = averages[:start]
    return float(known[-1]) * float(rule.amount) if len(known) else float("nan")


def _trailing(entry: float, averages: Floats, rule: DistanceRule | None, path: _Path) -> Floats:
    """Level during each candle, from what was known before it, and after the last one."""
    count = len(path.time)
    if rule is None:
        return np.full(count + 1, np.nan)
    highest = np.maximum.accumulate(np.concatenate(([entry], path.high)))
    amount = float(rule.amount)
    if rule.unit == "fraction":
        return highest * (1 - amount)
    before = averages[path.start - 1] if path.start > 0 else np.nan
    distance = amount * np.concatenate(([before], averages[path.start :]))
    # A level never falls when volatility grows; NaN (no ATR yet) is no level.
    return np.fmax.accumulate(highest - distance)


def _first_touch(path: _Path, levels: _Levels) -> ProtectiveExit | None:
    """The first row that touches a level; stops before the target, the higher stop first."""
    if len(path.time) == 0:
        return None
    during, after = levels.trailing[:-1], levels.trailing[1:]
    by_stop, by_trailing, by_target = _touches(path, levels)
    touched = by_stop | by_trailing | by_target
    row = int(touched.argmax())
    if not touched[row]:
        return None
    moment = int(path.time[row])
    trail = float(during[row] if path.low[row] <= during[row] else after[row])
    if by_stop[row] and not (by_trailing[row] and trail > levels.stop):
        return _touch("stop", levels.stop, min(levels.stop, float(path.open[row])), moment)
    if by_trailing[row]:
        reached = float(path.open[row] if path.low[row] <= during[row] else path.close[row])
        return _touch("trailing", trail, min(trail, reached), moment)
    return _touch("target", levels.target, max(levels.target, float(path.open[row])), moment)


def _touches(
    path: _Path, levels: _Levels
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each row touches the stop, the trailing stop, the target."""
    during, after = levels.trailing[:-1], levels.trailing[1:]
    by_trailing: NDArray[np.bool_] = (path.low <= during) | (path.close <= after)
    return path.low <= levels.stop, by_trailing, path.high >= levels.target


def _touch(reason: str, level: float, price: float, moment: int) -> ProtectiveExit:
    at = datetime.fromtimestamp(moment // MILLISECONDS, UTC).replace(tzinfo=None).isoformat()
    trigger = from_float(level)
    return ProtectiveExit(
        reason=reason,
        detail=f"{reason} at {trigger:f} was touched in the candle of {at}Z",
        trigger_price=trigger,
        touch_price=from_float(price),
        candle_time=moment,
    )


def _mark(position: Position, levels: _Levels) -> ProtectiveExit | None:
    price = float(position.market_price)
    trail = float(levels.trailing[-1])
    if price <= levels.stop and not trail > levels.stop:
        return _marked("stop", levels.stop, position.market_price)
    if price <= trail:
        return _marked("trailing", trail, position.market_price)
    if price >= levels.target:
        return _marked("target", levels.target, position.market_price)
    return None


def _marked(reason: str, level: float, price: Decimal) -> ProtectiveExit:
    trigger = from_float(level)
    return ProtectiveExit(
        reason=reason,
        detail=f"{reason} at {trigger:f} was touched: the market is at {price:f}",
        trigger_price=trigger,
        touch_price=price,
    )


def _time_is_up(
    position: Position, exits: ExitPlan, timeframe_s: int, market_time: datetime
) -> ProtectiveExit | None:
    if exits.time_candles <= 0:
        return None
    held_s = (market_time - position.opened_at).total_seconds()
    if held_s < exits.time_candles * timeframe_s:
        return None
    return ProtectiveExit(
        reason="time",
        detail=f"held for {held_s / timeframe_s:.1f} candles, at most {exits.time_candles}",
        trigger_price=position.market_price,
        touch_price=position.market_price,
    )
