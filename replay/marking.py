"""The account from one step that is taken to the next: marks, its day and its peak, its curve.

The equity of every moment is a column of floats. The account itself, which is exact, is marked
only where that leaves a trace: at the end of each day, at a new peak, and where a step is taken.
"""

from __future__ import annotations

import math
import operator
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from replay.account import ReplayAccount
from replay.history import History, moment

DAY_MS = 86_400_000
# Of equity: what a float may be off, with room to spare.
MARGIN = 1e-9

Floats = NDArray[np.float64]


class _Held(NamedTuple):
    """Rows of the history's bids, and quantities, after so many fills."""

    fills: int
    places: list[int]
    quantities: list[float]


class Marking:
    """Marks a replayed account over its history; `done` is the last step it was marked at."""

    def __init__(self, account: ReplayAccount, history: History) -> None:
        self._account = account
        self._history = history
        self._nows = history.nows
        self._days = history.nows // DAY_MS
        self._held = _Held(-1, [], [])
        self.done = -1

    def equity(self, to: int) -> Floats:
        """Equity after each step from the one after `done` through `to`, as things stand."""
        account = self._account.account
        cash, count = float(account.cash), to - self.done
        if not account.holdings:
            return np.full(count, cash)
        held = self._holdings()
        if count == 1:
            row = self._history.bids_at(to)
            value = sum(map(operator.mul, held.quantities, (row[place] for place in held.places)))
            if math.isfinite(value):
                return np.array([cash + value])
        bids = self._history.bids_of_all[held.places, self.done + 1 : to + 1]
        if not np.isfinite(bids).all():
            before = [float(each.market_price) for each in account.holdings.values()]
            bids = np.vstack([_filled(*pair) for pair in zip(bids, before, strict=True)])
        found: Floats = cash + np.asarray(held.quantities) @ bids
        return found

    def _holdings(self) -> _Held:
        """What is held, as columns; it changes with a fill alone."""
        fills = len(self._account.fills)
        if self._held.fills != fills:
            holdings, places = self._account.account.holdings, self._history.places
            self._held = _Held(
                fills,
                [places[symbol] for symbol in holdings],
                [float(each.quantity) for each in holdings.values()],
            )
        return self._held

    def deepest(self, equity: Floats) -> float:
        """A fraction that no loss of these steps exceeds: no day began above the peak."""
        peak = max(float(self._account.account.peak_equity), float(equity.max()))
        return 1.0 - float(equity.min()) / peak if peak > 0 else float("inf")

    def losses(self, equity: Floats) -> tuple[Floats, Floats]:
        """Since the day began, and below the peak, as fractions, of each of these steps."""
        account = self._account.account
        before = np.concatenate(([float(account.equity)], equity[:-1]))
        first = self.done + 1
        days = self._days[first : first + len(equity)]
        known = account.market_time
        last_day = -1 if known is None else int(known.timestamp() * 1000) // DAY_MS
        begins = np.concatenate(([last_day], days[:-1])) != days
        at = np.maximum.accumulate(np.where(begins, np.arange(len(equity)), -1))
        starts = np.where(at >= 0, before[np.maximum(at, 0)], float(account.day_start_equity))
        peaks = np.maximum.accumulate(np.maximum(equity, float(account.peak_equity)))
        with np.errstate(all="ignore"):
            return 1.0 - equity / starts, 1.0 - equity / peaks

    def advance(self, to: int, equity: Floats) -> None:
        """Mark the account through step `to`; `equity` is what `equity(to)` gives."""
        first = self.done + 1
        curve = self._account.curve.equity
        curve[first + 1 : to + 2] = equity
        self._account.cash[first + 1 : to + 2] = [self._account.account.cash] * len(equity)
        for step in self._traces(first, to, equity):
            self._account.mark(self._bids(step), moment(int(self._nows[step])))
        self.done = to

    def _traces(self, first: int, to: int, equity: Floats) -> list[int]:
        """Steps whose marks leave a trace in the account."""
        if first == to or not self._account.account.holdings:
            return [to]
        days = self._days[first : to + 1]
        ends = np.flatnonzero(days[1:] != days[:-1])
        traces = {to, *(first + ends).tolist()}
        highest = float(equity.max())
        if highest >= float(self._account.account.peak_equity) * (1 - MARGIN):
            near = np.flatnonzero(equity >= highest * (1 - MARGIN))
            traces.update((first + near).tolist())
        return sorted(traces)

    def _bids(self, step: int) -> dict[str, Decimal]:
        """The exact bid of each holding, the newest since the account was marked last."""
        missing = list(self._account.account.holdings)
        found = self._history.exact_bids(missing, step)
        while len(found) < len(missing) and step > self.done + 1:
            step -= 1
            found = self._history.exact_bids(missing, step) | found
        return found


def _filled(bids: Floats, before: float) -> Floats:
    """Bids with the one before in the place of each that is missing."""
    missing = ~np.isfinite(bids)
    if not missing.any():
        return bids
    at = np.maximum.accumulate(np.where(missing, -1, np.arange(len(bids))))
    return np.where(at >= 0, bids[np.maximum(at, 0)], before)
