"""The candles that a decision was made on."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from engine.control.desk import Desk
from engine.domain.model import Candles
from engine.domain.operator_views import DecisionCandles
from engine.errors import NotFound

MILLISECOND = timedelta(milliseconds=1)


def of_order(desk: Desk, client_order_id: str) -> DecisionCandles:
    """The columns that an order was decided on. Raises NotFound where they are gone."""
    story = desk.queries.order(client_order_id)
    order = story.order
    market_ms = int(order.market_time.timestamp() * 1000)
    return _up_to(desk, order.symbol, order.candle_time or None, market_ms)


def of_decision(desk: Desk, decision_id: str) -> DecisionCandles:
    """The same for a decision that no order followed. Raises NotFound."""
    row = desk.operator.decision(decision_id).row
    if row.market_time is None:
        raise NotFound(f"decision {decision_id} has no market time")
    market_ms = int(row.market_time.timestamp() * 1000)
    return _up_to(desk, row.symbol, row.candle_time or None, market_ms)


def _up_to(desk: Desk, symbol: str, candle_time: int | None, market_ms: int) -> DecisionCandles:
    """Cached candles that were closed at market time `market_ms`; they never change afterwards."""
    engine = desk.engine.settings.trading_engine
    timeframe, timeframe_s = engine.default_timeframe, engine.timeframe_s
    cached = desk.engine.cache.load([symbol], timeframe).get(symbol)
    last = candle_time if candle_time is not None else market_ms - timeframe_s * 1000
    seen = None if cached is None else _until(cached, last)
    if seen is None or len(seen) == 0:
        raise NotFound(f"the candles of {symbol} up to then are not in the cache any more")
    return DecisionCandles(
        symbol=symbol,
        timeframe=timeframe,
        timeframe_s=timeframe_s,
        candle_time=int(seen.time[-1]),
        source="cache",
        candles=seen.columns(),
    )


def _until(candles: Candles, last: int) -> Candles:
    count = int(np.searchsorted(candles.time, last, side="right"))
    return Candles(candles.time[:count], *(column[:count] for column in candles.prices()))
