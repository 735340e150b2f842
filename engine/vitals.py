"""What processes tell of themselves through Redis, so that a status page asks nobody.

Nothing here raises: what cannot be written is dropped, what cannot be read is empty or None, and
`available` says whether Redis served the last use.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec
import redis

from engine.domain.model import Value
from engine.redis_link import RedisAway, RedisLink
from engine.service_settings import SERVICES

T = TypeVar("T")
BUCKET_S = 60
BUCKETS = 5
KEEP_S = 86_400


class ProcessVitals(Value, frozen=True, kw_only=True):
    """One process: `cpu_percent` of one core, resident memory."""

    name: str
    pid: int
    cpu_percent: float
    memory_mb: float


class WorkerVitals(Value, frozen=True, kw_only=True):
    """A worker as `/status` shows it; CPU and memory are the sums over its processes.

    `identity` is of this start of the worker alone: a restarted one has the name and not the work.
    """

    name: str
    identity: str = ""
    queues: tuple[str, ...]
    processes: tuple[ProcessVitals, ...]
    last_seen_at: datetime
    active: int
    cpu_percent: float
    memory_mb: float


class ServiceCheck(Value, frozen=True, kw_only=True):
    """The upkeep worker's last look at a service. `status` is ok, degraded or down."""

    status: str
    detail: str
    checked_at: datetime
    latency_ms: float | None = None
    last_ok_at: datetime | None = None


class CallRates(Value, frozen=True, kw_only=True):
    """Calls of a service in the last 5 minutes; the rates are None without a call."""

    calls: int
    failures: int
    error_rate: float | None
    latency_ms: float | None


