"""The same inputs give the same orders, however many workers there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.stack import Stack, running

CYCLES = 30
FIELDS = ("client_order_id", "symbol", "side", "quantity", "limit_price", "reference_price")


def orders_of(stack: Stack) -> list[tuple[Any, ...]]:
    """What each cycle ordered, in rank order, as the execution service was asked for it."""
    found: list[tuple[Any, ...]] = []
    for number in range(CYCLES):
        report = stack.cycle()
        assert report["status"] == "COMPLETED", report
        assert report["orders"]["unknown"] == 0
        for identity in stack.get(f"/cycles/{report['cycle_id']}")["order_ids"]:
            order = stack.get(f"/orders/{identity}")["order"]
            found.append((number, "limit", *(order[field] for field in FIELDS)))
    return found


def run(folder: Path, processes: int, batch_size: int) -> list[tuple[Any, ...]]:
    with running(
        folder,
        WORKERS__PROCESSES=str(processes),
        TRADING_ENGINE__BATCH_SIZE=str(batch_size),
        WORKERS__ORDERS_PER_TASK="1",
    ) as stack:
        return orders_of(stack)


@pytest.mark.timeout(300)
def test_one_worker_with_large_batches_and_four_with_small_ones_order_the_same(
    tmp_path: Path,
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "four").mkdir()
    first = run(tmp_path / "one", processes=1, batch_size=25)
    second = run(tmp_path / "four", processes=4, batch_size=5)
    assert len(first) >= 20
    assert any(order[4] == "sell" for order in first)
    assert first == second


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_worker_with_small_batches_and_four_with_large_ones_order_the_same(
    tmp_path: Path,
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "four").mkdir()
    first = run(tmp_path / "one", processes=1, batch_size=5)
    assert len(first) >= 20
    assert first == run(tmp_path / "four", processes=4, batch_size=25)
