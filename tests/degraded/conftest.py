"""A real Redis, and the files of an account that every test goes on from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import redis

from tests.clients_kit import redis_at_a_path
from tests.degraded.world import Guarded, Made, guarded, prepare


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with redis_at_a_path() as url:
        yield url


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
