"""The app on a ledger of its own; the empty database is made once and copied."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.ledger.ledger import FILE_NAME, open_ledger
from engine.settings import Settings
from tests.control_fakes import Bench, make_bench


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a ledger that was just created."""
    folder = tmp_path_factory.mktemp("ledger")
    open_ledger(Settings(data_dir=str(folder))).dispose()
    return folder


@pytest.fixture
def settings(empty_ledger: Path, tmp_path: Path) -> Settings:
    """Settings with a data_dir of their own, which holds an empty ledger."""
    shutil.copy(empty_ledger / FILE_NAME, tmp_path / FILE_NAME)
    return Settings(data_dir=str(tmp_path))


@pytest.fixture
def bench(settings: Settings) -> Iterator[Bench]:
    """The app over a new ledger, without keys."""
    made = make_bench(settings)
    yield made
    made.ledger.dispose()
