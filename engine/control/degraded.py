"""Which services do not serve now, since when, and what is therefore not done."""

from __future__ import annotations

from datetime import datetime

from engine.control.desk import Circuit
from engine.control.documents import Check, DegradedService, ServiceState
from engine.domain.cycle import CycleReport
from engine.domain.ledger_values import LedgerState

EFFECTS = {
    "market_data": "no entries; exits may use a recent price",
    "strategy": "no signals, so no entries; protective exits still run",
    "portfolio": "exits on the last account for a while, then no orders",
    "execution": "nothing is sent; orders of unknown fate keep their budget",
    "monitoring": "trading goes on; events are kept and sent later",
    "redis": "no cycle starts; halt, status and orders still answer",
    "workers": "no cycle runs until a worker is back",
    "beat": "no cycle starts on schedule; POST /cycle still works",
}


def degraded(
    state: LedgerState,
    services: dict[str, ServiceState],
    circuits: dict[str, Circuit],
    checks: dict[str, Check],
    latest: CycleReport | None,
) -> tuple[DegradedService, ...]:
    """Every part that does not serve, once: derived causes, breakers, checks, the latest cycle."""
    found: dict[str, DegradedService] = {}

    def add(service: str, reason: str, since: datetime | None) -> None:
        effect = EFFECTS.get(service, "see the reason")
        entry = DegradedService(service=service, reason=reason, since=since, effect=effect)
        found.setdefault(service, entry)

    for cause in state.derived:
        add(cause.cause, cause.detail, cause.since)
    for name, circuit in circuits.items():
        if circuit.state != "closed":
            add(name, f"circuit {circuit.state}", circuit.since)
    for name, check in checks.items():
        if check.status == "down":
            known = services.get(name)
            add(name, check.detail, None if known is None else known.last_ok_at)
    for entry in latest.degraded if latest is not None else ():
        add(entry.service, entry.reason, latest.started_at if latest is not None else None)
    return tuple(found.values())
