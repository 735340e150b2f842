"""The same inputs give the same orders, however many workers there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.stack import Stack, running

FEW, MANY = 10, 30  # cycles
FIELDS = ("client_order_id", "symbol", "side", "quantity", "limit_price", "reference_price")


def orders_of(stack: Stack, cycles: int) -> list[tuple[Any, ...]]:
    """What each cycle ordered, in rank order, as the execution service was asked for it."""
    found: list[tuple[Any, ...]] = []
    for number in range(cycles):
        report = stack.cycle()
        assert report["status"] == "COMPLETED", report
        assert report["orders"]["unknown"] == 0
        for identity in stack.get(f"/cycles/{report['cycle_id']}")["order_ids"]:
            order = stack.get(f"/orders/{identity}")["order"]
            found.append((number, "limit", *(order[field] for field in FIELDS)))
    return found


def run(folder: Path, processes: int, batch_size: int, cycles: int) -> list[tuple[Any, ...]]:
    folder.mkdir()
    with running(
        folder,
        WORKERS__PROCESSES=str(processes),
        TRADING_ENGINE__BATCH_SIZE=str(batch_size),
        WORKERS__ORDERS_PER_TASK="1",
    ) as stack:
        return orders_of(stack, cycles)


def test_one_worker_with_large_batches_and_four_with_small_ones_order_the_same(
    tmp_path: Path,
) -> None:
    first = run(tmp_path / "one", processes=1, batch_size=25, cycles=FEW)
    second = run(tmp_path / "four", processes=4, batch_size=5, cycles=FEW)
    assert len(first) >= 10
    assert first == second


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("sizes", [(25, 5), (5, 25)])
def test_one_worker_and_four_order_the_same_over_many_cycles(
    tmp_path: Path, sizes: tuple[int, int]
) -> None:
    first = run(tmp_path / "one", processes=1, batch_size=sizes[0], cycles=MANY)
    assert len(first) >= 20
    assert any(order[4] == "sell" for order in first)
    assert first == run(tmp_path / "four", processes=4, batch_size=sizes[1], cycles=MANY)
