"""Where the moments of decision lie among the times of a series."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.market_data.feeds.feed import DAY_MS

Times = NDArray[np.int64]


class Axis(NamedTuple):
    """At each now: how many rows have closed, and the first that closed within a day.

    `met` is the row whose price an order meets: the candle that follows, or the one that just
    ended; -1 where the series has none. `is_unfit` where the series has begun, but fewer than the
    least have closed, or the newest did not just end.
    """

    ends: Times
    days: Times
    met: Times
    is_unfit: NDArray[np.bool_]


def axis_of(time: Times, nows: Times, step_ms: int, coming: Times | None, least: int) -> Axis:
    """`time` ascends; `coming` is when the market's next candle opens, None to meet closes."""
    ends = time.searchsorted(nows - step_ms, side="right")
    days = time.searchsorted(nows - DAY_MS - 1, side="right")
    is_newest = time[ends - 1] + step_ms == nows
    if coming is None:
        row, is_met = ends - 1, is_newest
    else:
        row = np.minimum(time.searchsorted(coming), len(time) - 1)
        is_met = time[row] == coming
    is_unfit = (ends > 0) & ~(is_newest & (ends >= least))
    return Axis(ends, days, np.where(is_met, row, -1), is_unfit)
