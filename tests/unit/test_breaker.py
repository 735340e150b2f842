"""Breakers: shared by all processes, probed by one, local while Redis is away."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from engine.clients.breaker import Circuit, ServiceBreaker
from engine.errors import CircuitOpen, ServiceRejected
from engine.redis_link import RedisLink
from engine.service_settings import Breaker
from tests.clients_kit import Changes, RedisSwitch, Stopwatch, eventually

NOW = datetime(2025, 11, 22, 12, tzinfo=UTC)
SETTINGS = Breaker(failures=3, reset_s=0.05, max_reset_s=0.2)


class Leaping:
    """Real monotonic time, a second further at each look: every look at Redis is a new one."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        self.offset += 1.0
        return time.monotonic() + self.offset


def fleet(switch: RedisSwitch, changes: Changes, count: int = 2) -> list[ServiceBreaker]:
    """Breakers of several processes."""
    return [
        ServiceBreaker("execution", SETTINGS, switch.link(), changed=changes, monotonic=Leaping())
        for _ in range(count)
    ]


def open_it(breaker: ServiceBreaker) -> None:
    for _ in range(SETTINGS.failures):
        breaker.failed()


def probe(breaker: ServiceBreaker, *, good: bool) -> bool:
    """One probe when it is due."""
    try:
        is_probe = breaker.claim_probe(0.01)
    except CircuitOpen:
        return False
    (breaker.succeeded if good else breaker.failed)(probe=is_probe)
    return True


def close_it(breaker: ServiceBreaker, changes: Changes) -> None:
    assert eventually(
        lambda: probe(breaker, good=True) and changes.seen[-1][1] is Circuit.CLOSED, 10
    )


def test_failures_of_all_processes_open_the_circuit_for_all_and_it_is_said_once() -> None:
    changes = Changes()
    one, two = fleet(RedisSwitch(), changes)
    one.failed()
    two.failed()
    assert one.admit() is False
    one.failed()
    for breaker in (one, two):
        with pytest.raises(CircuitOpen):
            breaker.admit()
    two.failed()
    assert changes.seen == [(Circuit.CLOSED, Circuit.OPEN)]


def test_a_success_anywhere_makes_the_count_begin_again() -> None:
    one, two = fleet(RedisSwitch(), Changes())
    one.failed()
    one.failed()
    two.succeeded()
    one.failed()
    assert two.admit() is False


def test_one_process_alone_may_probe_and_nobody_before_the_reset_period() -> None:
    changes = Changes()
    breakers = fleet(RedisSwitch(), changes, 8)
    opened = time.monotonic()
    open_it(breakers[0])
    granted: list[float] = []

    def ask_all() -> bool:
        for breaker in breakers:
            try:
                assert breaker.claim_probe(60)
            except CircuitOpen:
                continue
            granted.append(time.monotonic())
        return bool(granted)

    assert eventually(ask_all)
    assert granted[0] - opened >= SETTINGS.reset_s - 0.002
    assert not eventually(lambda: ask_all() and len(granted) > 1, 0.15)


def test_ordinary_calls_wait_while_half_open_and_three_good_probes_close() -> None:
    changes = Changes()
    one, two = fleet(RedisSwitch(), changes)
    open_it(one)
    assert eventually(lambda: probe(one, good=True))
    assert one.state(NOW).state is Circuit.HALF_OPEN
    for breaker in (one, two):
        with pytest.raises(CircuitOpen):
            breaker.admit(may_probe=True)
    assert eventually(lambda: probe(two, good=True))
    assert two.state(NOW).state is Circuit.HALF_OPEN
    assert eventually(lambda: probe(one, good=True))
    assert two.admit() is False
    assert changes.seen == [
        (Circuit.CLOSED, Circuit.OPEN),
        (Circuit.OPEN, Circuit.HALF_OPEN),
        (Circuit.HALF_OPEN, Circuit.CLOSED),
    ]


def test_the_reset_period_doubles_with_each_failed_probe_up_to_its_maximum() -> None:
    (breaker,) = fleet(RedisSwitch(), Changes(), 1)
    open_it(breaker)
    periods = [breaker.state(NOW).reset_s]
    for _ in range(3):
        assert eventually(lambda: probe(breaker, good=False))
        periods.append(breaker.state(NOW).reset_s)
    assert periods == [0.05, 0.1, 0.2, 0.2]


