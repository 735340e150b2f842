"""Cycles through Celery, the ledger and the services, and the replay of the same candles."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from replay.__main__ import Replayed, main
from tests.integration.stack import Stack, running
from tests.ledger_database import copy_ledger, ledger_environment, ledger_rows, on_postgresql
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


@dataclass(frozen=True)
class Ran:
    """Cycles that ran, and the replay of the candles that they saw."""

    folder: Path
    environ: dict[str, str]
    cycle_ids: list[str]
    orders: list[tuple[Any, ...]]
    fills: list[tuple[Any, ...]]
    last: str
    replay: Replayed


def ran(folder: Path, path: Path, currency: str, count: int) -> Ran:
    """Run so many cycles and the replay."""
    environ = environ_of(path, currency)
    with running(folder, **environ) as stack:
        orders, fills = cycled(stack, count), cycle_fills(stack)
        last = stack.get("/status")["market_time"]
        ids = [each["cycle_id"] for each in stack.get(f"/cycles?limit={count}")["items"]]
    done = replayed(path, "--config", "config.yaml", environ=environ)
    return Ran(folder, environ, ids, orders, fills, last, done)


def decided_again(cycles: Ran, cycle_id: str, folder: Path | None = None) -> int:
    """The exit status of `./dev replay --cycle`, in the environment of the cycles."""
    data = cycles.folder / "data" if folder is None else folder
    environ = cycles.environ | ledger_environment(data)
    return main(["--cycle", cycle_id, "--data-dir", str(data)], environ)


def spoiled(cycles: Ran, folder: Path, change: str) -> str:
    """Another folder with a changed copy of the ledger; the id of the first cycle that bought."""
    shutil.copytree(cycles.folder / "data", folder, dirs_exist_ok=True)
    if on_postgresql():
        copy_ledger(cycles.folder / "data", folder)
    with ledger_rows(folder) as connection:
        bought = "select cycle_id from orders where side = 'buy' order by number limit 1"
        cycle_id = connection.exec_driver_sql(bought).scalar_one()
        connection.exec_driver_sql(change)
    return str(cycle_id)


@pytest.fixture(scope="module")
def cycles(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("cycles")
    candles = {
        f"{name}/USD": waves(number, CANDLES + 50, start_ms=START_MS)
        for number, name in enumerate("ABCDEFGH")
    }
    return ran(folder, write(folder / "candles.parquet", candles), "USD", 25)


@pytest.mark.timeout(300)
def test_cycles_equal_the_replay_order_for_order_and_fill_for_fill(cycles: Ran) -> None:
    assert replay_orders(cycles.replay, cycles.last) == cycles.orders
    assert replay_fills(cycles.replay, cycles.last) == cycles.fills
    assert {order[2] for order in cycles.orders} == {"buy", "sell"}
    assert len({order[4] for order in cycles.orders}) >= 3


def test_a_cycle_decided_again_from_what_was_kept_decides_the_same(
    cycles: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(cycles.cycle_ids) == 25
    assert [decided_again(cycles, each) for each in cycles.cycle_ids] == [0] * 25
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("signals judged anew: no difference") == 25
    orders = sum(int(line.split(" orders")[0].split()[-1]) for line in printed.err.splitlines())
    assert orders == len(cycles.orders)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("update orders set quantity = '12345'", "quantity was 12345, is "),
        ("update decisions set payload = replace(payload, '0.1', '0.7')", "was "),
        ("delete from candidates", "made now, not then"),
        ("delete from signals", "made now, not then"),
    ],
)
def test_another_decision_is_told_in_a_line(
    cycles: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, told: str
) -> None:
    cycle_id = spoiled(cycles, tmp_path, change)
    assert decided_again(cycles, cycle_id, tmp_path) == 1
    assert told in capsys.readouterr().out


def test_what_was_decided_on_must_be_there(
    cycles: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoiled(cycles, tmp_path, "delete from candle_blocks")
    assert decided_again(cycles, "last", tmp_path) == 2
    assert decided_again(cycles, "20200101T000000Z-nothing", tmp_path) == 2
    assert main(["--cycle", "last", "--data-dir", str(tmp_path / "none")], {}) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "that were decided on are gone" in lines[0]
    assert "no cycle 20200101T000000Z-nothing" in lines[1]
    assert "there is no ledger" in lines[2]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not REAL.exists(), reason=f"the real candles are not there: {REAL}")
def test_two_hundred_cycles_over_real_candles_equal_the_replay(tmp_path: Path) -> None:
    cycles = ran(tmp_path, REAL.resolve(), "USDT", 200)
    assert replay_orders(cycles.replay, cycles.last) == cycles.orders
    assert replay_fills(cycles.replay, cycles.last) == cycles.fills
    assert len(cycles.orders) > 50
    assert {decided_again(cycles, each) for each in cycles.cycle_ids} == {0}