class Vitals:
    """Heartbeats, checks and counts. `wall` gives epoch seconds.

    A worker or process that has not written for `ttl_s` is gone. Keys live in `namespace`.
    """

    def __init__(
        self,
        link: RedisLink,
        *,
        ttl_s: float = 3.0,
        namespace: str = "trading",
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._link = link
        self._ttl_ms = max(int(ttl_s * 1000), 1)
        self._prefix = f"{namespace}:vitals:"
        self._wall = wall

    @property
    def available(self) -> bool:
        """Whether Redis served the last use."""
        return self._link.available

    def ping(self) -> float | None:
        """Milliseconds that Redis took to answer, or None. Asks even after a failure."""

        def timed(client: redis.Redis) -> float:
            started = time.perf_counter()
            client.ping()
            return (time.perf_counter() - started) * 1000

        try:
            return self._link.run(timed, always=True)
        except RedisAway:
            return None

    def beat_tick(self, now: datetime) -> None:
        """Beat sent its heartbeat."""
        key = self._prefix + "beat"
        self._run(lambda client: client.set(key, now.isoformat(), ex=KEEP_S), None)

    def last_beat_tick(self) -> datetime | None:
        """When beat last sent its heartbeat."""
        value = self._run(lambda client: client.get(self._prefix + "beat"), None)
        try:
            return None if value is None else datetime.fromisoformat(value.decode())
        except ValueError:
            return None

    def write_worker(self, worker: WorkerVitals) -> None:
        """A worker's heartbeat."""
        self._write("worker", worker.name, worker)

    def workers(self) -> tuple[WorkerVitals, ...]:
        """Workers that live, by name."""
        found = self._read("worker", WorkerVitals)
        return tuple(found[name] for name in sorted(found))

    def write_processes(self, owner: str, processes: Sequence[ProcessVitals]) -> None:
        """What `owner` knows of processes that are no workers: its own, and Redis's or others'."""
        self._write("processes", owner, list(processes))

    def processes(self) -> tuple[ProcessVitals, ...]:
        """Those of every living owner, by name and pid; one that two owners tell of once."""
        found = self._read("processes", list[ProcessVitals])
        known = {(one.name, one.pid): one for owner in sorted(found) for one in found[owner]}
        return tuple(known[key] for key in sorted(known))

    def write_check(self, service: str, check: ServiceCheck) -> None:
        """The result of a health check."""
        key, value = self._prefix + "checks", msgspec.json.encode(check)
        self._run(lambda client: client.hset(key, service, value), None)

    def checks(self) -> dict[str, ServiceCheck]:
        """The last check of each service."""
        values = self._run(lambda client: client.hgetall(self._prefix + "checks"), {})
        return _decoded(values, ServiceCheck)

    def count_calls(
        self, service: str, calls: int, failures: int, latencies: Sequence[float]
    ) -> None:
        """Add calls (seconds each in `latencies`) to this minute's counts."""
        key = self._bucket(service, int(self._wall() // BUCKET_S))

        def add(client: redis.Redis) -> None:
            pipeline = client.pipeline(transaction=False)
            pipeline.hincrby(key, "calls", calls)
            pipeline.hincrby(key, "failures", failures)
            pipeline.hincrbyfloat(key, "seconds", sum(latencies))
            pipeline.expire(key, BUCKET_S * (BUCKETS + 1))
            pipeline.execute()

        self._run(add, None)

    def call_rates(self) -> dict[str, CallRates]:
        """Calls of every service over the last five minutes (whole buckets of one minute)."""
        minute = int(self._wall() // BUCKET_S)

        def fetch(client: redis.Redis) -> list[dict[bytes, bytes]]:
            pipeline = client.pipeline(transaction=False)
            for service in SERVICES:
                for back in range(BUCKETS):
                    pipeline.hgetall(self._bucket(service, minute - back))
            return list(pipeline.execute())

        buckets = self._run(fetch, [])
        return {
            service: _rates(buckets[index * BUCKETS : (index + 1) * BUCKETS])
            for index, service in enumerate(SERVICES)
        }

    def queue_depths(self, names: Sequence[str]) -> dict[str, int]:
        """Messages that wait in each queue of the broker; empty when Redis is away."""

        def fetch(client: redis.Redis) -> list[int]:
            pipeline = client.pipeline(transaction=False)
            for name in names:
                pipeline.llen(name)
            return list(pipeline.execute())

        return dict(zip(names, self._run(fetch, []), strict=False))

    def _bucket(self, service: str, minute: int) -> str:
        return f"{self._prefix}calls:{service}:{minute}"

    def _write(self, kind: str, name: str, value: object) -> None:
        index = f"{self._prefix}{kind}s"
        data, now = msgspec.json.encode(value), self._wall()

        def write(client: redis.Redis) -> None:
            pipeline = client.pipeline(transaction=False)
            pipeline.set(f"{self._prefix}{kind}:{name}", data, px=self._ttl_ms)
            pipeline.zadd(index, {name: now})
            pipeline.zremrangebyscore(index, "-inf", now - KEEP_S)
            pipeline.execute()

        self._run(write, None)

    def _read(self, kind: str, form: type[T]) -> dict[str, T]:
        def fetch(client: redis.Redis) -> dict[bytes, bytes | None]:
            names: list[Any] = list(client.zrange(f"{self._prefix}{kind}s", 0, -1))
            keys = [f"{self._prefix}{kind}:{name.decode()}" for name in names]
            values: list[Any] = list(client.mget(keys)) if keys else []
            return dict(zip(names, values, strict=True))

        return _decoded(self._run(fetch, {}), form)

    def _run(self, operation: Callable[[redis.Redis], Any], otherwise: Any) -> Any:
        try:
            return self._link.run(operation)
        except RedisAway:
            return otherwise


def _decoded(values: Mapping[bytes, bytes | None], form: type[T]) -> dict[str, T]:
    """Those that are there and understood: another version may have written the rest."""
    found: dict[str, T] = {}
    for name, value in values.items():
        try:
            if value is not None:
                found[name.decode()] = msgspec.json.decode(value, type=form)
        except ValueError:
            continue
    return found


def _rates(buckets: Sequence[Mapping[bytes, bytes]]) -> CallRates:
    calls = sum(int(bucket.get(b"calls", 0)) for bucket in buckets)
    failures = sum(int(bucket.get(b"failures", 0)) for bucket in buckets)
    seconds = sum(float(bucket.get(b"seconds", 0)) for bucket in buckets)
    return CallRates(
        calls=calls,
        failures=failures,
        error_rate=failures / calls if calls else None,
        latency_ms=round(seconds / calls * 1000, 3) if calls else None,
    )
