"""The newest good candles of each symbol: what a cycle would find in its cache."""

from __future__ import annotations

from collections.abc import Container, Mapping

from engine.domain.candles import Candles
from replay.history import History


class GoodWindows:
    """Good windows as they were seen, and those of steps that were passed over."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._seen: dict[str, tuple[int, Candles]] = {}

    def usable(
        self, step: int, symbols: list[str], windows: Mapping[str, Candles], held: Container[str]
    ) -> dict[str, Candles]:
        """These windows; of a held symbol whose candles turned bad its last good ones."""
        usable = dict(windows)
        for symbol in symbols:
            if symbol in windows:
                self._seen[symbol] = (step, windows[symbol])
            elif symbol in held:
                known = self._last(symbol, step)
                if known is not None:
                    usable[symbol] = known
        return usable

    def _last(self, symbol: str, step: int) -> Candles | None:
        """The newest good window before a step. Every step of a holding in doubt is taken."""
        seen = self._seen.get(symbol)
        passed = self._history.last_sound(symbol, step)
        if seen is not None and seen[0] >= passed:
            return seen[1]
        if passed < 0:
            return None
        window = self._history.window(symbol, passed, int(self._history.nows[passed]))
        return None if isinstance(window, str) else window
