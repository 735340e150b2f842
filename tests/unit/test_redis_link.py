"""Redis that is away costs one timeout now and then, not one a call."""

from __future__ import annotations

from typing import NoReturn

import pytest
import redis

from engine.redis_link import RedisAway, RedisLink
from tests.clients_kit import RedisSwitch, Stopwatch


class Counted:
    """An operation that fails and counts how often it was tried."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.tries = 0

    def __call__(self, _client: redis.Redis) -> NoReturn:
        self.tries += 1
        raise self.error


def test_after_a_failure_redis_is_left_alone_for_a_while() -> None:
    watch = Stopwatch()
    link = RedisLink(RedisSwitch().client, monotonic=watch)
    failing = Counted(redis.TimeoutError("slow"))
    for _ in range(10):
        with pytest.raises(RedisAway):
            link.run(failing)
    assert failing.tries == 1
    assert not link.available
    watch.at += 1.0
    assert link.run(lambda client: client.ping())
    assert link.available


def test_who_must_know_asks_even_then() -> None:
    link = RedisLink(RedisSwitch().client, monotonic=Stopwatch())
    with pytest.raises(RedisAway):
        link.run(Counted(redis.ConnectionError("refused")))
    assert link.run(lambda client: client.ping(), always=True)
    assert link.run(lambda client: client.ping())


def test_an_error_in_an_answer_does_not_close_the_link() -> None:
    link = RedisLink(RedisSwitch().client, monotonic=Stopwatch())
    with pytest.raises(RedisAway):
        link.run(Counted(redis.ResponseError("WRONGTYPE")))
    assert link.run(lambda client: client.ping())
