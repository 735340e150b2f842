"""Cycles through Celery, the ledger and the services, and the replay of the same candles."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from replay.__main__ import Replayed
from tests.integration.stack import Stack, running
from tests.replays import START_MS, replayed, waves, write

CANDLES = 60
FIELDS = ("client_order_id", "symbol", "side", "status", "exit_reason", "strategy")
AMOUNTS = ("quantity", "limit_price", "reference_price", "filled_quantity", "fees")
REAL = Path(os.environ.get("CANDLES_DIR", "../shared/data")) / "crypto_1h.parquet"


def environ_of(path: Path, currency: str) -> dict[str, str]:
    """Everything that decides, with guards and budgets that come to bind."""
    return {
        "TRADING_ENGINE__ACCOUNT_CURRENCY": currency,
        "TRADING_ENGINE__CANDLES": str(CANDLES),
        "TRADING_ENGINE__MIN_CONFIDENCE": "0.5",
        "SERVICES__MARKET_DATA__FEED": "files",
        "SERVICES__MARKET_DATA__PATH": str(path),
        "EXITS__STOP": "1 atr",
        "EXITS__TRAILING": "3 atr",
        "EXITS__TIME_CANDLES": "12",
        "RISK__PRICE_COLLAR": "0.05",
        "SELECTION__MIN_VOLUME_24H": "0",
    }


def cycled(stack: Stack, count: int) -> list[tuple[Any, ...]]:
    """What so many cycles ordered, in the order of their decisions, with what became of it."""
    found: list[tuple[Any, ...]] = []
    for _ in range(count):
        report = stack.cycle()
        assert report["status"] in {"COMPLETED", "DEGRADED"}, report
        for identity in stack.get(f"/cycles/{report['cycle_id']}")["order_ids"]:
            order = stack.get(f"/orders/{identity}")["order"]
            found.append(
                (
                    *(order[name] for name in FIELDS),
                    *(float(order[name]) for name in AMOUNTS),
                    order["market_time"],
                )
            )
    return found


def cycle_fills(stack: Stack) -> list[tuple[Any, ...]]:
    """Every fill of the execution service's log; orders of one cycle are sent side by side."""
    events: list[dict[str, Any]] = []
    while True:
        after = events[-1]["seq"] if events else 0
        page = stack.service("execution", f"/events?after={after}&limit=1000")
        events += page["events"]
        if not page["events"] or events[-1]["seq"] >= page["head"]:
            break
    return sorted(
        (each["fill_id"], float(each["quantity"]), float(each["price"]), float(each["fee"]))
        for each in events
        if each["type"] == "fill"
    )


def replay_fills(done: Replayed, until: str) -> list[tuple[Any, ...]]:
    """The same of a replay, up to the time of the last cycle."""
    return sorted(
        (fill.fill_id, float(fill.quantity), float(fill.price), float(fill.fee))
        for fill in done.runner.account.fills
        if fill.filled_at.isoformat().replace("+00:00", "Z") <= until
    )


def replay_orders(done: Replayed, until: str) -> list[tuple[Any, ...]]:
    """The same of a replay, up to the time of the last cycle."""
    found = []
    for placed in done.runner.account.memory.placed:
        order = placed.order
        time = order.market_time.isoformat().replace("+00:00", "Z")
        if order.exit_reason == "end" or time > until:
            continue
        filled = sum((fill.quantity for fill in placed.fills), order.quantity * 0)
        fees = sum((fill.fee for fill in placed.fills), order.quantity * 0)
        known = (*(str(getattr(order, name)) for name in FIELDS),)
        amounts = (order.quantity, order.limit_price, order.reference_price, filled, fees)
        found.append((*known, *(float(amount) for amount in amounts), time))
    return found


def compare(folder: Path, path: Path, currency: str, count: int) -> list[tuple[Any, ...]]:
    """Run so many cycles and the replay; the orders, after both are found to be the same."""
    environ = environ_of(path, currency)
    with running(folder, **environ) as stack:
        orders, fills = cycled(stack, count), cycle_fills(stack)
        last = stack.get("/status")["market_time"]
    done = replayed(path, "--config", "config.yaml", environ=environ)
    assert replay_orders(done, last) == orders
    assert replay_fills(done, last) == fills
    return orders


@pytest.mark.timeout(300)
def test_cycles_equal_the_replay_order_for_order_and_fill_for_fill(tmp_path: Path) -> None:
    candles = {
        f"{name}/USD": waves(number, CANDLES + 50, start_ms=START_MS)
        for number, name in enumerate("ABCDEFGH")
    }
    path = write(tmp_path / "candles.parquet", candles)
    orders = compare(tmp_path, path, "USD", 25)
    assert {order[2] for order in orders} == {"buy", "sell"}
    assert len({order[4] for order in orders}) >= 3


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not REAL.exists(), reason=f"the real candles are not there: {REAL}")
def test_two_hundred_cycles_over_real_candles_equal_the_replay(tmp_path: Path) -> None:
    orders = compare(tmp_path, REAL.resolve(), "USDT", 200)
    assert len(orders) > 50
