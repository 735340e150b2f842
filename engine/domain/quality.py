"""Judges market data: what may be decided on, and if not, why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.domain.candles import Candles, joined
from engine.domain.model import Quote

if TYPE_CHECKING:
    from engine.domain.limits import QualityLimits

MILLISECONDS = 1000
QUOTE_CLOCK_TOLERANCE_S = 5.0
QUOTE_CLOCK_TOLERANCE = timedelta(seconds=QUOTE_CLOCK_TOLERANCE_S)
CANDLE_FAULTS = (
    "too_few",
    "disordered",
    "duplicated",
    "misaligned",
    "not_finite",
    "non_positive",
    "inverted",
    "future",
    "stale",
    "gapped",
    "spiking",
    "frozen",
)
ANSWER_FAULTS = ("missing", "garbage", "no candles", "no signals")
OTHER_FAULT = "other"
FAULT_WORDS = (*CANDLE_FAULTS, *ANSWER_FAULTS, OTHER_FAULT)


def merge(cached: Candles | None, fresh: Candles, limit: int) -> Candles:
    """Cached candles with fresh ones behind them, the last `limit`; fresh ones win.

    Disorder inside `fresh` is kept as it came, so that `judge` can see it.
    """
    if cached is None or len(cached) == 0:
        return fresh.tail(limit)
    if len(fresh) == 0:
        return cached.tail(limit)
    if fresh.time[0] > cached.time[-1]:
        return joined([cached, fresh]).tail(limit)
    known = set(fresh.time.tolist())
    older = cached.chosen(np.array([at not in known for at in cached.time.tolist()]))
    both = joined([older, fresh])
    if np.all(np.diff(fresh.time) > 0):
        both = both.chosen(np.argsort(both.time, kind="stable"))
    return both.tail(limit)


@dataclass(frozen=True)
class Case:
    """One series and what it is judged against; `step` in milliseconds."""

    candles: Candles
    step: int
    market_time: datetime
    limits: QualityLimits
    need: int


def judge(
    candles: Candles,
    *,
    timeframe_s: int,
    market_time: datetime,
    limits: QualityLimits,
    need: int,
) -> str | None:
    """First fault of a series as `word: detail`, or None when it may be traded on.

    Words: CANDLE_FAULTS, in the order they are asked. `need` is the fewest candles.
    """
    case = Case(candles, timeframe_s * MILLISECONDS, market_time, limits, need)
    if _too_few(case) is None:
        good = unsuspicious(candles, timeframe_s=timeframe_s, limits=limits)
        if good.all():  # nearly always, and one look at it all is cheaper than nine
            return _age(case)
    return first_fault(case)


def judge_all(
    series: Mapping[str, Candles],
    *,
    timeframe_s: int,
    market_time: datetime,
    limits: QualityLimits,
    need: int,
) -> dict[str, str]:
    """The first fault of each series that has one, as `judge` says it.

    All of them are looked at as one long series first: nearly always none has a fault, and what
    costs in a look at 500 candles is that it is one.
    """
    good = _without_suspicion(series, timeframe_s=timeframe_s, limits=limits, need=need)
    faults: dict[str, str] = {}
    for name, candles in series.items():
        case = Case(candles, timeframe_s * MILLISECONDS, market_time, limits, need)
        fault = _age(case) if name in good else first_fault(case)
        if fault is not None:
            faults[name] = fault
    return faults


def first_fault(case: Case) -> str | None:
    """Every check in its order, up to the first fault."""
    return next(filter(None, (check(case) for check in CHECKS)), None)


def judge_age(
    newest: int, *, timeframe_s: int, market_time: datetime, limits: QualityLimits
) -> str | None:
    """`future` or `stale` where the newest candle (open time, ms) is none to decide on now."""
    now = round(market_time.timestamp() * MILLISECONDS)
    step = timeframe_s * MILLISECONDS
    ahead_s = (newest + step - now) / MILLISECONDS
    if ahead_s > 0:
        return f"future: the candle at {_moment(newest)} closes {ahead_s:.0f} s from now"
    late_s = (now - newest - 2 * step) / MILLISECONDS
    if late_s > limits.stale_grace_s:
        return f"stale: the candle after {_moment(newest)} is {late_s:.0f} s late"
    return None


def judge_quote(quote: Quote, *, now: datetime, max_age_s: float) -> str | None:
    """First fault of a quote as `word: detail`, or None.

    Words: not_finite, non_positive, crossed, future (more than 5 s ahead of `now`), stale.
    """
    bid, ask, last = quote.bid, quote.ask, quote.last
    if not (bid.is_finite() and ask.is_finite() and last.is_finite()):
        return f"not_finite: bid {quote.bid}, ask {quote.ask}, last {quote.last}"
    if bid <= 0 or ask <= 0 or last <= 0:
        return f"non_positive: bid {quote.bid}, ask {quote.ask}, last {quote.last}"
    if bid > ask:
        return f"crossed: bid {quote.bid} is above ask {quote.ask}"
    age = now - quote.as_of
    if age < -QUOTE_CLOCK_TOLERANCE:
        return f"future: as of {-age.total_seconds():.1f} s ahead"
    if age > timedelta(seconds=max_age_s):
        return f"stale: {age.total_seconds():.1f} s old, at most {max_age_s:g} s"
    return None


def fault_word(reason: str) -> str:
    """The kind of fault that a symbol's reason names; `other` for what a service says freely."""
    word = reason.partition(":")[0]
    return word if word in FAULT_WORDS else OTHER_FAULT


