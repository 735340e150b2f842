"""The worker processes of the fleet tests: they call a service as told and say what they saw.

Argument: a JSON object with `url`, `redis` (an address), `modes` (one a process), `seconds`,
`folder` (each process leaves `NUMBER.json` there) and the service's `settings`.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import redis

from engine.clients.breaker import ServiceBreaker
from engine.clients.connection import Pools
from engine.clients.rate_limit import RateLimiter
from engine.clients.transport import Transport
from engine.errors import ServiceError
from engine.redis_link import RedisLink
from engine.service_settings import Execution
from tests.clients_kit import WallClock

START_S = 0.5


def main(task: dict[str, Any]) -> int:
    """Fork a process for each mode, all beginning at once; 0 when all ended well."""
    task["begin_at"] = time.monotonic() + START_S
    children = []
    for number, mode in enumerate(task["modes"]):
        child = os.fork()
        if child == 0:
            work(task, number, mode)
            os._exit(0)
        children.append(child)
    return sum(os.waitpid(child, 0)[1] for child in children)


def work(task: dict[str, Any], number: int, mode: str) -> None:
    """One process: run its mode for the task's seconds."""
    os.nice(5)  # who counts at the server must not wait for those who are counted
    waits: list[float] = []
    settings = Execution(url=task["url"], **task["settings"])
    link = RedisLink(redis.Redis.from_url(task["redis"], socket_timeout=1))
    transport = Transport(
        "execution",
        settings,
        pools=Pools(),
        breaker=ServiceBreaker("execution", settings.breaker, link),
        limiter=RateLimiter(
            "execution",
            settings.rate_limit,
            link,
            processes=len(task["modes"]),
            sleep=lambda seconds: waits.append(seconds) or time.sleep(seconds),
        ),
        clock=WallClock(),
    )
    link.run(lambda client: client.ping())
    time.sleep(max(task["begin_at"] - time.monotonic(), 0))
    run = {"entries": entries, "lookups": lookups, "outage": outage}[mode]
    took = run(transport, time.monotonic() + task["seconds"])
    seen = {"took": took, "waits": waits}
    Path(task["folder"], f"{number}.json").write_text(json.dumps(seen))


def entries(transport: Transport, ends_at: float) -> list[float]:
    """Ordinary calls without a pause."""
    while (left := ends_at - time.monotonic()) > 0:
        with contextlib.suppress(ServiceError):
            transport.call(
                "GET", "/entry", answer=msgspec.Raw, idempotent=False, timeout_s=max(left, 0.05)
            )
    return []


def lookups(transport: Transport, ends_at: float) -> list[float]:
    """A priority call now and then; how long each took."""
    taken = []
    while time.monotonic() < ends_at:
        started = time.monotonic()
        transport.call("GET", "/lookup", answer=msgspec.Raw, idempotent=True, priority=True)
        taken.append(time.monotonic() - started)
        time.sleep(0.4)
    return taken


def outage(transport: Transport, ends_at: float) -> list[float]:
    """Calls and health checks, as a worker and an upkeep worker at once would make them."""
    while time.monotonic() < ends_at:
        with contextlib.suppress(ServiceError):
            transport.call("GET", "/work", answer=msgspec.Raw, idempotent=True)
        if transport.breaker.state(WallClock().now()).state != "closed":
            with contextlib.suppress(ServiceError):
                transport.probe()
        time.sleep(0.02)
    return []


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
