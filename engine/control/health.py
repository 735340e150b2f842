"""`GET /health`: every component as last seen. Never calls a service."""

from __future__ import annotations

import time
from datetime import timedelta

from engine.control import figures
from engine.control.desk import Desk
from engine.control.documents import Check, CheckStatus, Health
from engine.control.signs import read_signs
from engine.domain.cycle import CycleReport, CycleStatus
from engine.domain.ledger_values import LedgerState
from engine.errors import LedgerUnavailable

ESSENTIAL = frozenset({"redis", "ledger", "workers"})
TROUBLED = frozenset({CycleStatus.FAILED, CycleStatus.ABORTED})
MISSED_INTERVALS = 2.5
RECENT = timedelta(hours=1)


def health(desk: Desk) -> Health:
    """`down` without Redis, ledger or a live worker; `degraded` when anything else is not ok."""
    checks = dict(read_signs(desk).checks)
    checks["ledger"] = _ledger(desk)
    if checks["ledger"].status == "ok":
        checks.update(_from_ledger(desk))
    return Health(status=_worst(checks), checks=checks)


def is_ready(desk: Desk) -> Check:
    """Ready to answer: the ledger does. Without Redis or workers, halting must still work."""
    return _ledger(desk)


def _worst(checks: dict[str, Check]) -> CheckStatus:
    if any(checks[name].status == "down" for name in ESSENTIAL):
        return "down"
    if any(check.status != "ok" for check in checks.values()):
        return "degraded"
    return "ok"


def _ledger(desk: Desk) -> Check:
    began = time.perf_counter()
    try:
        desk.engine.ledger.ping()
    except LedgerUnavailable as error:
        return _check(desk, "down", str(error))
    return _check(desk, "ok", "", (time.perf_counter() - began) * 1000)


def _from_ledger(desk: Desk) -> dict[str, Check]:
    try:
        state = desk.engine.ledger.state.read()
        last = desk.queries.last_cycle()
        trouble, slow = _orchestrator(desk, state, last), slowness(desk)
    except LedgerUnavailable as error:
        return {"ledger": _check(desk, "down", str(error))}
    return {
        "orchestrator": _check(desk, "degraded" if trouble else "ok", trouble),
        "performance": _check(desk, "degraded" if slow else "ok", slow),
    }


def _orchestrator(desk: Desk, state: LedgerState, last: CycleReport | None) -> str:
    """What is wrong with the succession of cycles, or nothing."""
    if last is not None and last.status in TROUBLED:
        return f"cycle {last.cycle_id} ended {last.status.value}: {last.reason}"
    silence_s = overdue_s(desk, state, last)
    return "" if silence_s is None else f"no cycle began for {silence_s:.0f} s"


def overdue_s(desk: Desk, state: LedgerState, last: CycleReport | None) -> float | None:
    """Seconds since a cycle began, where the schedule runs and cycles were missed; else None."""
    if not state.schedule_running:
        return None
    begun = [last.started_at] if last is not None else []
    if state.schedule_set_at is not None:
        begun.append(state.schedule_set_at)
    current = desk.queries.current_cycle()
    if current is not None:
        begun.append(current.report.started_at)
    interval = desk.engine.settings.trading_engine.cycle_interval
    silence = desk.engine.clock.now() - max(begun, default=desk.engine.clock.now())
    return (
        silence.total_seconds() if silence.total_seconds() > MISSED_INTERVALS * interval else None
    )


def slowness(desk: Desk) -> str:
    """Where a cycle takes more than half its interval, in the median of the last hour; or nothing.

    Raises LedgerUnavailable.
    """
    rates = desk.queries.rates(desk.engine.clock.now() - RECENT)
    median_s = figures.quantile(rates.durations_s, 0.5)
    budget = desk.engine.settings.trading_engine.cycle_interval / 2
    if median_s is None or median_s <= budget:
        return ""
    return f"a cycle takes {median_s:.1f} s, half the interval is {budget:.1f} s"


def _check(desk: Desk, status: CheckStatus, detail: str, latency_ms: float | None = None) -> Check:
    rounded = None if latency_ms is None else round(latency_ms, 3)
    return Check(
        status=status, latency_ms=rounded, detail=detail, checked_at=desk.engine.clock.now()
    )
