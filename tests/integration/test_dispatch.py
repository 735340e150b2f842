"""A cycle is asked for over a connection that is kept, and over a new one where it broke."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
import redis
from celery import Celery

from engine.domain.cycle import CycleRequest, Trigger
from engine.errors import ServiceUnavailable
from tasks.dispatch import CeleryDispatcher
from tests.clients_kit import redis_at_a_path

REQUEST = CycleRequest(
    key="request|one",
    trigger=Trigger.MANUAL,
    scheduled_at=datetime(2026, 1, 5, 12, tzinfo=UTC),
    symbols=("BTC/USD",),
    dry_run=True,
)


@contextmanager
def dispatching(redis_url: str) -> Iterator[tuple[CeleryDispatcher, redis.Redis]]:
    """A dispatcher that has sent one request, and a look at its Redis."""
    address = redis_url.replace("unix://", "redis+socket://")
    with Celery("some", broker=address) as application, redis.Redis.from_url(redis_url) as client:
        dispatcher = CeleryDispatcher(application)
        dispatcher.start_cycle(REQUEST)
        yield dispatcher, client


def test_the_second_request_makes_no_connection(redis_url: str) -> None:
    with dispatching(redis_url) as (dispatcher, client):
        before = client.info("stats")["total_connections_received"]
        dispatcher.start_cycle(REQUEST)
        assert client.info("stats")["total_connections_received"] == before
        assert client.llen("celery") == 2


def test_a_kept_connection_that_broke_is_made_anew(redis_url: str) -> None:
    with dispatching(redis_url) as (dispatcher, client):
        client.client_kill_filter(_type="normal", skipme=True)
        dispatcher.start_cycle(REQUEST)
        assert client.llen("celery") == 2


def test_without_redis_it_is_unavailable() -> None:
    with redis_at_a_path() as url, dispatching(url) as (dispatcher, client):
        client.shutdown(nosave=True)
        with pytest.raises(ServiceUnavailable) as raised:
            dispatcher.start_cycle(REQUEST)
    assert raised.value.service == "redis"
