"""The whole product over real Valkey, real prefork workers and real HTTP: what a user sees."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
import requests

from tasks.chord_backend import DONE_S
from tests.integration.stack import Stack, running, wait_for

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The default market of seed 7, with a budget for fetching that every cycle exceeds."""
    folder = tmp_path_factory.mktemp("pipeline")
    with running(folder, TIMING__STEP_BUDGET_S__FETCH="0.000001") as started:
        yield started


@pytest.fixture(scope="module")
def reports(stack: Stack) -> list[dict[str, Any]]:
    """The first five cycles."""
    return [stack.cycle() for _ in range(5)]


@pytest.fixture(scope="module")
def store(stack: Stack) -> redis.Redis:
    """The product's Redis."""
    [api, *_] = stack.processes("api")
    return redis.Redis.from_url(api.environ()["REDIS_URL"])


def log_lines(stack: Stack, name: str = "worker") -> list[dict[str, Any]]:
    """The structured lines of a component's log."""
    lines = (stack.folder / "data" / "logs" / f"{name}.log").read_text(errors="replace")
    return [json.loads(line) for line in lines.splitlines() if line.startswith("{")]


def of_cycle(stack: Stack, cycle_id: str, event: str) -> list[dict[str, Any]]:
    lines = log_lines(stack)
    return [line for line in lines if line.get("cycle_id") == cycle_id and line["event"] == event]


def test_the_first_cycle_is_completed_and_fills_at_least_three_orders(
    reports: list[dict[str, Any]],
) -> None:
    assert reports[0]["status"] == "COMPLETED"
    assert reports[0]["orders"]["filled"] >= 3


def test_something_is_sold_within_five_cycles(stack: Stack, reports: list[dict[str, Any]]) -> None:
    assert len(reports) == 5
    orders = stack.get("/orders?limit=500")["items"]
    sold = [order for order in orders if order["side"] == "sell" and order["status"] == "FILLED"]
    assert sold
    assert all(order["exit_reason"] for order in sold)


def test_every_batch_is_a_chain_of_three_steps_behind_one_barrier(
    stack: Stack, reports: list[dict[str, Any]]
) -> None:
    cycle = stack.get(f"/cycles/{reports[0]['cycle_id']}")
    assert cycle["batches"]["total"] == cycle["batches"]["ok"] >= 2
    for batch in cycle["batch_list"]:
        assert set(batch["step_seconds"]) == {"fetch", "evaluate", "risk"}
        assert len(batch["symbols"]) <= 25
    allocated = of_cycle(stack, reports[0]["cycle_id"], "cycle_allocated")
    assert len(allocated) == 1


def test_held_symbols_form_batches_of_their_own_and_come_first(
    stack: Stack, reports: list[dict[str, Any]]
) -> None:
    cycle = stack.get(f"/cycles/{reports[2]['cycle_id']}")
    held = [batch["held"] for batch in cycle["batch_list"]]
    assert held[0] is True
    assert held == sorted(held, reverse=True)


def test_illiquid_and_wide_spread_symbols_are_not_selected(
    stack: Stack, reports: list[dict[str, Any]]
) -> None:
    listed = stack.service("market_data", "/symbols")["symbols"]
    thin = {one["symbol"] for one in listed if float(one["volume_24h"]) < 1_000_000}
    wide = {one["symbol"] for one in listed if one["spread_bps"] > 50}
    assert thin
    assert wide
    cycle = stack.get(f"/cycles/{reports[0]['cycle_id']}")
    worked_on = {symbol for batch in cycle["batch_list"] for symbol in batch["symbols"]}
    assert not worked_on & (thin | wide)
    assert worked_on == {one["symbol"] for one in listed} - thin - wide


def test_a_weak_signal_is_dropped_and_named(stack: Stack, reports: list[dict[str, Any]]) -> None:
    dropped = [
        view
        for report in reports
        for view in stack.get(f"/cycles/{report['cycle_id']}")["signal_list"]
        if not view["kept"] and view["signal"]["confidence"] < 0.6
    ]
    assert dropped
    assert all("0.6" in view["reason"] for view in dropped)


def test_a_second_cycle_asks_only_for_new_candles(
    stack: Stack, reports: list[dict[str, Any]]
) -> None:
    first = of_cycle(stack, reports[0]["cycle_id"], "batch_reported")
    second = of_cycle(stack, reports[1]["cycle_id"], "batch_reported")
    symbols = sum(line["symbols"] - line["skipped"] for line in first)
    assert sum(line["new_candles"] for line in first) == 500 * symbols
    assert sum(line["new_candles"] for line in second) == symbols


def test_a_step_over_its_budget_gives_one_warning_with_step_seconds_and_budget(
    stack: Stack, reports: list[dict[str, Any]]
) -> None:
    for report in reports:
        warnings = of_cycle(stack, report["cycle_id"], "step_over_budget")
        assert [warning["step"] for warning in warnings] == ["fetch"]
        assert warnings[0]["seconds"] > warnings[0]["budget"] == 0.000001


def test_two_quick_requests_give_one_cycle_and_one_conflict(stack: Stack) -> None:
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: stack.post("/cycle"), range(2)))
    assert sorted(answer.status_code for answer in answers) == [202, 409]
    accepted = next(answer for answer in answers if answer.status_code == 202)
    conflict = next(answer for answer in answers if answer.status_code == 409)
    assert conflict.headers["Content-Type"].startswith("application/problem+json")
    assert accepted.json()["cycle_id"] in conflict.json()["detail"]
    url = accepted.json()["status_url"]
    assert wait_for(lambda: stack.get(url)["finished_at"], 30, "the accepted cycle is closed")


def test_the_account_is_what_its_fills_make_it(stack: Stack, reports: list[dict[str, Any]]) -> None:
    portfolio = stack.service("portfolio", "/portfolio")
    orders = stack.get("/orders?limit=500")["items"]
    bought = {order["symbol"] for order in orders if float(order["filled_quantity"]) > 0}
    assert {position["symbol"] for position in portfolio["positions"]} <= bought
    assert portfolio["applied_seq"] > 0


def test_metrics_tell_cpu_and_memory_of_every_worker_process(stack: Stack) -> None:
    text = requests.get(f"{stack.url}/metrics", timeout=10).text
    status = stack.get("/status")
    for worker in status["workers"]:
        assert any(
            worker["name"] in line and "memory" in line
            for line in text.splitlines()
            if not line.startswith("#")
        ), worker["name"]
    for component in ("services", "beat", "redis", "api"):
        assert f'"{component}' in text, component


def test_no_process_listens_for_the_result_of_a_task(
    store: redis.Redis, reports: list[dict[str, Any]]
) -> None:
    assert len(reports) > 1
    assert store.pubsub_channels("*task-meta*") == []


def test_redis_forgets_a_chord_soon_after_it_is_done(stack: Stack, store: redis.Redis) -> None:
    def lives() -> list[int]:
        return [store.ttl(key) for key in store.keys("celery-taskset-meta-*")]

    stack.cycle()
    # A cycle is over a moment before its last chord is.
    wait_for(lambda: all(0 <= left_s <= DONE_S for left_s in lives()), 10, "every chord is done")
    assert lives()


def test_every_file_of_the_account_is_private(stack: Stack) -> None:
    data = Path(stack.folder / "data")
    assert data.stat().st_mode & 0o077 == 0
