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
    ended; -1 where the series has none.
    """

    ends: Times
    days: Times
    met: Times


def axis_of(time: Times, nows: Times, step_ms: int, coming: Times | None) -> Axis:
    """`time` ascends; `coming` is when the market's next candle opens, None to meet closes."""
    ends = time.searchsorted(nows - step_ms, side="right")
    days = time.searchsorted(nows - DAY_MS - 1, side="right")
    if coming is None:
        row = np.where(ends > 0, ends - 1, -1)
        is_met = time[row] + step_ms == nows
    else:
        row = np.minimum(time.searchsorted(coming), len(time) - 1)
        is_met = time[row] == coming
    return Axis(ends, days, np.where(is_met, row, -1))
