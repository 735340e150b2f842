"""Chooses and opens the configured feed: the only place that names the feeds."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from engine.domain.model import MarketClock
from engine.errors import ConfigError
from engine.settings import Settings
from services.market_data.feeds.ccxt import CcxtFeed, connect
from services.market_data.feeds.feed import Feed
from services.market_data.feeds.files import FilesFeed
from services.market_data.feeds.simulated import SimulatedFeed
from services.market_data.feeds.tables import read_candles


def build_feed(settings: Settings) -> Feed:
    """The feed that the settings name. Raises ConfigError with one line per fault."""
    chosen = settings.services.market_data
    engine = settings.trading_engine
    if chosen.feed == "ccxt":
        return CcxtFeed(connect(chosen.exchange), engine.account_currency, time.monotonic)
    if chosen.feed == "files":
        return FilesFeed(
            read_candles(Path(chosen.path)),
            timeframe=engine.default_timeframe,
            step_s=engine.timeframe_s,
            history=engine.candles,
            spread_bps=chosen.spread_bps,
            start_ms=_start_ms(settings),
        )
    return SimulatedFeed(
        symbols=chosen.symbols,
        seed=chosen.seed,
        currency=engine.account_currency,
        timeframe=engine.default_timeframe,
        step_s=engine.timeframe_s,
        history=engine.candles,
        start_ms=_start_ms(settings),
    )


def feed_identity(settings: Settings) -> str:
    """Everything that a replayed candle depends on, as one text."""
    chosen = settings.services.market_data
    engine = settings.trading_engine
    if chosen.feed == "files":
        source = chosen.path
    else:
        source = f"seed {chosen.seed} in {engine.account_currency}"
    parts = (chosen.feed, source, engine.default_timeframe, chosen.clock_start)
    return "|".join(parts)


def check_mode(settings: Settings, feed: Feed) -> None:
    """Raise ConfigError for replayed candles in live mode."""
    if settings.trading_engine.mode == "live" and feed.market_clock is MarketClock.REPLAY:
        raise ConfigError(
            [f"services.market_data.feed: {feed.name} is a replay, which mode live refuses"]
        )


def _start_ms(settings: Settings) -> int | None:
    text = settings.services.market_data.clock_start
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise ConfigError(
            [f"services.market_data.clock_start: {text!r} is no ISO 8601 time"]
        ) from exc
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)
