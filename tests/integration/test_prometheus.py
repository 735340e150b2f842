"""Metrics, alert rules and the dashboard fit each other, and Prometheus's own judge agrees."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import insert

from engine.domain.alerts import KINDS
from engine.domain.cycle import Stage
from engine.domain.model import RiskDecision, TradingState, Verdict
from engine.ledger.records import dump
from engine.ledger.schema import decisions
from engine.settings import Settings
from tests.control_fakes import NOON, Bench, account, make_bench, worker
from tests.factories import make_intent
from tests.promtool import (
    AN_HOUR,
    ROOT,
    RULES,
    RULES_FILE,
    Series,
    case,
    fired,
    judge,
    name_of,
    needs_promtool,
    run,
    series_of,
)

DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "trading-engine.json"
OURS = re.compile(r"trading_engine_\w+")
ENGINE = "trading_engine_"
OF_PROMETHEUS_ALONE = {"engine_down", "upkeep_down"}
ROWS = [
    "State and limits",
    "Cycles",
    "Orders and denials by rule",
    "Equity",
    "Services and breakers",
    "Celery, Redis, ledger",
]
QUIET = f"0x{AN_HOUR}"
LOUD = f"1x{AN_HOUR}"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A healthy engine that has run one cycle just now."""
    made = make_bench(Settings(data_dir=str(tmp_path)))
    made.clock.at = datetime.now(UTC)
    made.vitals.beat_tick = made.clock.at
    upkeep = msgspec.structs.replace(worker(), name="upkeep@host", queues=("upkeep",))
    made.vitals.live_workers = (*made.vitals.live_workers, upkeep)
    cycle_id = made.open_cycle()
    made.plan_cycle(cycle_id, account(), NOON)
    made.close_cycle(cycle_id)
    made.ledger.state.set_schedule(running=True, actor="test", now=made.clock.at)
    yield made
    made.ledger.dispose()


def faults() -> dict[str, Series]:
    """What one scrape after the other shows when each alert's fault is there."""
    idle = f"{ENGINE}last_cycle_start_timestamp_seconds"
    wanted = f"{ENGINE}schedule_set_timestamp_seconds"
    interval = {name_of(f"{ENGINE}cycle_interval_seconds"): f"120x{AN_HOUR}"}
    running = {name_of(f"{ENGINE}schedule_running"): LOUD}
    found: dict[str, Series] = {
        "engine_down": {name_of("up"): QUIET},
        "ledger_down": {name_of(f"{ENGINE}ledger_up"): QUIET},
        "redis_down": {name_of(f"{ENGINE}redis_up"): QUIET},
        "beat_down": {name_of(f"{ENGINE}beat_up"): QUIET, **running},
        "cycles_missed": {
            name_of(idle): f"-301x{AN_HOUR}",
            name_of(wanted): f"-900x{AN_HOUR}",
            **running,
            **interval,
        },
        "cycle_failed": {name_of(f"{ENGINE}last_cycle_status", status="FAILED"): LOUD},
        "cycle_slow": {
            name_of(f"{ENGINE}cycle_duration_seconds", quantile="0.5"): f"61x{AN_HOUR}",
            **interval,
        },
        "orders_unknown": {name_of(f"{ENGINE}orders", status="UNKNOWN"): f"2x{AN_HOUR}"},
        "halted": {name_of(f"{ENGINE}trading_state", state="HALTED"): LOUD},
        "reducing": {name_of(f"{ENGINE}trading_state", state="REDUCING"): LOUD},
    }
    for queue, name in (("batch", "workers_down"), ("upkeep", "upkeep_down")):
        found[name] = {name_of(f"{ENGINE}workers", queue=queue): QUIET}
    for service in ("market_data", "strategy", "portfolio", "execution", "monitoring"):
        found[f"{service}_down"] = {name_of(f"{ENGINE}service_up", service=service): QUIET}
    for name, kind in KINDS.items():
        if kind.ends == "release":
            found[name] = {name_of(f"{ENGINE}latched_cause", cause=name): LOUD}
        elif name not in found:
            labels = {"alert": name, "severity": kind.severity}
            found[name] = {name_of(f"{ENGINE}alerts_open", **labels): LOUD}
    return found


def test_rules_carry_the_names_and_severities_that_the_engine_uses_itself() -> None:
    assert set(RULES) == set(KINDS) | OF_PROMETHEUS_ALONE
    for name, kind in KINDS.items():
        assert RULES[name]["labels"] == {"severity": kind.severity}
        assert RULES[name]["annotations"]["effect"] == kind.effect


def test_each_rule_names_its_section_of_the_runbook() -> None:
    for name, rule in RULES.items():
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{name}"
        assert rule["annotations"]["summary"]


def test_every_rule_has_a_fault_that_is_tested() -> None:
    assert set(faults()) == set(RULES)


