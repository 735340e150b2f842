"""Rate limits: a moving window over all processes, a fifth kept for what must go first."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence

import pytest

from engine.clients.rate_limit import PERMIT_LIFE_S, Rate, RateLimited, RateLimiter
from engine.redis_link import RedisLink
from tests.clients_kit import RedisSwitch, Stopwatch


def limiter(
    switch: RedisSwitch, rule: str = "10/second", watch: Stopwatch | None = None, processes: int = 1
) -> RateLimiter:
    """A process's limiter; without a watch in real time, and then it never waits."""
    clock = watch or time.monotonic
    return RateLimiter(
        "execution",
        rule,
        switch.link(clock),
        processes=processes,
        monotonic=clock,
        sleep=watch.sleep if watch else pytest.fail,
        jitter=lambda: 0.0,
    )


def grants(*limiters: RateLimiter, asks: int = 40, priority: bool = False) -> int:
    """How many of so many immediate asks are granted."""
    granted = 0
    for index in range(asks):
        with contextlib.suppress(RateLimited):
            limiters[index % len(limiters)].acquire(float("-inf"), priority=priority)
            granted += 1
    return granted


def test_all_processes_share_one_limit_and_a_fifth_is_kept_for_priority() -> None:
    switch = RedisSwitch()
    fleet = [limiter(switch) for _ in range(4)]
    assert grants(*fleet) == 8
    assert grants(*fleet, priority=True) == 2


def test_priority_calls_may_use_the_whole_limit() -> None:
    switch = RedisSwitch()
    assert grants(limiter(switch), priority=True) == 10
    assert grants(limiter(switch)) == 0


def test_a_permit_is_void_after_a_short_while() -> None:
    watch = Stopwatch()
    assert limiter(RedisSwitch(), watch=watch).acquire(2000.0) == watch.at + PERMIT_LIFE_S


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every script that was run so far."""
    run: list[str] = []
    script = RedisLink.script

    def noted(link: RedisLink, text: str, *given: Sequence[str]) -> object:
        run.append(text)
        return script(link, text, *given)

    monkeypatch.setattr(RedisLink, "script", noted)
    return run


def test_who_calls_often_asks_for_several_permits_at_once(scripts: list[str]) -> None:
    one = limiter(RedisSwitch(), "100/second")
    assert grants(one, asks=80) == 80
    assert len(scripts) < 80 / 4


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_permits_granted_at_once_are_never_more_than_the_limit(processes: int) -> None:
    switch = RedisSwitch()
    fleet = [limiter(switch, "100/second", processes=processes) for _ in range(processes)]
    assert grants(*fleet, asks=120) == 80
    assert grants(*fleet, asks=24, priority=True) == 20


def test_who_may_call_seldom_asks_for_one_permit_at_a_time(scripts: list[str]) -> None:
    assert grants(limiter(RedisSwitch(), "10/second")) == 8
    assert len(scripts) == 40


def in_stock(switch: RedisSwitch, watch: Stopwatch) -> RateLimiter:
    """A limiter that has a permit in hand."""
    one = limiter(switch, "100/second", watch)
    for _ in range(4):
        one.acquire(watch.at)
    assert one._stock.count > 0
    return one


def test_a_permit_in_hand_is_good_as_long_as_if_it_were_used_at_once(scripts: list[str]) -> None:
    watch = Stopwatch()
    one, granted_at = in_stock(RedisSwitch(), watch), watch.at
    asked = len(scripts)
    watch.at += PERMIT_LIFE_S / 2
    assert one.acquire(watch.at) == granted_at + PERMIT_LIFE_S
    assert len(scripts) == asked


def test_a_permit_in_hand_is_void_after_a_short_while() -> None:
    watch = Stopwatch()
    one = in_stock(RedisSwitch(), watch)
    watch.at += PERMIT_LIFE_S
    assert one.acquire(watch.at) == watch.at + PERMIT_LIFE_S


def test_a_permit_in_hand_is_not_used_while_the_service_wants_to_be_left_alone() -> None:
    watch = Stopwatch()
    one = in_stock(RedisSwitch(), watch)
    one.slow_down(30)
    with pytest.raises(RateLimited):
        one.acquire(watch.at)


def test_a_permit_in_hand_is_not_a_forked_child_s_too(
    scripts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Stopwatch()
    one = in_stock(RedisSwitch(), watch)
    asked, child = len(scripts), os.getpid() + 1
    monkeypatch.setattr(os, "getpid", lambda: child)
    one.acquire(watch.at)
    assert len(scripts) == asked + 1


def test_what_one_process_is_told_to_wait_all_wait_even_priority() -> None:
    switch = RedisSwitch()
    one, two = limiter(switch), limiter(switch)
    one.slow_down(30)
    one.slow_down(1)
    assert grants(one, two, priority=True) == 0
    remaining = switch.client.pttl("trading:rate:{execution}:pause")
    assert 29_000 < remaining <= 30_000


def test_without_a_permit_the_request_certainly_had_no_effect() -> None:
    switch = RedisSwitch()
    one = limiter(switch, "1/minute")
    assert grants(one) == 1
    with pytest.raises(RateLimited) as raised:
        one.acquire(float("-inf"))
    assert raised.value.accepted is False


def test_services_do_not_share_a_limit() -> None:
    switch = RedisSwitch()
    assert grants(limiter(switch)) == 8
    other = RateLimiter("portfolio", "10/second", switch.link(), sleep=pytest.fail)
    assert grants(other) == 8


def test_with_redis_away_each_process_keeps_to_its_share() -> None:
    switch, watch = RedisSwitch(), Stopwatch()
    switch.off()
    one = limiter(switch, "40/second", watch, processes=4)
    assert grants(one) == 8
    assert grants(one, priority=True) == 2
    watch.at += 1.25
    assert grants(one) == 8


def test_a_share_below_one_call_becomes_a_longer_window() -> None:
    assert Rate.parse("10/second").share(40) == Rate(amount=1, ordinary=1, period_s=4.0)


def test_a_call_waits_for_its_permit_and_no_longer_than_needed() -> None:
    switch, watch = RedisSwitch(), Stopwatch()
    switch.off()
    one = limiter(switch, "10/second", watch)
    assert grants(one) == 8
    one.acquire(watch.at + 10)
    assert sum(watch.slept) == pytest.approx(1.25)


def test_what_was_granted_by_redis_counts_when_redis_goes_away() -> None:
    switch, watch = RedisSwitch(), Stopwatch()
    one = limiter(switch, watch=watch)
    assert grants(one) == 8
    switch.off()
    assert grants(one) == 0


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("500/second", Rate(amount=500, ordinary=400, period_s=1)),
        ("20/second", Rate(amount=20, ordinary=16, period_s=1)),
        ("1/minute", Rate(amount=1, ordinary=1, period_s=60)),
        ("2/hour", Rate(amount=2, ordinary=1, period_s=3600)),
    ],
)
def test_rules_read_as_in_the_configuration(rule: str, expected: Rate) -> None:
    assert Rate.parse(rule) == expected
