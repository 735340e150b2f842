"""Workers on three hosts of their own; one of them is cut off in the middle of a cycle and killed.

Needs root (network namespaces) and TEST_POSTGRES_URL.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests import hosts as made
from tests.integration.stack import ROOT, wait_for
from tests.ledger_database import database_of

HOSTS = ["w1", "w2", "w3"]
SYMBOLS = 60
CLOSED = "SELECT status FROM cycles WHERE cycle_id = %s AND status <> 'RUNNING'"
HELD = (
    "SELECT count(*) FROM batches WHERE cycle_id = %s AND reported_at IS NULL "
    "AND claimed_by LIKE %s"
)


@pytest.fixture
def database(tmp_path: Path) -> str:
    if "TEST_POSTGRES_URL" not in os.environ:
        pytest.skip("TEST_POSTGRES_URL names no PostgreSQL database")
    return database_of(tmp_path)


@pytest.fixture
def product(tmp_path: Path, database: str) -> Iterator[made.Product]:
    if reason := made.why_not():
        pytest.skip(reason)
    settings = {
        "TRADING_ENGINE__CYCLE_INTERVAL": "60",
        "TRADING_ENGINE__BATCH_SIZE": "2",
        "SERVICES__MARKET_DATA__SYMBOLS": str(SYMBOLS),
        "SELECTION__MIN_VOLUME_24H": "0",
        "SELECTION__MAX_SPREAD_BPS": "1000",
    }
    with made.hosts(tmp_path / "world", HOSTS, database, **settings) as started:
        yield started


def ask(database: str, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(database) as connection:
        return connection.execute(query.encode(), values).fetchall()


def cut_off_with_a_batch(product: made.Product, database: str, host: str) -> str:
    """Cut a host while it works on a batch; the id of the cycle that it leaves behind."""
    with psycopg.connect(database, autocommit=True) as connection:
        for _ in range(10):
            cycle_id = str(product.cycle(wait_s=0)["cycle_id"])
            until = time.monotonic() + 20
            while time.monotonic() < until:
                held = connection.execute(HELD.encode(), (cycle_id, f"%@{host}/%")).fetchone()
                if held is not None and held[0]:
                    product.network.cut(host)
                    return cycle_id
                if connection.execute(CLOSED.encode(), (cycle_id,)).fetchone() is not None:
                    break
    raise AssertionError(f"{host} never held a batch")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_host_that_is_cut_off_in_mid_cycle_and_killed_costs_nothing(
    product: made.Product, database: str
) -> None:
    assert product.cycle()["status"] == "COMPLETED"
    claimed = ask(database, "SELECT DISTINCT claimed_by FROM batches")
    assert {name.split("@")[1].split("/")[0] for (name,) in claimed} == set(HOSTS)

    cycle_id = cut_off_with_a_batch(product, database, "w2")
    wait_for(lambda: ask(database, CLOSED, cycle_id), 60, "the cycle is closed")
    late = ask(database, HELD, cycle_id, "%")
    assert late == [(0,)], "every batch of the host was worked on elsewhere"
    product.kill("w2")

    for _ in range(2):
        assert product.cycle()["status"] == "COMPLETED"
    orders = ask(database, "SELECT count(*), count(DISTINCT decision_key) FROM orders")
    assert orders[0][0] > 0
    audit = subprocess.run(
        [sys.executable, "-m", "launcher.audit", "--data-dir", product.environ["DATA_DIR"]],
        cwd=ROOT,
        env=product.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert audit.returncode == 0, audit.stdout + audit.stderr
