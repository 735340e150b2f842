"""Whether the market of a moment was trusted: not where too many symbols had unusable candles."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from engine.domain import batching, degraded, quality
from engine.domain.limits import Limits
from engine.domain.model import Instrument, TradingState
from replay.history import History
from services.market_data.feeds.feed import DAY_MS

# Of a volume: more than sums in another order differ by.
MARGIN = 1e-6


class Trust:
    """What a cycle would have found of all the symbols that it worked on."""

    def __init__(self, history: History, limits: Limits) -> None:
        self._history = history
        self._limits = limits
        self._known: dict[tuple[int, tuple[str, ...]], bool] = {}
        currencies = [symbol.partition("/")[2] for symbol in history.candles]
        self._in_currency = np.asarray(currencies) == limits.account_currency
        self._first_closes = np.asarray(list(history.first_close.values()))

    def state(self, state: TradingState, step: int, held: list[str]) -> TradingState:
        """REDUCING too where one of the cycles just before did not trust the market."""
        first = max(step - degraded.GOOD_CYCLES, 0)
        if state is not TradingState.ACTIVE or not self._history.has_suspects(first, step):
            return state
        is_lost = any(self.is_lost(each, held) for each in range(first, step))
        return TradingState.REDUCING if is_lost else state

    def is_lost(self, step: int, held: list[str]) -> bool:
        """Whether too many of the symbols a cycle would work on have unusable candles."""
        if not self._limits.risk.is_enforced or not self._history.has_suspects(step, step + 1):
            return False
        key = (step, tuple(held))
        if key not in self._known:
            self._known[key] = not self._is_surely_kept(step, held) and self._is_lost(step, held)
        return self._known[key]

    def _is_surely_kept(self, step: int, held: list[str]) -> bool:
        """Whether even all that may be unusable are too few beside those surely worked on."""
        if self._history.spread_bps > self._limits.selection.max_spread_bps:
            return False
        least, doubtful = self._bounds
        bad = doubtful[step] + sum(bool(self._history.suspect(each)[step]) for each in held)
        return not quality.is_distrusted(bad, least[step], self._limits.quality)

    @cached_property
    def _bounds(self) -> tuple[list[int], list[int]]:
        """At each now: the least that are worked on, and the most of them that may be unusable.

        What is held is not among them: it is worked on whatever it is.
        """
        history, limits = self._history, self._limits.selection
        volumes, least = _volumes_24h(history), float(limits.min_volume_24h)
        listed = self._in_currency[:, None] & (history.nows >= self._first_closes[:, None])
        surely = listed & (volumes >= least * (1 + MARGIN))
        perhaps = listed & (volumes >= least * (1 - MARGIN))
        suspect = np.vstack([history.suspect(symbol) for symbol in history.candles])
        worked_on = np.minimum(surely.sum(axis=0), limits.max_symbols)
        return worked_on.tolist(), (perhaps & suspect).sum(axis=0).tolist()

    def _is_lost(self, step: int, held: list[str]) -> bool:
        now_ms = int(self._history.nows[step])
        selected = listed_at(self._history, self._history.candles, now_ms, held, self._limits)
        worked_on = sorted({*(each.symbol for each in selected.selected), *held})
        bad = self._history.bad_symbols(step, now_ms, worked_on)
        return quality.is_distrusted(bad, len(worked_on), self._limits.quality)


def listed_at(
    history: History, symbols: Iterable[str], now_ms: int, held: list[str], limits: Limits
) -> batching.Selection:
    """Of these symbols those that are listed now and liquid enough; held ones always."""
    listed: list[Instrument] = [
        history.instrument(symbol, now_ms)
        for symbol in symbols
        if history.first_close[symbol] <= now_ms
    ]
    return batching.select(
        listed,
        held=held,
        requested=None,
        currency=limits.account_currency,
        limits=limits.selection,
    )


def _volumes_24h(history: History) -> NDArray[np.float64]:
    """Quote volume of a day at each now, a row for each symbol, to the rounding of a sum."""
    day, until = history.nows - DAY_MS - 1, history.nows - history.step_ms
    rows = []
    for symbol in history.candles:
        series = history.feed.series(symbol)
        sums = np.concatenate(([0.0], np.cumsum(series.quote_volume[series.order])))
        first, last = (series.times.searchsorted(at, side="right") for at in (day, until))
        rows.append(sums[last] - sums[first])
    return np.vstack(rows)
