"""The report of a cycle."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from engine.domain.cycle import (
    CycleReport,
    CycleStatus,
    Degradation,
    OutcomeStatus,
    Stage,
    SymbolCounts,
    SymbolOutcome,
    Trigger,
)
from engine.domain.ledger_values import CycleFacts
from engine.domain.model import OrderStatus, RiskDecision, Side, Verdict
from engine.domain.report import build_report
from tests.factories import NOW, make_intent, make_order, make_times

OPENED = CycleReport(
    cycle_id="c1",
    epoch=7,
    trigger=Trigger.SCHEDULE,
    status=CycleStatus.RUNNING,
    scheduled_at=NOW,
    started_at=NOW,
    finished_at=None,
    duration_s=None,
    config_hash="h",
    dry_run=False,
    symbols=SymbolCounts(selected=2),
    step_seconds={"select": 0.5},
)


def outcome(
    symbol: str = "A/USD",
    status: OutcomeStatus = OutcomeStatus.OK,
    stage: Stage = Stage.RISK,
    batch: int = 0,
) -> SymbolOutcome:
    return SymbolOutcome(symbol=symbol, batch=batch, stage=stage, status=status)


def decision(verdict: Verdict) -> RiskDecision:
    return RiskDecision(
        intent=make_intent(), verdict=verdict, quantity=Decimal(1), binding_rule="x", reason=""
    )


def reported(**changed: Any) -> CycleReport:
    opened = msgspec.structs.replace(OPENED, **changed.pop("opened", {}))
    fields: dict[str, Any] = {
        "report": opened,
        "times": make_times(),
        "allocated": True,
        "outcomes": (outcome("A/USD"), outcome("B/USD")),
        "batches_total": 1,
        "batches_failed": {},
        "signals_kept": 0,
        "signals_dropped": 0,
        "decisions": (),
        "orders": (),
    }
    return build_report(CycleFacts(**fields | changed), finished_at=NOW + timedelta(seconds=9))


def test_a_cycle_without_trouble_is_completed() -> None:
    report = reported()
    assert report.status is CycleStatus.COMPLETED
    assert report.finished_at == NOW + timedelta(seconds=9)
    assert report.duration_s == 9
    assert (report.cycle_id, report.epoch, report.step_seconds) == ("c1", 7, {"select": 0.5})
    assert report.reason == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"opened": {"degraded": (Degradation(service="strategy", reason="down"),)}},
        {"batches_failed": {0: "timed out"}},
        {"outcomes": (outcome(), outcome("B/USD", OutcomeStatus.FAILED))},
    ],
)
def test_trouble_of_a_service_batch_or_symbol_degrades_a_cycle(changes: dict[str, Any]) -> None:
    assert reported(**changes).status is CycleStatus.DEGRADED


def test_symbols_skipped_for_their_data_leave_a_cycle_completed() -> None:
    stale = outcome("B/USD", OutcomeStatus.SKIPPED, Stage.FETCH)
    report = reported(outcomes=(outcome(), stale))
    assert report.status is CycleStatus.COMPLETED
    assert report.symbols == SymbolCounts(selected=2, evaluated=1, skipped=1, failed=0)


def test_skipped_symbols_are_counted_by_the_kind_of_their_fault() -> None:
    reasons = {"A/USD": "stale: 5 s late", "B/USD": "stale: 9 s late", "C/USD": "as it likes: x"}
    found = [
        msgspec.structs.replace(outcome(symbol, OutcomeStatus.SKIPPED, Stage.FETCH), reason=reason)
        for symbol, reason in reasons.items()
    ]
    assert reported(outcomes=tuple(found)).skips == {"other": 1, "stale": 2}


def test_orders_that_never_left_are_told() -> None:
    exit_order = make_order(side=Side.SELL, sends=0)
    entry_order = make_order(sends=0)
    sent = make_order(sends=1)
    told = reported(orders=(sent, exit_order, entry_order)).reason
    assert told == "2 of 3 orders were not sent, 1 of them exits"


def test_a_cycle_that_was_never_decided_failed() -> None:
    report = reported(allocated=False)
    assert report.status is CycleStatus.FAILED
    assert report.reason == "no allocation was made"
    nothing_to_do = reported(batches_total=0, outcomes=(), opened={"symbols": SymbolCounts()})
    assert nothing_to_do.status is CycleStatus.COMPLETED


def test_symbols_are_counted_once_with_their_worst_outcome() -> None:
    report = reported(
        opened={"symbols": SymbolCounts(selected=3)},
        outcomes=(
            outcome("A/USD"),
            outcome("A/USD", OutcomeStatus.FAILED, Stage.EXECUTE),
            outcome("B/USD", OutcomeStatus.SKIPPED, Stage.EVALUATE),
            outcome("C/USD", OutcomeStatus.SKIPPED, Stage.RISK),
            outcome("D/EUR", OutcomeStatus.SKIPPED, Stage.SELECT, batch=-1),
        ),
    )
    assert report.symbols == SymbolCounts(selected=3, evaluated=2, skipped=3, failed=1)


def test_symbols_of_a_batch_that_never_reported_failed() -> None:
    report = reported(
        outcomes=(outcome("A/USD"),), batches_total=2, batches_failed={1: "never reported"}
    )
    assert report.symbols == SymbolCounts(selected=2, evaluated=1, skipped=0, failed=1)
    assert (report.batches.total, report.batches.ok, report.batches.failed) == (2, 1, 1)
    assert report.reason == "batch 1: never reported"


def test_signals_decisions_and_orders_are_counted() -> None:
    report = reported(
        signals_kept=3,
        signals_dropped=2,
        decisions=(
            decision(Verdict.APPROVED),
            decision(Verdict.RESIZED),
            decision(Verdict.DENIED),
        ),
        orders=(
            make_order(status=OrderStatus.RESERVED),
            make_order(status=OrderStatus.CANCELED, sends=1, filled_quantity=Decimal(1)),
            make_order(status=OrderStatus.REJECTED, sends=2),
            make_order(status=OrderStatus.UNKNOWN, sends=1),
        ),
    )
    assert (report.signals.received, report.signals.kept, report.signals.dropped) == (5, 3, 2)
    counts = msgspec.structs.asdict(report.orders)
    assert counts == {
        "candidates": 3,
        "approved": 2,
        "denied": 1,
        "submitted": 3,
        "filled": 1,
        "rejected": 1,
        "unknown": 1,
    }


def test_a_cycle_whose_opening_died_is_no_success() -> None:
    report = reported(allocated=False, batches_total=0, outcomes=())
    assert report.status is CycleStatus.FAILED
