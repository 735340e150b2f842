"""The candles that a decision was made on."""

from __future__ import annotations

import numpy as np

from engine.control.desk import Desk
from engine.domain.candles import CandleColumns, Candles
from engine.domain.operator_views import DecisionCandles
from engine.errors import NotFound

MILLISECONDS = 1000


def of_order(desk: Desk, client_order_id: str) -> DecisionCandles:
    """The columns that an order was decided on. Raises NotFound where they are gone."""
    story = desk.queries.order(client_order_id)
    order = story.order
    market_ms = int(order.market_time.timestamp() * MILLISECONDS)
    return _up_to(desk, order.symbol, order.candle_time or None, market_ms)


def of_decision(desk: Desk, decision_id: str) -> DecisionCandles:
    """The same for a decision that no order followed. Raises NotFound."""
    row = desk.operator.decision(decision_id).row
    if row.market_time is None:
        raise NotFound(f"decision {decision_id} has no market time")
    market_ms = int(row.market_time.timestamp() * MILLISECONDS)
    return _up_to(desk, row.symbol, row.candle_time or None, market_ms)


def _up_to(desk: Desk, symbol: str, candle_time: int | None, market_ms: int) -> DecisionCandles:
    """Candles that were closed at market time `market_ms`: as kept with decisions, else cached."""
    engine = desk.engine.settings.trading_engine
    timeframe, timeframe_s = engine.default_timeframe, engine.timeframe_s
    step = timeframe_s * MILLISECONDS
    last = candle_time if candle_time is not None else market_ms - step
    first = last - (engine.candles - 1) * step
    source, seen = (
        "ledger",
        desk.engine.ledger.archive.span(timeframe, timeframe_s, symbol, first, last),
    )
    if len(seen) == 0 or int(seen.time[-1]) != last // step * step:
        source, seen = "cache", _cached(desk, symbol, timeframe, last)
    if len(seen) == 0:
        raise NotFound(f"the candles of {symbol} up to then are not kept any more")
    return DecisionCandles(
        symbol=symbol,
        timeframe=timeframe,
        timeframe_s=timeframe_s,
        candle_time=int(seen.time[-1]),
        source=source,
        candles=seen.columns(),
    )


def _cached(desk: Desk, symbol: str, timeframe: str, last: int) -> Candles:
    """What the cache holds up to the candle that opened at `last`; nothing where it does not."""
    cached = desk.engine.cache.load([symbol], timeframe).get(symbol)
    if cached is None:
        return CandleColumns().candles()
    count = int(np.searchsorted(cached.time, last, side="right"))
    return cached.between(0, count)
