"""Channels to the broker keep one client for their commands, as long as its connections last."""

from __future__ import annotations

from collections.abc import Iterator

import kombu
import pytest
import redis

from tasks import broker_transport


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[redis.Redis]:
    """The clients that were made so far."""
    clients: list[redis.Redis] = []
    begin = redis.Redis.__init__

    def noted(client: redis.Redis, *given: object, **options: object) -> None:
        begin(client, *given, **options)
        clients.append(client)

    monkeypatch.setattr(redis.Redis, "__init__", noted)
    return clients


@pytest.fixture
def queue(redis_url: str) -> Iterator[kombu.simple.SimpleQueue]:
    broker_transport.use_it()
    with kombu.Connection(redis_url.replace("unix://", "redis+socket://")) as connection:
        queue = connection.SimpleQueue("some")
        queue.put("first")
        queue.get(timeout=5).ack()
        yield queue
        queue.close()


def test_messages_are_sent_and_acknowledged_by_one_client(
    queue: kombu.simple.SimpleQueue, made: list[redis.Redis]
) -> None:
    assert isinstance(queue.channel, broker_transport.Channel)
    for number in range(20):
        queue.put(number)
    for number in range(20):
        message = queue.get(timeout=5)
        assert message.payload == number
        message.ack()
    assert made == []


def test_a_channel_whose_connections_were_dropped_has_a_new_client(
    queue: kombu.simple.SimpleQueue, made: list[redis.Redis]
) -> None:
    """As in a child after a fork: a socket cannot be shared."""
    before = queue.channel._create_client()
    queue.channel._after_fork()
    queue.put("once more")
    (client,) = made
    assert client is not before
    assert client.connection_pool is queue.channel.pool
    assert client.llen("some") == 1
