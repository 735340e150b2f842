"""The market data service over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from flask import Flask

from engine.settings import Settings
from services.market_data.clock import LiveClock, MarketNow, ReplayClock, to_ms, to_text, to_time
from services.market_data.feeds.build import build_feed, check_mode, feed_identity
from services.market_data.feeds.feed import Feed, ReplayFeed
from services.market_data.market import Market
from services.market_data.messages import (
    MAX_BODY_BYTES,
    ClockAnswer,
    ClockRequest,
    Listed,
    OhlcvAnswer,
    OhlcvRequest,
    QuotesAnswer,
    QuotesRequest,
    QuoteText,
    SymbolsAnswer,
    SymbolsQuery,
)
from web import KeyRing, route
from web import create_app as create_web_app
from web.problems import FieldError, unprocessable

CLOCK_FILE = "market_clock.sqlite"


def wall_now() -> datetime:
    """The wall clock, aware, UTC."""
    return datetime.now(tz=UTC)


def create_app(
    settings: Settings, *, feed: Feed | None = None, wall: Callable[[], datetime] = wall_now
) -> Flask:
    """The service as the settings describe it; `feed` stands in for the configured one.

    Raises ConfigError for candles that cannot be read and for a feed that the mode refuses.
    """
    source = build_feed(settings) if feed is None else feed
    check_mode(settings, source)
    market = Market(source, _clock(settings, source, wall), wall)
    configured = settings.services.market_data
    app = create_web_app(
        name="market_data",
        title="Market data",
        version="1.0",
        description=_description(market),
        keys=KeyRing.single(configured.key.get_secret_value()),
        host=configured.host,
        max_body_bytes=MAX_BODY_BYTES,
        health=lambda: _health(market),
    )
    _add_symbol_route(app, market)
    _add_price_routes(app, market)
    _add_clock_routes(app, market, configured.candles_per_cycle)
    return app


def _clock(settings: Settings, feed: Feed, wall: Callable[[], datetime]) -> MarketNow:
    if isinstance(feed, ReplayFeed):
        return ReplayClock(Path(settings.data_dir) / CLOCK_FILE, feed_identity(settings), feed)
    return LiveClock(wall)


def _description(market: Market) -> str:
    feed = f"Feed: {market.feed.name}, {market.feed.market_clock} clock."
    return f"SIMULATED prices. {feed}" if market.is_simulated else feed


def _health(market: Market) -> Mapping[str, Any]:
    now = to_text(market.clock.now_ms())
    clock = f"replay ended at {now}" if market.clock.has_ended else f"market time {now}"
    feed = "SIMULATED feed: prices are not real" if market.is_simulated else market.feed.name
    return {
        "status": "ok",
        "simulated": market.is_simulated,
        "checks": {
            "feed": {"status": "ok", "detail": feed},
            "clock": {"status": "ok", "detail": clock},
        },
    }


def _add_symbol_route(app: Flask, market: Market) -> None:
    @route(
        app,
        "GET",
        "/symbols",
        summary="Tradable instruments by volume",
        query=SymbolsQuery,
        answers={200: SymbolsAnswer},
    )
    def symbols(query: SymbolsQuery) -> SymbolsAnswer:
        now_ms = market.clock.now_ms()
        return SymbolsAnswer(
            as_of=to_time(now_ms),
            clock=market.clock.kind,
            symbols=[Listed.of(each) for each in market.listed(now_ms, query)],
            simulated=market.is_simulated,
        )


def _add_price_routes(app: Flask, market: Market) -> None:
    @route(
        app,
        "POST",
        "/ohlcv",
        summary="Closed candles of many symbols",
        body=OhlcvRequest,
        answers={200: OhlcvAnswer},
    )
    def ohlcv(body: OhlcvRequest) -> bytes:
        return _candles(market, body)

    @route(
        app,
        "POST",
        "/quotes",
        summary="Best bid and ask of many symbols",
        body=QuotesRequest,
        answers={200: QuotesAnswer},
    )
    def quotes(body: QuotesRequest) -> QuotesAnswer:
        now_ms = market.clock.now_ms()
        prices, errors = market.prices(now_ms, body.symbols)
        at = market.wall()
        return QuotesAnswer(
            as_of=to_time(now_ms),
            clock=market.clock.kind,
            quotes={symbol: QuoteText.of(price, at) for symbol, price in prices.items()},
            errors=errors,
            simulated=market.is_simulated,
        )


def _candles(market: Market, body: OhlcvRequest) -> bytes:
    """An OhlcvAnswer as JSON, straight from the arrays."""
    if not market.feed.serves(body.timeframe):
        raise unprocessable((FieldError("timeframe", f"{body.timeframe} is not served here"),))
    now_ms = market.clock.now_ms()
    candles, errors = market.candles(now_ms, body.symbols, body.timeframe, body.limit, body.since)
    answer = {
        "as_of": to_text(now_ms),
        "clock": market.clock.kind,
        "timeframe": body.timeframe,
        "candles": {
            symbol: {
                "time": rows.time,
                "open": rows.open,
                "high": rows.high,
                "low": rows.low,
                "close": rows.close,
                "volume": rows.volume,
            }
            for symbol, rows in candles.items()
        },
        "errors": errors,
        "simulated": market.is_simulated,
    }
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _add_clock_routes(app: Flask, market: Market, candles_per_cycle: int) -> None:
    def told(now_ms: int) -> ClockAnswer:
        return ClockAnswer(
            as_of=to_time(now_ms),
            clock=market.clock.kind,
            ended=market.clock.has_ended,
            feed=market.feed.name,
            simulated=market.is_simulated,
        )

    @route(app, "GET", "/clock", summary="The market's now", answers={200: ClockAnswer})
    def clock() -> ClockAnswer:
        return told(market.clock.now_ms())

    @route(
        app,
        "POST",
        "/clock",
        summary="Move a replay clock, once for each cycle or to a time",
        body=ClockRequest,
        answers={200: ClockAnswer, 409: None},
        scope="cycle",
    )
    def move(body: ClockRequest) -> ClockAnswer:
        if body.cycle_id is not None and body.as_of is None:
            candles = candles_per_cycle if body.candles is None else body.candles
            return told(market.clock.advance(body.cycle_id, candles))
        if body.as_of is not None and body.cycle_id is None and body.candles is None:
            return told(market.clock.move_to(to_ms(body.as_of)))
        raise unprocessable((FieldError("", "give cycle_id (and candles), or as_of alone"),))
