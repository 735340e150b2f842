"""Strategies over history: where one may see something, it judges the window a cycle would see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.domain.model import Candles, Position, Signal
from replay.history import History
from services.strategy.evaluation import Asked, Subject, judge_symbol
from services.strategy.strategy import Holding


def due_symbols(history: History, asked: Sequence[Asked]) -> list[list[str]]:
    """For each now the symbols that a strategy may have an opinion about, sorted."""
    due: list[list[str]] = [[] for _ in history.nows]
    for symbol in sorted(history.candles):
        for step in np.flatnonzero(_may_judge(history, symbol, asked)):
            due[step].append(symbol)
    return due


def judge(
    asked: Sequence[Asked],
    symbol: str,
    candles: Candles,
    position: Position | None,
    stop_atr: float,
) -> tuple[list[Signal], list[str]]:
    """The strategies' signals about one symbol now, and what went wrong."""
    able = [each for each in asked if len(candles) >= each.needs]
    return judge_symbol(able, Subject(symbol, candles, holding_of(position), stop_atr))


def _may_judge(history: History, symbol: str, asked: Sequence[Asked]) -> NDArray[np.bool_]:
    """Every now where columns cannot be trusted: a disordered series, or prices that are none."""
    series, ends = history.candles[symbol], history.ends(symbol)
    if ends is None:
        return np.ones(len(history.nows), dtype=np.bool_)
    is_whole = all(np.isfinite(column).all() for column in series.prices())
    found = np.zeros(len(ends), dtype=np.bool_)
    for each in asked:
        rows = each.strategy.rows
        if rows is None or not is_whole:
            found |= ends >= each.needs
        else:
            watched = np.concatenate(([False], rows(series, each.parameters)))
            found |= watched[ends] & (ends >= each.needs)
    return found


def holding_of(position: Position | None) -> Holding | None:
    """A position as strategies see it."""
    if position is None or position.quantity <= 0:
        return None
    return Holding(quantity=float(position.quantity), average_price=float(position.average_price))
