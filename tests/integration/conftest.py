"""A real Redis for the tests that need one and no product around it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients_kit import redis_at_a_path


@pytest.fixture
def redis_url() -> Iterator[str]:
    with redis_at_a_path() as url:
        yield url
