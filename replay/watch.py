"""Which holdings must be looked at, and when: where nothing can happen, no step is taken.

Between two changes of a position everything that may call for its exit is known of the recorded
candles at once: the first that touches a level, the first quote at one, its time. This only chooses
the steps that are taken; what is decided there sees what a cycle sees.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from engine.domain import exits
from engine.domain.cycle import SymbolFacts
from engine.domain.limits import Limits
from engine.domain.model import Position
from replay.history import History

MILLISECONDS = 1000
# Of a level: steps are taken a little before it, so that no rounding of a float is missed.
MARGIN = 1e-9

Floats = NDArray[np.float64]


class Watch:
    """From which step on each holding must be looked at."""

    def __init__(self, history: History, limits: Limits) -> None:
        self._history = history
        self._limits = limits
        self._never = len(history.nows)
        self._alerts: dict[str, int] = {}
        self._next: dict[str, int] = {}
        self._doubts: dict[str, NDArray[np.intp]] = {}

    def keep(self, position: Position, facts: SymbolFacts, step: int) -> None:
        """A position that changed; what can happen to it begins with `step`."""
        symbol = position.symbol
        self._alerts[symbol] = max(self._alert(position, facts, step), step)
        self._next[symbol] = min(self._alerts[symbol], self._next_doubt(symbol, step))

    def drop(self, symbol: str) -> None:
        """Nothing is held of the symbol any more."""
        self._alerts.pop(symbol, None)
        self._next.pop(symbol, None)

    def due(self, step: int) -> list[str]:
        """Holdings that must be looked at in this step; steps before it are over."""
        found = sorted(symbol for symbol, first in self._next.items() if first <= step)
        for symbol in found:
            # Once it is called for, an exit is tried until it is done.
            again = max(self._alerts[symbol], step + 1)
            self._next[symbol] = min(again, self._next_doubt(symbol, step + 1))
        return found

    def next(self, step: int) -> int:
        """The first step from `step` on in which any holding must be looked at."""
        return max(min(self._next.values(), default=self._never), step)

    def _next_doubt(self, symbol: str, step: int) -> int:
        """The first step from `step` on at which the candles may be unfit."""
        doubts = self._doubts.get(symbol)
        if doubts is None:
            doubts = self._doubts[symbol] = np.flatnonzero(self._history.suspect(symbol))
        place = int(doubts.searchsorted(step))
        return int(doubts[place]) if place < len(doubts) else self._never

    def _alert(self, position: Position, facts: SymbolFacts, step: int) -> int:
        plan = self._limits.exits
        timed = self._time_is_up(position.opened_at)
        if position.strategy is None or not exits.has_levels(facts, plan):
            return timed
        candles = self._history.candles[position.symbol]
        ends = self._history.ends(position.symbol)
        found = None
        if ends is not None:
            found = exits.reach(
                position, facts, candles, exits=plan, timeframe_s=self._limits.timeframe_s
            )
        if found is None or ends is None:
            return step
        return min(timed, self._touched(found, ends), self._marked(position.symbol, found, step))

    def _touched(self, found: exits.Reach, ends: NDArray[np.int64]) -> int:
        """The step after the first candle that touches a level."""
        if not found.touched.any():
            return self._never
        row = found.start + int(np.argmax(found.touched))
        return int(ends.searchsorted(row + 1))

    def _marked(self, symbol: str, found: exits.Reach, step: int) -> int:
        """The first step whose quote is at a level."""
        bids = self._history.bids(symbol)[step:]
        ends = self._history.ends(symbol)
        assert ends is not None  # noqa: S101  asked before
        after = np.clip(ends[step:] - found.start, 0, len(found.trailing) - 1)
        floor = np.fmax(found.stop, found.trailing[after]) * (1 + MARGIN)
        at_level = (bids <= floor) | (bids >= found.target * (1 - MARGIN))
        return step + int(np.argmax(at_level)) if at_level.any() else self._never

    def _time_is_up(self, opened_at: datetime) -> int:
        count = self._limits.exits.time_candles
        if count <= 0:
            return self._never
        until = opened_at.timestamp() + count * self._limits.timeframe_s
        # A millisecond early: a float's second is not exact.
        return int(self._history.nows.searchsorted(int(until * MILLISECONDS) - 1))
