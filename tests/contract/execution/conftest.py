"""The service under test: the reference one, or the one that CONFORM_EXECUTION_URL names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.execution.local import LocalService
from tests.contract.execution.market import FakeMarket
from tests.contract.execution.venue import Venue


@pytest.fixture
def market() -> Iterator[FakeMarket]:
    """A market whose prices the test sets."""
    fake = FakeMarket()
    yield fake
    fake.close()


@pytest.fixture
def local(tmp_path: Path, market: FakeMarket) -> Iterator[LocalService]:
    """The reference service, for what no contract lets a test arrange from outside."""
    if "CONFORM_EXECUTION_URL" in os.environ:
        pytest.skip("arranges the reference service itself; not for CONFORM_EXECUTION_URL")
    service = LocalService(tmp_path, market)
    yield service
    service.close()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    """One service for all tests of the contract: they find the orders of those before them."""
    if "CONFORM_EXECUTION_URL" in os.environ:
        yield Venue.from_environment(os.environ)
        return
    fake = FakeMarket()
    service = LocalService(tmp_path_factory.mktemp("execution"), fake)
    yield service.start()
    service.close()
    fake.close()


@pytest.fixture
def venue(served: Venue) -> Iterator[Venue]:
    """The service under test, with its kill switch released before and after."""
    served.resume()
    yield served
    served.resume()
