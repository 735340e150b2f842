"""Vitals: what processes tell of themselves, and nothing when Redis is away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from engine.clients.observer import CallOutcome, CallTally
from engine.vitals import CallRates, ProcessVitals, ServiceCheck, Vitals, WorkerVitals
from tests.clients_kit import RedisSwitch, Stopwatch

NOW = datetime(2025, 11, 22, 12, tzinfo=UTC)
PROCESS = ProcessVitals(name="batch", pid=7, cpu_percent=12.5, memory_mb=80.0)


@dataclass
class Wall:
    """Epoch seconds that stand until told."""

    at: float = 1_763_812_800.0

    def __call__(self) -> float:
        return self.at


def worker(name: str) -> WorkerVitals:
    return WorkerVitals(
        name=name,
        queues=("batch", "execute"),
        processes=(PROCESS,),
        last_seen_at=NOW,
        active=2,
        cpu_percent=12.5,
        memory_mb=80.0,
    )


def test_workers_are_those_that_wrote_lately() -> None:
    switch = RedisSwitch()
    vitals = Vitals(switch.link(), ttl_s=3)
    vitals.write_worker(worker("b"))
    vitals.write_worker(worker("a"))
    assert vitals.workers() == (worker("a"), worker("b"))
    (key,) = switch.client.keys("*worker:a")
    assert 0 < switch.client.pttl(key) <= 3000
    switch.client.delete(key)
    assert vitals.workers() == (worker("b"),)


def test_names_of_workers_that_are_long_gone_are_forgotten() -> None:
    wall, switch = Wall(), RedisSwitch()
    vitals = Vitals(switch.link(), wall=wall)
    vitals.write_worker(worker("a"))
    wall.at += 2 * 86_400
    vitals.write_worker(worker("b"))
    assert switch.client.zrange("trading:vitals:workers", 0, -1) == [b"b"]


def test_processes_of_all_owners_are_listed_once() -> None:
    vitals = Vitals(RedisSwitch().link())
    api = ProcessVitals(name="api", pid=1, cpu_percent=1, memory_mb=50)
    vitals.write_processes("api", [api, PROCESS])
    vitals.write_processes("launcher", [PROCESS])
    assert vitals.processes() == (api, PROCESS)


def test_beats_tick_is_remembered() -> None:
    vitals = Vitals(RedisSwitch().link())
    assert vitals.last_beat_tick() is None
    vitals.beat_tick(NOW)
    assert vitals.last_beat_tick() == NOW


def test_checks_are_kept_by_service() -> None:
    vitals = Vitals(RedisSwitch().link())
    check = ServiceCheck(status="ok", detail="", checked_at=NOW, latency_ms=1.5, last_ok_at=NOW)
    vitals.write_check("portfolio", check)
    assert vitals.checks() == {"portfolio": check}


def test_rates_are_of_the_last_five_minutes() -> None:
    wall = Wall()
    vitals = Vitals(RedisSwitch().link(), wall=wall)
    vitals.count_calls("execution", 4, 1, [0.01] * 4)
    wall.at += 240
    vitals.count_calls("execution", 4, 3, [0.03] * 4)
    rates = vitals.call_rates()
    assert rates["execution"] == CallRates(calls=8, failures=4, error_rate=0.5, latency_ms=20.0)
    assert rates["portfolio"] == CallRates(calls=0, failures=0, error_rate=None, latency_ms=None)
    wall.at += 60
    assert vitals.call_rates()["execution"].calls == 4


def test_queues_are_as_long_as_what_waits_in_them() -> None:
    switch = RedisSwitch()
    switch.client.lpush("batch", "a", "b")
    depths = Vitals(switch.link()).queue_depths(["cycle", "batch"])
    assert depths == {"cycle": 0, "batch": 2}


def test_with_redis_away_everything_is_empty_and_it_says_so() -> None:
    switch = RedisSwitch()
    vitals = Vitals(switch.link())
    assert vitals.ping() is not None
    switch.off()
    vitals.beat_tick(NOW)
    vitals.write_worker(worker("a"))
    vitals.write_processes("api", [PROCESS])
    vitals.count_calls("execution", 1, 0, [0.1])
    assert vitals.last_beat_tick() is None
    assert vitals.workers() == ()
    assert vitals.processes() == ()
    assert vitals.checks() == {}
    assert vitals.queue_depths(["batch"]) == {}
    assert vitals.call_rates()["execution"].error_rate is None
    assert vitals.ping() is None
    assert not vitals.available
    switch.on()
    assert vitals.ping() is not None
    assert vitals.available


def test_what_another_version_wrote_is_passed_over() -> None:
    switch = RedisSwitch()
    vitals = Vitals(switch.link())
    vitals.write_worker(worker("a"))
    vitals.write_worker(worker("b"))
    switch.client.set("trading:vitals:worker:a", b'{"name": 1}')
    switch.client.set("trading:vitals:beat", b"yesterday")
    assert vitals.workers() == (worker("b"),)
    assert vitals.last_beat_tick() is None


@dataclass
class Counts:
    """Where a tally goes."""

    seen: list[tuple[str, int, int, int]] = field(default_factory=list)

    def count_calls(
        self, service: str, calls: int, failures: int, latencies: Sequence[float]
    ) -> None:
        self.seen.append((service, calls, failures, len(latencies)))


def test_calls_are_added_up_and_passed_on_once_a_second() -> None:
    counts, watch = Counts(), Stopwatch()
    tally = CallTally(counts, monotonic=watch)
    for outcome in CallOutcome:
        tally.called("execution", 0.1, outcome)
    assert counts.seen == []
    watch.at += 1
    tally.called("execution", 0.1, CallOutcome.OK)
    # asked: ok, rejected, unavailable, bad_payload and the last one; two of them failed
    assert counts.seen == [("execution", 5, 2, 5)]
    tally.called("portfolio", 0.1, CallOutcome.OK)
    tally.flush()
    tally.flush()
    assert counts.seen[1:] == [("portfolio", 1, 0, 1)]