def is_distrusted(bad: int, symbols: int, limits: QualityLimits) -> bool:
    """Whether so many of the symbols have unusable candles that none of them is entered."""
    return bad > limits.max_bad_share * symbols


def unsuspicious(candles: Candles, *, timeframe_s: int, limits: QualityLimits) -> NDArray[np.bool_]:
    """For each candle, whether neither it nor its step from the one before can be a fault.

    A series of such candles alone has no fault but those that depend on now or on its length.
    """
    missing = _missing(candles.time[:1], candles.time[-1:], len(candles), timeframe_s)
    # Where so few are missing of the whole series, no part of it lacks too many.
    may_lack = bool((missing <= limits.max_gaps).any())
    good = _good_rows(candles, limits)
    good[1:] &= _good_steps(candles, timeframe_s, limits, may_lack=may_lack)
    return good


def _good_rows(rows: Candles, limits: QualityLimits) -> NDArray[np.bool_]:
    # Candles without volume may be frozen ones.
    has_volume = np.greater_equal if limits.frozen_candles <= 0 else np.greater
    with np.errstate(all="ignore"):
        # Nothing compares with NaN, and what lies between two finite prices is one.
        opened, high, low, close, volume = rows.prices()
        good: NDArray[np.bool_] = low > 0
        good &= low <= np.minimum(opened, close)
        good &= high >= np.maximum(opened, close)
        good &= high < np.inf
        good &= has_volume(volume, 0) & (volume < np.inf)
    return good


def _good_steps(
    rows: Candles, timeframe_s: int, limits: QualityLimits, *, may_lack: bool
) -> NDArray[np.bool_]:
    with np.errstate(all="ignore"):
        moved = np.abs(np.diff(rows.close) / rows.close[:-1]) <= limits.max_spike
    steps, length = np.diff(rows.time), timeframe_s * MILLISECONDS
    is_step = steps == length
    # A remainder for each step is dear, and seldom needed.
    if may_lack and not is_step.all():
        is_step = (steps > 0) & (steps % length == 0)
    good: NDArray[np.bool_] = moved & is_step
    return good


def _missing(
    first: NDArray[np.int64], last: NDArray[np.int64], count: Any, timeframe_s: int
) -> NDArray[np.int64]:
    """How many candles of the grid are not there between the first and the last, of each series."""
    missing: NDArray[np.int64] = (last - first) // (timeframe_s * MILLISECONDS) + 1 - count
    return missing


