"""The embedded Redis server, for real: started, stopped, killed, and started again."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from launcher import sessions, valkey
from launcher.data_folder import DataFolder
from launcher.stop_request import StopRequest
from launcher.supervisor import Supervisor
from launcher.terminal import Terminal
from launcher.valkey import EmbeddedRedis

PATIENCE_S = 20


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """A supervisor that stops what a test started."""
    with (tmp_path / "output").open("w", encoding="utf-8") as output:
        made = Supervisor(
            terminal=Terminal(output),
            logs=tmp_path,
            roster=tmp_path / "processes.json",
            environment={},
            stop=StopRequest(),
        )
        yield made
        made.stop()


@pytest.fixture
def embedded(tmp_path: Path) -> EmbeddedRedis:
    with DataFolder(tmp_path / "data folder") as data:
        return valkey.prepare(data, 0)


def _wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_it_starts_and_answers_with_its_password(
    supervisor: Supervisor, embedded: EmbeddedRedis
) -> None:
    supervisor.start(embedded.part())
    with redis.Redis.from_url(embedded.url) as client:
        assert client.ping()


def test_it_answers_nobody_without_the_password(
    supervisor: Supervisor, embedded: EmbeddedRedis
) -> None:
    supervisor.start(embedded.part())
    with (
        redis.Redis(port=embedded.port) as client,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        client.ping()


def test_the_password_stands_in_private_files_and_in_no_command_line(
    embedded: EmbeddedRedis,
) -> None:
    assert embedded.password not in " ".join(embedded.part().command)
    assert stat.S_IMODE(embedded.configuration.stat().st_mode) == 0o600


def test_it_never_evicts_and_appends_every_write(
    supervisor: Supervisor, embedded: EmbeddedRedis
) -> None:
    supervisor.start(embedded.part())
    with redis.Redis.from_url(embedded.url, decode_responses=True) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("bind") == {"bind": "127.0.0.1"}


def test_a_kill_costs_neither_its_port_nor_what_was_written(
    supervisor: Supervisor, embedded: EmbeddedRedis
) -> None:
    """The supervisor starts it again with the same file, on the same port."""
    supervisor.start(embedded.part())
    with redis.Redis.from_url(embedded.url) as client:
        client.set("kept", "yes")
    first = supervisor.processes()["redis"]
    # appended to the file once a second
    _wait_until(lambda: b"kept" in _appended(embedded))
    os.kill(first, signal.SIGKILL)

    def is_back() -> bool:
        supervisor.watch()
        return supervisor.processes().get("redis", first) != first and _value(embedded) == b"yes"

    _wait_until(is_back)


def _appended(embedded: EmbeddedRedis) -> bytes:
    files = (embedded.configuration.parent / "appendonlydir").glob("*.incr.aof")
    return b"".join(file.read_bytes() for file in files)


def _value(embedded: EmbeddedRedis) -> object:
    try:
        with redis.Redis.from_url(embedded.url, socket_timeout=1) as client:
            return client.get("kept")
    except redis.RedisError:
        return None


def test_a_stop_keeps_the_data_for_the_next_start(
    tmp_path: Path, supervisor: Supervisor, embedded: EmbeddedRedis
) -> None:
    """Also port and password stay what they were."""
    supervisor.start(embedded.part())
    with redis.Redis.from_url(embedded.url) as client:
        client.set("kept", "yes")
    pid = supervisor.processes()["redis"]
    supervisor.stop()
    assert sessions.members(pid) == []
    with DataFolder(tmp_path / "data folder") as data:
        again = valkey.prepare(data, 0)
    assert again.url == embedded.url
    supervisor.start(again.part())
    assert _value(again) == b"yes"
