"""Putting the parts together: the only module that names concrete classes."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

from engine.cache import RedisCandleCache
from engine.clients.breaker import BreakerChanged, Circuit, ServiceBreaker
from engine.clients.connection import Pools
from engine.clients.execution import HttpExecution
from engine.clients.market_data import HttpMarketData
from engine.clients.monitoring import HttpMonitoring
from engine.clients.observer import CallTally
from engine.clients.portfolio import HttpPortfolio
from engine.clients.rate_limit import RateLimiter
from engine.clients.strategy import HttpStrategyEngine
from engine.clients.transport import Transport
from engine.connections import redis_client
from engine.domain.messages import MonitoringEvent
from engine.domain.timing import call_timeout_s
from engine.identity import feed_identity
from engine.ledger.ledger import open_ledger
from engine.ports import Engine
from engine.redis_link import RedisLink
from engine.service_settings import SERVICES, ServiceName
from engine.settings import Settings, batch_processes
from engine.spool import Spool, SpooledMonitoring
from engine.telemetry import get_logger
from engine.vitals import Vitals
from engine.wall_clock import WallClock

log = get_logger(__name__)

API_PROCESSES = 1
SPOOL_FILE = "monitoring_spool.jsonl"

Transports = dict[ServiceName, Transport]


def _ignore(_service: str, _before: Circuit, _after: Circuit) -> None:
    return


def build_engine(settings: Settings, *, worker: str, **overrides: Any) -> Engine:
    """The engine over the configured ledger, Redis and services; `overrides` replace its parts.

    Raises ConfigError, and LedgerUnavailable when the ledger cannot be opened. Connections are
    made on first use; a forked child makes its own.
    """
    clock = WallClock()
    link = RedisLink(redis_client(settings))
    spool = Spool(Path(settings.data_dir) / SPOOL_FILE, settings.services.monitoring.spool_events)
    transports = build_transports(settings, clock, link, told=partial(_tell_of_breaker, spool))
    ledger = overrides.pop("ledger", None) or open_ledger(settings)
    mine = settings.trading_engine
    engine = Engine(
        settings=settings,
        clock=clock,
        market_data=HttpMarketData(
            transports["market_data"], clock, must_be_live=mine.mode == "live"
        ),
        strategy=HttpStrategyEngine(transports["strategy"]),
        portfolio=HttpPortfolio(transports["portfolio"], mine.account),
        execution=HttpExecution(transports["execution"]),
        monitoring=SpooledMonitoring(HttpMonitoring(transports["monitoring"]), spool),
        ledger=ledger,
        cache=RedisCandleCache(
            link, secret=ledger.state.secret(), namespace=feed_identity(settings)
        ),
        worker=worker,
        probes={name: transport.probe for name, transport in transports.items()},
    )
    return dataclasses.replace(engine, **overrides)


def build_transports(
    settings: Settings, clock: WallClock, link: RedisLink, *, told: BreakerChanged = _ignore
) -> Transports:
    """One transport a service, with its breaker and its share of the rate limit.

    `told` hears of changed breakers; each waits as long as the pace of cycles allows.
    """
    pools = Pools()
    processes = batch_processes(settings) + settings.workers.upkeep + API_PROCESSES
    tally = CallTally(build_vitals(settings))
    interval = settings.trading_engine.cycle_interval

    def transport(name: ServiceName) -> Transport:
        service = settings.services.named(name)
        timeout_s = call_timeout_s(service.timeout_s, interval)
        return Transport(
            name,
            service.model_copy(update={"timeout_s": timeout_s}),
            pools=pools,
            breaker=ServiceBreaker(name, service.breaker, link, changed=told),
            limiter=RateLimiter(name, service.rate_limit, link, processes=processes),
            clock=clock,
            observer=tally,
        )

    return {name: transport(name) for name in SERVICES}


def build_vitals(settings: Settings) -> Vitals:
    """What processes tell of themselves, through Redis."""
    return Vitals(RedisLink(redis_client(settings)), ttl_s=settings.workers.heartbeat_ttl_s)


def build_breakers(settings: Settings) -> dict[ServiceName, ServiceBreaker]:
    """The fleet's breakers, to be read."""
    link = RedisLink(redis_client(settings))
    return {
        name: ServiceBreaker(name, settings.services.named(name).breaker, link) for name in SERVICES
    }


def _tell_of_breaker(spool: Spool, service: str, before: Circuit, after: Circuit) -> None:
    """Log it, and leave an event that goes out with the next ones."""
    log.warning("breaker_changed", service=service, before=before.value, after=after.value)
    now = WallClock().now()
    event = MonitoringEvent(
        event_id=f"breaker|{service}|{now.isoformat()}",
        type="breaker_changed",
        at=now,
        severity="info" if after is Circuit.CLOSED else "warning",
        data={"service": service, "before": before.value, "after": after.value},
    )
    try:
        spool.add([event])
    except OSError as error:
        log.warning("events_not_published", count=1, detail=str(error))
