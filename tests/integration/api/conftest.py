"""The app on a ledger of its own; the empty database is made once and copied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.ledger.ledger import open_ledger
from engine.settings import Settings
from tests.control_fakes import Bench, make_bench
from tests.ledger_database import copy_ledger, ledger_settings


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a ledger that was just created."""
    folder = tmp_path_factory.mktemp("ledger")
    open_ledger(ledger_settings(folder)).dispose()
    return folder


@pytest.fixture
def settings(empty_ledger: Path, tmp_path: Path) -> Settings:
    """Settings with a data_dir of their own, which holds an empty ledger."""
    copy_ledger(empty_ledger, tmp_path)
    return ledger_settings(tmp_path)


@pytest.fixture
def bench(settings: Settings) -> Iterator[Bench]:
    """The app over a new ledger, without keys."""
    made = make_bench(settings)
    yield made
    made.ledger.dispose()
