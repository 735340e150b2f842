"""Strategies over history: where one may see something, it judges the window a cycle would see."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.domain.candles import Candles
from engine.domain.model import Position, Signal
from replay.history import History
from services.strategy.evaluation import Asked, Subject, judge_symbol
from services.strategy.strategy import Holding

Flags = NDArray[np.bool_]


class Due(NamedTuple):
    """A symbol that a strategy may have an opinion about: while it is flat, while it is held."""

    symbol: str
    if_flat: bool
    if_held: bool


def due_symbols(history: History, asked: Sequence[Asked]) -> list[list[Due]]:
    """For each now what a strategy may have an opinion about, by symbol."""
    due: list[list[Due]] = [[] for _ in history.nows]
    for symbol in sorted(history.candles):
        if_flat, if_held = _may_judge(history, symbol, asked)
        steps = np.flatnonzero(if_flat | if_held)
        columns = (steps.tolist(), if_flat[steps].tolist(), if_held[steps].tolist())
        for step, flat, held in zip(*columns, strict=True):
            due[step].append(Due(symbol, flat, held))
    return due


def to_judge(due: Sequence[Due], holdings: Container[str]) -> list[str]:
    """Those of them that a strategy may have an opinion about now, sorted."""
    return [
        each.symbol for each in due if (each.if_held if each.symbol in holdings else each.if_flat)
    ]


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


def _may_judge(history: History, symbol: str, asked: Sequence[Asked]) -> tuple[Flags, Flags]:
    """At each now whether a flat symbol may be bought, and a held one sold or added to.

    Both of every now where columns cannot be trusted (a disordered series, or prices that are
    none), and of every opinion about a symbol that may be passed over: that is to be recorded.
    """
    series, ends = history.candles[symbol], history.ends(symbol)
    if ends is None:
        everywhere = np.ones(len(history.nows), dtype=np.bool_)
        return everywhere, everywhere
    is_whole, may_be_refused = history.is_whole(symbol), history.may_be_refused(symbol)
    window = history.limits.candles
    if_flat, if_held = np.zeros((2, len(ends)), dtype=np.bool_)
    for each in asked:
        able = ends >= each.needs
        seen = each.strategy.seen(series, each.parameters, window) if is_whole else None
        if seen is None:
            if_flat, if_held = if_flat | able, if_held | able
            continue
        buy, sell = (column[ends - 1] & able for column in seen)
        if_flat |= buy
        if_held |= (buy | sell) if each.strategy.adds_to_holdings else sell
        if_flat |= sell & may_be_refused
        if_held |= buy & may_be_refused
    return if_flat, if_held


def holding_of(position: Position | None) -> Holding | None:
    """A position as strategies see it."""
    if position is None or position.quantity <= 0:
        return None
    return Holding(quantity=float(position.quantity), average_price=float(position.average_price))
