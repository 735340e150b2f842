"""Candles to signals: every asked strategy over every symbol, each failure kept to its symbol."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

import msgspec
import numpy as np

from engine.domain.amounts import plain
from engine.domain.candles import CandleColumns, Candles
from engine.domain.model import Action, Signal
from engine.domain.packed_candles import unpacked_json
from engine.errors import DataQualityError
from engine.telemetry import get_logger
from services.strategy.indicators import default_stop
from services.strategy.messages import Held
from services.strategy.strategy import Holding, Opinion, Strategy

_log = get_logger("strategy")
_columns = msgspec.json.Decoder(CandleColumns)
DEFAULT_STOP_ATR = 2.0
PRICE_DIGITS = 10  # significant ones, of a computed price


@dataclass(frozen=True)
class Asked:
    """A strategy with checked parameters, under the caller's name for it."""

    label: str
    strategy: Strategy[Any]
    parameters: Any
    needs: int


@dataclass(frozen=True)
class Subject:
    """One symbol to judge. `stop_atr` is the default stop's distance, 0 for none."""

    symbol: str
    candles: Candles
    holding: Holding | None
    stop_atr: float = DEFAULT_STOP_ATR

    @cached_property
    def stop(self) -> float | None:
        """The default protective stop of a buy, computed once for all strategies."""
        return default_stop(self.candles, self.stop_atr) if self.stop_atr > 0 else None


def evaluate(
    asked: Sequence[Asked],
    market_data: Mapping[str, msgspec.Raw],
    positions: Mapping[str, Held],
    stop_atr: float = DEFAULT_STOP_ATR,
) -> tuple[list[Signal], dict[str, str]]:
    """Signals in order of symbol and strategy, and why a symbol was judged by not all of them."""
    signals: list[Signal] = []
    errors: dict[str, str] = {}
    for symbol, raw in market_data.items():
        try:
            candles = read_columns(raw)
            subject = Subject(symbol, candles, _holding(positions.get(symbol)), stop_atr)
        except DataQualityError as exc:
            errors[symbol] = str(exc)
            continue
        about_symbol, faults = judge_symbol(asked, subject)
        signals += about_symbol
        if faults:
            errors[symbol] = "; ".join(faults)
    return signals, errors


def judge_symbol(asked: Sequence[Asked], subject: Subject) -> tuple[list[Signal], list[str]]:
    """The strategies' signals about one symbol, in their order, and what went wrong."""
    faults: list[str] = []
    judged = [_judge(each, subject, faults) for each in asked]
    return [signal for signal in judged if signal is not None], faults


def read_columns(raw: msgspec.Raw) -> Candles:
    """Candles from JSON columns, or packed ones. Raises DataQualityError for what is no candles."""
    try:
        candles = unpacked_json(raw) if _is_text(raw) else _columns.decode(raw).candles()
    except (msgspec.MsgspecError, ValueError, OverflowError) as exc:
        raise DataQualityError(f"bad columns: {exc}") from exc
    if not np.isfinite(candles.volume).all():
        raise DataQualityError("bad columns: a volume is no number")
    prices = candles.prices()[:4]
    if prices.size and not 0 < prices.min() <= prices.max() < np.inf:  # false for NaN too
        raise DataQualityError("bad columns: a price is not a positive number")
    if not (candles.time[1:] > candles.time[:-1]).all():
        raise DataQualityError("bad columns: time is not ascending")
    return candles


def _is_text(raw: msgspec.Raw) -> bool:
    return bytes(memoryview(raw)[:1]) == b'"'


def _judge(asked: Asked, subject: Subject, faults: list[str]) -> Signal | None:
    """The signal of one strategy about one symbol; what went wrong is added to `faults`."""
    if len(subject.candles) < asked.needs:
        faults.append(f"{asked.label} needs {asked.needs} candles, got {len(subject.candles)}")
        return None
    try:
        opinion = asked.strategy.judge(subject.candles, subject.holding, asked.parameters)
        return None if opinion is None else _signal(asked, subject, opinion)
    # A strategy may be the user's: its fault is this symbol's, not the whole request's.
    except Exception as exc:  # noqa: BLE001
        reason = f"{type(exc).__name__}: {' '.join(str(exc).split())}"
        _log.warning("strategy_failed", strategy=asked.label, symbol=subject.symbol, reason=reason)
        faults.append(f"{asked.label} failed: {reason}")
        return None


def _signal(asked: Asked, subject: Subject, opinion: Opinion) -> Signal | None:
    """The opinion on the wire; None for hold and for what a holding rules out."""
    is_held = subject.holding is not None
    match opinion.action:
        case Action.HOLD:
            return None
        case Action.BUY if is_held and not asked.strategy.adds_to_holdings:
            return None
        case Action.SELL if not is_held:
            return None
    if not 0 <= opinion.confidence <= 1:
        raise ValueError(f"confidence {opinion.confidence} is not within 0 to 1")
    stop = opinion.stop_loss
    if stop is None and opinion.action is Action.BUY:
        stop = subject.stop
    return Signal(
        symbol=subject.symbol,
        strategy=asked.label,
        version=asked.strategy.version,
        action=opinion.action,
        confidence=float(opinion.confidence),
        price=price_of(subject.candles.close.item(-1)),
        candle_time=subject.candles.time.item(-1),
        stop_loss=None if stop is None else price_of(stop),
        take_profit=None if opinion.take_profit is None else price_of(opinion.take_profit),
        reason=opinion.reason,
    )


def price_of(value: float) -> Decimal:
    """A price to ten significant digits. Raises ValueError for no price."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{value} is no price")
    return plain(Decimal(f"{value:.{PRICE_DIGITS}g}"))


def _holding(held: Held | None) -> Holding | None:
    if held is None or held.quantity <= 0:
        return None
    return Holding(quantity=float(held.quantity), average_price=float(held.average_price))