def _without_suspicion(
    series: Mapping[str, Candles], *, timeframe_s: int, limits: QualityLimits, need: int
) -> set[str]:
    """Names of series that have no fault but, maybe, that of age: all looked at as one."""
    long = {name: rows for name, rows in series.items() if len(rows) >= max(need, 1)}
    if not long:
        return set()
    counts = np.array([len(rows) for rows in long.values()])
    ends = np.cumsum(counts)
    starts = ends - counts
    every = joined(list(long.values()))
    steps = _good_steps(every, timeframe_s, limits, may_lack=True)
    steps[starts[1:] - 1] = True  # from one series to the next
    good = _good_rows(every, limits)
    good[1:] &= steps
    missing = _missing(every.time[starts], every.time[ends - 1], counts, timeframe_s)
    fine = np.logical_and.reduceat(good, starts) & (missing <= limits.max_gaps)
    return {name for name, is_fine in zip(long, fine.tolist(), strict=True) if is_fine}


def _too_few(case: Case) -> str | None:
    count = len(case.candles)
    least = max(case.need, 1)
    return f"too_few: {count} candles, {least} needed" if count < least else None


def _order(case: Case) -> str | None:
    steps = np.diff(case.candles.time)
    if steps.size == 0:
        return None
    at = int(np.argmin(steps))
    if steps[at] < 0:
        return f"disordered: the candle at {_at(case, at + 1)} follows a later one"
    if steps[at] == 0:
        return f"duplicated: two candles at {_at(case, at)}"
    off = steps % case.step != 0
    if off.any():
        return f"misaligned: the candle at {_at(case, int(np.argmax(off)) + 1)} is off the grid"
    return None


def _not_finite(case: Case) -> str | None:
    bad = ~np.isfinite(case.candles.prices()).all(axis=0)
    return f"not_finite: at {_at(case, int(np.argmax(bad)))}" if bad.any() else None


def _non_positive(case: Case) -> str | None:
    prices, volume = case.candles.prices()[:-1], case.candles.volume
    bad = (prices <= 0).any(axis=0) | (volume < 0)
    return f"non_positive: at {_at(case, int(np.argmax(bad)))}" if bad.any() else None


def _inverted(case: Case) -> str | None:
    rows = case.candles
    bad = (rows.high < np.maximum(rows.open, rows.close)) | (
        rows.low > np.minimum(rows.open, rows.close)
    )
    if not bad.any():
        return None
    return f"inverted: open or close outside low and high at {_at(case, int(np.argmax(bad)))}"


def _gapped(case: Case) -> str | None:
    times = case.candles.time
    missing = int(times[-1] - times[0]) // case.step + 1 - len(times)
    if missing <= case.limits.max_gaps:
        return None
    at = _at(case, int(np.argmax(np.diff(times) > case.step)))
    return f"gapped: {missing} candles missing, the first after {at}"


def _age(case: Case) -> str | None:
    return judge_age(
        int(case.candles.time[-1]),
        timeframe_s=case.step // MILLISECONDS,
        market_time=case.market_time,
        limits=case.limits,
    )


def _spiking(case: Case) -> str | None:
    close = case.candles.close
    change = np.abs(np.diff(close) / close[:-1])
    if change.size == 0 or change.max() <= case.limits.max_spike:
        return None
    at = int(np.argmax(change))
    return f"spiking: the close moved by {change[at]:.1%} at {_at(case, at + 1)}"


def _frozen(case: Case) -> str | None:
    count = case.limits.frozen_candles
    if count <= 0 or len(case.candles) < count:
        return None
    close, volume = case.candles.close[-count:], case.candles.volume[-count:]
    if (close != close[0]).any() or (volume != 0).any():
        return None
    return f"frozen: {count} candles without volume at {close[0]:g}"


def _at(case: Case, index: int) -> str:
    return _moment(int(case.candles.time[index]))


def _moment(time: int) -> str:
    return f"{np.datetime_as_string(np.datetime64(time, 'ms'), unit='s')}Z"


CHECKS: tuple[Callable[[Case], str | None], ...] = (
    _too_few,
    _order,
    _not_finite,
    _non_positive,
    _inverted,
    _age,
    _gapped,
    _spiking,
    _frozen,
)
