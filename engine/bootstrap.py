"""Putting the parts together: the only module that names concrete classes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from engine.cache import RedisCandleCache
from engine.clients.breaker import Circuit, ServiceBreaker
from engine.clients.connection import Sessions
from engine.clients.execution import HttpExecution
from engine.clients.market_data import HttpMarketData
from engine.clients.monitoring import HttpMonitoring
from engine.clients.observer import CallTally
from engine.clients.portfolio import HttpPortfolio
from engine.clients.rate_limit import RateLimiter
from engine.clients.strategy import HttpStrategyEngine
from engine.clients.transport import Transport
from engine.connections import redis_client
from engine.identity import feed_identity
from engine.ledger.ledger import open_ledger
from engine.ports import Engine
from engine.redis_link import RedisLink
from engine.service_settings import SERVICES, ServiceName
from engine.settings import Settings, batch_processes
from engine.spool import SpooledMonitoring
from engine.telemetry import get_logger
from engine.vitals import Vitals
from engine.wall_clock import WallClock

log = get_logger(__name__)

API_PROCESSES = 1
SPOOL_FILE = "monitoring_spool.jsonl"

Transports = dict[ServiceName, Transport]


def build_engine(settings: Settings, *, worker: str, **overrides: Any) -> Engine:
    """The engine over the configured ledger, Redis and services; `overrides` replace its parts.

    Raises ConfigError, and LedgerUnavailable when the ledger cannot be opened. Connections are
    made on first use; a forked child makes its own.
    """
    clock = WallClock()
    link = RedisLink(redis_client(settings))
    transports = build_transports(settings, clock, link)
    ledger = overrides.pop("ledger", None) or open_ledger(settings)
    mine = settings.trading_engine
    monitoring = SpooledMonitoring(
        HttpMonitoring(transports["monitoring"]),
        Path(settings.data_dir) / SPOOL_FILE,
        settings.services.monitoring.spool_events,
    )
    engine = Engine(
        settings=settings,
        clock=clock,
        market_data=HttpMarketData(
            transports["market_data"], clock, must_be_live=mine.mode == "live"
        ),
        strategy=HttpStrategyEngine(transports["strategy"]),
        portfolio=HttpPortfolio(transports["portfolio"], mine.account),
        execution=HttpExecution(transports["execution"]),
        monitoring=monitoring,
        ledger=ledger,
        cache=RedisCandleCache(
            link, secret=ledger.state.secret(), namespace=feed_identity(settings)
        ),
        worker=worker,
        probes={name: transport.probe for name, transport in transports.items()},
    )
    return dataclasses.replace(engine, **overrides)


def build_transports(settings: Settings, clock: WallClock, link: RedisLink) -> Transports:
    """One transport a service, with its breaker and its share of the rate limit."""
    sessions = Sessions()
    processes = batch_processes(settings) + settings.workers.upkeep + API_PROCESSES
    tally = CallTally(build_vitals(settings))
    return {
        name: Transport(
            name,
            settings.services.named(name),
            sessions=sessions,
            breaker=ServiceBreaker(
                name, settings.services.named(name).breaker, link, changed=_breaker_changed
            ),
            limiter=RateLimiter(
                name, settings.services.named(name).rate_limit, link, processes=processes
            ),
            clock=clock,
            observer=tally,
        )
        for name in SERVICES
    }


def build_vitals(settings: Settings) -> Vitals:
    """What processes tell of themselves, through Redis."""
    return Vitals(RedisLink(redis_client(settings)), ttl_s=settings.workers.heartbeat_ttl_s)


def build_breakers(settings: Settings) -> dict[ServiceName, ServiceBreaker]:
    """The fleet's breakers, to be read."""
    link = RedisLink(redis_client(settings))
    return {
        name: ServiceBreaker(name, settings.services.named(name).breaker, link) for name in SERVICES
    }


def _breaker_changed(service: str, before: Circuit, after: Circuit) -> None:
    log.warning("breaker_changed", service=service, before=before.value, after=after.value)