def test_a_failed_probe_while_half_open_opens_again_for_longer() -> None:
    changes = Changes()
    (breaker,) = fleet(RedisSwitch(), changes, 1)
    open_it(breaker)
    assert eventually(lambda: probe(breaker, good=True))
    assert eventually(lambda: probe(breaker, good=False))
    state = breaker.state(NOW)
    assert (state.state, state.reset_s) == (Circuit.OPEN, 0.1)


def test_a_closed_circuit_starts_over_with_the_shortest_period() -> None:
    changes = Changes()
    (breaker,) = fleet(RedisSwitch(), changes, 1)
    open_it(breaker)
    assert eventually(lambda: probe(breaker, good=False))
    close_it(breaker, changes)
    open_it(breaker)
    assert breaker.state(NOW).reset_s == SETTINGS.reset_s


def test_late_news_of_calls_that_began_before_do_not_move_an_open_circuit() -> None:
    (breaker,) = fleet(RedisSwitch(), Changes(), 1)
    open_it(breaker)
    breaker.failed()
    breaker.succeeded()
    state = breaker.state(NOW)
    assert (state.state, state.reset_s) == (Circuit.OPEN, SETTINGS.reset_s)


def test_redis_is_read_at_most_four_times_a_second() -> None:
    watch = Stopwatch()
    reads: list[float] = []

    class Counting(RedisLink):
        def script(self, *args: object) -> object:  # type: ignore[override]
            reads.append(watch.at)
            return super().script(*args)  # type: ignore[arg-type]

    link = Counting(RedisSwitch().client, monotonic=watch)
    breaker = ServiceBreaker("execution", SETTINGS, link, monotonic=watch)
    for _ in range(1000):
        breaker.admit()
        breaker.succeeded()
        watch.at += 0.001
    assert len(reads) <= 4


def test_with_redis_away_each_process_judges_by_itself_and_finds_back_alone() -> None:
    switch, changes, watch = RedisSwitch(), Changes(), Stopwatch()
    breaker = ServiceBreaker(
        "execution", SETTINGS, switch.link(watch), changed=changes, monotonic=watch
    )
    switch.off()
    open_it(breaker)
    state = breaker.state(NOW)
    assert (state.state, state.local) == (Circuit.OPEN, True)
    with pytest.raises(CircuitOpen):
        breaker.admit(may_probe=True)
    watch.at += SETTINGS.reset_s
    with pytest.raises(CircuitOpen):
        breaker.admit()  # an order is never a probe
    for _ in range(3):
        assert breaker.admit(may_probe=True)
        breaker.succeeded(probe=True)
        watch.at += 1.0
    assert breaker.admit() is False
    assert changes.seen[-1] == (Circuit.HALF_OPEN, Circuit.CLOSED)


def test_an_open_circuit_stays_open_when_redis_goes_away() -> None:
    switch, watch = RedisSwitch(), Stopwatch()
    breaker = ServiceBreaker("execution", Breaker(failures=3), switch.link(watch), monotonic=watch)
    open_it(breaker)
    switch.off()
    watch.at += 1
    with pytest.raises(CircuitOpen):
        breaker.admit()


def test_a_flushed_redis_means_closed() -> None:
    switch = RedisSwitch()
    (breaker,) = fleet(switch, Changes(), 1)
    open_it(breaker)
    switch.client.flushall()
    assert breaker.admit() is False


def test_after_a_recovery_orders_go_one_at_a_time_until_one_is_answered() -> None:
    changes = Changes()
    one, two = fleet(RedisSwitch(), changes)
    open_it(one)
    close_it(one, changes)
    late = time.monotonic() + 1e6

    def two_at_once() -> None:
        with one.trial(late), two.trial(time.monotonic()):
            pytest.fail("two orders at once")

    def answered_with(error: Exception) -> None:
        with one.trial(late):
            raise error

    for _ in range(2):  # no answer to the first one: the next one is alone again
        with pytest.raises(CircuitOpen):
            two_at_once()
    with pytest.raises(ServiceRejected):
        answered_with(ServiceRejected("execution", "no", status=409))
    with one.trial(late), two.trial(time.monotonic()):
        pass


def test_the_state_says_since_when_and_when_the_next_probe_is() -> None:
    watch = Stopwatch()
    breaker = ServiceBreaker(
        "execution", Breaker(failures=1), RedisSwitch().link(watch), monotonic=watch
    )
    assert breaker.state(NOW).next_probe_s is None
    breaker.failed()
    watch.at += 5
    state = breaker.state(NOW)
    assert state.failures == 1
    assert state.next_probe_s is not None
    assert 9 < state.next_probe_s <= 15
