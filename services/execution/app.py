"""The execution service: its desk over a paper broker and one durable file."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

import web
from engine.domain.matching import Terms
from engine.errors import ConfigError
from engine.settings import Settings
from services.execution.brokers.paper import PaperBroker
from services.execution.desk import Desk
from services.execution.limits import HardLimits
from services.execution.prices import HttpPrices, PriceSource
from services.execution.routes import (
    add_fence_routes,
    add_kill_switch_routes,
    add_order_routes,
    add_read_routes,
)
from services.execution.store import open_store
from web import KeyRing

FILE_NAME = "execution.sqlite"
# Quote, candle and, now and then, the list: all three within what the sender of an order waits.
PRICE_CALL_SHARE = 0.3


def wall_time() -> datetime:
    """The current instant, aware, UTC."""
    return datetime.now(UTC)


def create_app(
    settings: Settings,
    *,
    prices: PriceSource | None = None,
    now: Callable[[], datetime] = wall_time,
    pause: Callable[[float], None] = time.sleep,
) -> Flask:
    """The service's app on `data_dir/execution.sqlite`. Raises ConfigError.

    `prices` stands in for the market data service, `pause` waits for some seconds.
    """
    section = settings.services.execution
    desk = _desk(settings, prices or _http_prices(settings), now, pause)
    app = web.create_app(
        name="execution",
        title="Execution",
        version="1.0",
        description="One account's orders on a paper broker: each once, durable, fenced.",
        keys=KeyRing.single(section.key.get_secret_value()),
        host=section.host,
        health=lambda: _health(desk),
    )
    add_order_routes(app, desk, settings.trading_engine.account)
    add_read_routes(app, desk)
    add_fence_routes(app, desk)
    add_kill_switch_routes(app, desk)
    return app


def _desk(
    settings: Settings,
    prices: PriceSource,
    now: Callable[[], datetime],
    pause: Callable[[float], None],
) -> Desk:
    section = settings.services.execution
    limits = HardLimits(**section.limits.model_dump())
    if section.fee > limits.max_fee:
        raise ConfigError(
            [f"services.execution.fee: was {section.fee}, above limits.max_fee {limits.max_fee}"]
        )
    terms = Terms(
        fee=section.fee,
        slippage_bps=section.slippage_bps,
        max_volume_share=section.max_volume_share,
        seed=section.seed,
        max_fee=limits.max_fee,
    )
    durable = open_store(
        Path(settings.data_dir) / FILE_NAME,
        account=settings.trading_engine.account,
        new_log_id=lambda: uuid4().hex,
        busy_timeout_s=settings.ledger.busy_timeout_s,
    )
    broker = PaperBroker(prices, terms, latency_ms=section.latency_ms)
    return Desk(durable, broker, limits, now=now, pause=pause)


def _http_prices(settings: Settings) -> HttpPrices:
    market_data = settings.services.market_data
    return HttpPrices(
        market_data.base_url,
        timeframe=settings.trading_engine.default_timeframe,
        timeframe_s=settings.trading_engine.timeframe_s,
        timeout_s=settings.timing.send_timeout_s * PRICE_CALL_SHARE,
        key=market_data.key.get_secret_value(),
    )


def _health(desk: Desk) -> dict[str, Any]:
    try:
        fence = desk.fence()
    except SQLAlchemyError as error:
        return {"status": "down", "checks": {"store": {"status": "down", "detail": str(error)}}}
    return {
        "status": "ok",
        "broker": "paper",
        "halted": fence.halted,
        "checks": {"store": {"status": "ok", "epoch": fence.epoch}},
    }
