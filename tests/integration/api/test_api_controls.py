"""The controls over HTTP: the real app on a real ledger, with services and Redis made up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from engine.control import halt as halting
from engine.control import preflight
from engine.domain.cycle import CycleStatus, Trigger
from engine.domain.model import TradingState
from tests.control_fakes import NOON, Bench


def test_start_saves_the_entry_and_sends_the_first_cycle_at_once(bench: Bench) -> None:
    answer = bench.post("/start")
    assert answer.status_code == 200
    assert answer.json == {
        "schedule": "running",
        "changed": True,
        "trading_state": "ACTIVE",
        "next_cycle_at": "2025-11-22T12:00:00Z",
    }
    assert bench.ledger.state.read().schedule_running
    assert bench.schedule.due_at == NOON + timedelta(seconds=120)
    [request] = bench.dispatcher.sent
    assert request.trigger is Trigger.MANUAL
    assert request.key.startswith("request|start-")


def test_a_start_soon_after_a_stop_has_a_first_cycle_of_its_own(bench: Bench) -> None:
    """The slot of the moment may have had its cycle before the stop."""
    bench.post("/start")
    bench.post("/stop")
    bench.post("/start")
    first, second = bench.dispatcher.sent
    assert first.key != second.key


def test_a_second_start_changes_nothing_and_does_not_postpone_the_next_cycle(bench: Bench) -> None:
    bench.post("/start")
    due_at = bench.schedule.due_at
    bench.clock.at += timedelta(seconds=60)
    answer = bench.post("/start")
    assert answer.json["changed"] is False
    assert bench.schedule.due_at == due_at
    assert len(bench.dispatcher.sent) == 1


@pytest.mark.parametrize("part", ["market_data", "execution", "portfolio"])
def test_start_is_refused_while_a_service_does_not_answer(bench: Bench, part: str) -> None:
    getattr(bench, part).away = True
    answer = bench.post("/start")
    assert answer.status_code == 409
    assert [check["name"] for check in answer.json["failed_checks"]] == [part]
    assert not bench.ledger.state.read().schedule_running
    assert bench.dispatcher.sent == []


def test_start_is_refused_without_a_live_worker(bench: Bench) -> None:
    bench.vitals.live_workers = ()
    names = [check["name"] for check in bench.post("/start").json["failed_checks"]]
    assert names == ["workers"]


def test_start_is_refused_without_redis(bench: Bench) -> None:
    bench.redis_away()
    names = {check["name"] for check in bench.post("/start").json["failed_checks"]}
    assert "redis" in names


def test_start_is_refused_on_a_ledger_of_another_feed(bench: Bench) -> None:
    bench.ledger.state.bind_feed("ccxt exchange=other")
    answer = bench.post("/start")
    [check] = answer.json["failed_checks"]
    assert check["name"] == "trading_identity"
    assert "data_dir" in check["reason"]


def test_a_hanging_service_fails_the_preflight_within_its_bound(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "PREFLIGHT_S", 0.05)
    bench.portfolio.hangs = threading.Event()
    answer = bench.post("/start")
    bench.portfolio.hangs.set()
    assert answer.status_code == 409
    failed = {check["name"]: check["reason"] for check in answer.json["failed_checks"]}
    assert failed["portfolio"] == "no answer within 0.05 s"


def test_stop_removes_the_entry_and_names_the_cycle_in_progress(bench: Bench) -> None:
    bench.post("/start")
    cycle_id = bench.open_cycle()
    answer = bench.post("/stop")
    assert answer.json == {"schedule": "stopped", "changed": True, "cycle_in_progress": cycle_id}
    assert bench.schedule.due_at is None
    assert not bench.ledger.state.read().schedule_running
    assert bench.post("/stop").json["changed"] is False


def test_stop_works_without_redis(bench: Bench) -> None:
    bench.post("/start")
    bench.redis_away()
    assert bench.post("/stop").json["changed"] is True
    assert not bench.ledger.state.read().schedule_running


def test_a_requested_cycle_is_open_in_the_ledger_before_it_is_published(bench: Bench) -> None:
    answer = bench.post("/cycle", {"symbols": ["BTC/USD"], "dry_run": True})
    assert answer.status_code == 202
    cycle_id = answer.json["cycle_id"]
    assert answer.json["status_url"] == answer.headers["Location"] == f"/cycles/{cycle_id}"
    [request] = bench.dispatcher.sent
    assert request.symbols == ("BTC/USD",)
    assert request.dry_run
    assert request.trigger is Trigger.MANUAL
    assert bench.get(f"/cycles/{cycle_id}").json["status"] == "RUNNING"


def test_of_two_quick_cycles_the_second_is_refused_and_names_the_first(bench: Bench) -> None:
    first = bench.post("/cycle")
    second = bench.post("/cycle")
    assert (first.status_code, second.status_code) == (202, 409)
    assert second.json["cycle_id"] == first.json["cycle_id"]
    assert second.json["type"].endswith("/cycle-open")
    assert len(bench.dispatcher.sent) == 1


def test_a_cycle_that_cannot_be_published_is_aborted(bench: Bench) -> None:
    bench.redis_away()
    answer = bench.post("/cycle")
    assert answer.status_code == 503
    assert answer.json["service"] == "redis"
    [report] = bench.get("/cycles").json["items"]
    assert report["status"] == "ABORTED"
    assert "not published" in report["reason"]


def test_a_cycle_can_be_asked_for_again_after_it_could_not_be_published(bench: Bench) -> None:
    key = {"Idempotency-Key": "once"}
    bench.redis_away()
    bench.post("/cycle", headers=key)
    bench.redis_back()
    bench.clock.at += timedelta(seconds=1)
    assert bench.post("/cycle", headers=key).status_code == 202


def test_waiting_answers_with_the_report_once_the_cycle_is_closed(bench: Bench) -> None:
    def close_soon() -> None:
        until = time.monotonic() + 10
        while not bench.dispatcher.sent and time.monotonic() < until:
            time.sleep(0.005)
        bench.close_cycle(bench.ledger.cycles.running()[0].cycle_id)

    closer = threading.Thread(target=close_soon)
    closer.start()
    answer = bench.post("/cycle?wait=20")
    closer.join()
    assert answer.status_code == 200
    assert answer.json["status"] == "COMPLETED"


def test_waiting_in_vain_answers_202(bench: Bench) -> None:
    assert bench.post("/cycle?wait=0.01").status_code == 202


@pytest.mark.parametrize("wait", ["-1", "111", "soon", "nan"])
def test_an_impossible_wait_is_refused(bench: Bench, wait: str) -> None:
    assert bench.post(f"/cycle?wait={wait}").status_code == 422


def test_halt_stops_ledger_and_execution(bench: Bench) -> None:
    bench.execution.open_orders = ("order-1",)
    answer = bench.post("/halt", {"reason": "odd prices"})
    assert answer.status_code == 200
    assert answer.json == {
        "trading_state": "HALTED",
        "ledger": "confirmed",
        "execution": "confirmed",
        "cancelled": ["order-1"],
        "failed": [],
    }
    assert bench.execution.halted
    state = bench.ledger.state.read()
    assert (state.effective, state.operator_reason) == (TradingState.HALTED, "odd prices")


def test_the_audit_trail_of_a_halt_tells_which_sides_had_confirmed_it(bench: Bench) -> None:
    bench.execution.away = True
    bench.post("/halt", {"reason": "odd"})
    bench.execution.away = False
    bench.post("/halt", {"reason": "odd"})
    ends = [row["detail"].partition("}")[2] for row in bench.audit_rows()]
    assert ends == [
        " ledger=confirmed execution=unconfirmed",
        " ledger=confirmed execution=confirmed",
    ]


def test_halt_works_without_redis_and_without_workers(bench: Bench) -> None:
    bench.redis_away()
    bench.vitals.live_workers = ()
    answer = bench.post("/halt", {"reason": "now"})
    assert answer.status_code == 200
    assert bench.ledger.state.read().effective is TradingState.HALTED


def test_halt_is_confirmed_by_half_when_execution_is_away(bench: Bench) -> None:
    bench.execution.away = True
    answer = bench.post("/halt", {"reason": "now"})
    assert answer.status_code == 200
    assert (answer.json["ledger"], answer.json["execution"]) == ("confirmed", "unconfirmed")


def test_halt_is_confirmed_by_half_when_the_ledger_is_away(bench: Bench) -> None:
    bench.break_ledger()
    answer = bench.post("/halt", {"reason": "now"})
    assert answer.status_code == 200
    assert (answer.json["ledger"], answer.json["execution"]) == ("unconfirmed", "confirmed")
    assert bench.execution.halted


def test_halt_that_nothing_confirms_is_503(bench: Bench) -> None:
    bench.execution.away = True
    bench.break_ledger()
    assert bench.post("/halt", {"reason": "now"}).status_code == 503


def test_a_hanging_execution_service_does_not_hold_the_halt_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halting, "HALT_S", 1.2)
    bench.execution.hangs = threading.Event()
    answer = bench.post("/halt", {"reason": "now"})
    bench.execution.hangs.set()
    assert answer.json["execution"] == "unconfirmed"
    assert answer.json["ledger"] == "confirmed"


def test_halt_acts_on_every_call_whatever_the_key(bench: Bench) -> None:
    key = {"Idempotency-Key": "same"}
    bench.post("/halt", {"reason": "first"}, headers=key)
    bench.execution.halted = False
    answer = bench.post("/halt", {"reason": "second"}, headers=key)
    assert answer.status_code == 200
    assert "Idempotent-Replay" not in answer.headers
    assert bench.execution.halted
    assert bench.ledger.state.read().operator_reason == "second"


def test_resume_undoes_both_halves_and_the_latches(bench: Bench) -> None:
    bench.post("/halt", {"reason": "now"})
    bench.ledger.state.latch("max_drawdown", TradingState.HALTED, "16 %", NOON)
    answer = bench.post("/resume", {"state": "ACTIVE", "reason": "checked"})
    assert answer.status_code == 200
    assert answer.json["trading_state"] == "ACTIVE"
    assert not bench.execution.halted
    assert bench.ledger.state.read().latched == ()


def test_resume_says_what_still_holds_the_state_down(bench: Bench) -> None:
    bench.post("/halt", {"reason": "now"})
    bench.ledger.state.set_derived({"portfolio": (TradingState.REDUCING, "no answer")}, NOON)
    answer = bench.post("/resume", {"state": "ACTIVE", "reason": "checked"})
    assert answer.json["trading_state"] == "REDUCING"
    assert [cause["cause"] for cause in answer.json["derived"]] == ["portfolio"]


def test_resume_is_refused_while_reconciliation_is_not_clean(bench: Bench) -> None:
    bench.post("/halt", {"reason": "now"})
    bench.reconcile.problems = ("fills and portfolio differ in BTC/USD",)
    answer = bench.post("/resume", {"state": "ACTIVE", "reason": "please"})
    assert answer.status_code == 409
    assert answer.json["reasons"] == ["fills and portfolio differ in BTC/USD"]
    assert bench.execution.halted
    assert bench.ledger.state.read().effective is TradingState.HALTED


def test_resume_only_raises(bench: Bench) -> None:
    answer = bench.post("/resume", {"state": "REDUCING", "reason": "less"})
    assert answer.status_code == 409
    assert bench.ledger.state.read().effective is TradingState.ACTIVE


def test_resume_to_reducing_raises_from_halted(bench: Bench) -> None:
    bench.post("/halt", {"reason": "now"})
    answer = bench.post("/resume", {"state": "REDUCING", "reason": "exits only"})
    assert answer.json["trading_state"] == "REDUCING"


def by_another(bench: Bench, path: str, body: dict[str, Any]) -> Callable[[], None]:
    """A request of somebody else meanwhile: in a thread, as the server would take it."""

    def ask() -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(bench.post, path, body).result()

    return ask


def test_a_halt_that_comes_during_a_resume_wins(bench: Bench) -> None:
    bench.post("/halt", {"reason": "first"})
    bench.reconcile.during = by_another(bench, "/halt", {"reason": "second"})
    answer = bench.post("/resume", {"state": "ACTIVE", "reason": "too late"})
    assert answer.status_code == 409
    assert bench.execution.halted
    assert bench.ledger.state.read().effective is TradingState.HALTED


def test_a_halt_between_the_two_halves_of_a_resume_wins(bench: Bench) -> None:
    bench.post("/halt", {"reason": "first"})
    bench.execution.on_resume = by_another(bench, "/halt", {"reason": "second"})
    answer = bench.post("/resume", {"state": "ACTIVE", "reason": "too late"})
    assert answer.status_code == 409
    assert bench.execution.halted
    assert bench.ledger.state.read().effective is TradingState.HALTED


def test_a_resume_that_takes_too_long_is_refused_and_never_lands(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halting, "RESUME_S", 0.05)
    bench.post("/halt", {"reason": "now"})
    released, ended = threading.Event(), threading.Event()

    def slow() -> None:
        released.wait(10)
        ended.set()

    bench.reconcile.during = slow
    answer = bench.post("/resume", {"state": "ACTIVE", "reason": "slow"})
    assert answer.status_code == 409
    released.set()
    assert ended.wait(10)
    assert bench.ledger.state.read().effective is TradingState.HALTED
    assert bench.execution.halted


def test_a_cycle_may_run_while_the_schedule_is_stopped(bench: Bench) -> None:
    assert not bench.ledger.state.read().schedule_running
    cycle_id = bench.post("/cycle").json["cycle_id"]
    assert bench.ledger.cycles.facts(cycle_id).report.status is CycleStatus.RUNNING