def test_rules_and_dashboard_name_only_metrics_that_there_are(bench: Bench) -> None:
    shown = re.findall(r"^# TYPE (\w+)", bench.get("/metrics").text, re.MULTILINE)
    for text in (RULES_FILE.read_text(encoding="utf-8"), DASHBOARD.read_text(encoding="utf-8")):
        assert set(OURS.findall(text)) - set(shown) == set()


def test_the_dashboard_has_its_rows_in_order_and_no_panel_without_a_question() -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    assert [panel["title"] for panel in panels if panel["type"] == "row"] == ROWS
    for panel in panels:
        if panel["type"] != "row":
            assert all(target["expr"] for target in panel["targets"]), panel["title"]
    ids = [panel["id"] for panel in panels]
    assert len(set(ids)) == len(ids)


def denied(bench: Bench, cycle_id: str) -> None:
    """A decision of this cycle, as a batch writes it."""
    decision = RiskDecision(
        intent=make_intent(),
        verdict=Verdict.DENIED,
        quantity=Decimal(0),
        binding_rule="min_cash",
        reason="",
    )
    row = {"cycle_id": cycle_id, "stage": Stage.ALLOCATE, "decision_key": "k", "symbol": "A/USD"}
    more = {"verdict": Verdict.DENIED, "binding_rule": "min_cash", "payload": dump(decision)}
    with bench.ledger._connections.write() as connection:
        connection.execute(insert(decisions).values(**row, **more))


def counted(bench: Bench) -> list[str]:
    """The samples of decisions that a scrape shows."""
    lines = bench.get("/metrics").text.splitlines()
    return [line for line in lines if line.startswith("trading_engine_decisions_total{")]


def test_decisions_are_counted_on_from_scrape_to_scrape(bench: Bench) -> None:
    """Those of a running cycle once it has ended; the same by a process that begins anew."""
    [report] = bench.ledger.queries.cycles(1, None).items
    labels = 'trading_engine_decisions_total{rule="min_cash",verdict="DENIED"}'
    assert counted(bench) == []
    denied(bench, report.cycle_id)
    assert counted(bench) == counted(bench) == [f"{labels} 1.0"]
    running = bench.open_cycle("schedule|b")
    denied(bench, running)
    assert counted(bench) == [f"{labels} 1.0"]
    bench.close_cycle(running)
    fresh = make_bench(bench.desk.engine.settings)
    assert counted(bench) == counted(fresh) == [f"{labels} 2.0"]
    fresh.ledger.dispose()


@needs_promtool
def test_promtool_finds_no_fault_in_the_metrics(bench: Bench) -> None:
    done = run("check", "metrics", given=bench.get("/metrics").text)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_promtool
def test_promtool_finds_no_fault_in_the_rules() -> None:
    done = run("check", "rules", str(RULES_FILE))
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_a_healthy_engine_fires_no_rule(bench: Bench, tmp_path: Path) -> None:
    series = series_of(bench.get("/metrics").text, time.time())
    assert fired(series, "4m", tmp_path) == set()


@needs_promtool
def test_each_rule_fires_for_its_fault_and_names_what_to_read(bench: Bench, tmp_path: Path) -> None:
    """Over what a healthy engine shows, with that one fault; each once, with all it says."""
    healthy = series_of(bench.get("/metrics").text, time.time())
    fires = {name: fired({**healthy, **fault}, "2m", tmp_path) for name, fault in faults().items()}
    slow = fires.pop("cycle_slow")
    assert fires == {name: {name} for name in fires}
    assert slow == set(), "it must last for five minutes"


@needs_promtool
@pytest.mark.parametrize(
    ("name", "early", "late"),
    [
        ("execution_down", "15s", "45s"),
        ("orders_unknown", "45s", "75s"),
        ("cycle_slow", "4m", "6m"),
    ],
)
def test_what_may_pass_is_waited_for(name: str, early: str, late: str, tmp_path: Path) -> None:
    assert name not in fired(faults()[name], early, tmp_path)
    assert name in fired(faults()[name], late, tmp_path)


@needs_promtool
def test_an_alert_says_what_follows(tmp_path: Path) -> None:
    rule = RULES["execution_down"]
    labels = {"severity": "critical", "service": "execution", "instance": "trading-engine:8001"}
    alert = {
        "exp_labels": {**labels, "job": "trading-engine"},
        "exp_annotations": rule["annotations"],
    }
    series = faults()["execution_down"]
    assert judge([case(series, {"execution_down": [alert]}, "1m")], tmp_path) == ""


@needs_promtool
@pytest.mark.parametrize("redis_up", [True, False])
def test_without_redis_nothing_is_said_of_what_is_known_through_it(
    bench: Bench, tmp_path: Path, *, redis_up: bool
) -> None:
    if not redis_up:
        bench.redis_away()
    bench.ledger.state.set_operator(TradingState.ACTIVE, "", "test", bench.clock.at)
    series = series_of(bench.get("/metrics").text, time.time())
    assert fired(series, "2m", tmp_path) == (set() if redis_up else {"redis_down"})
