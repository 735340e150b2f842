"""Which services do not serve now, since when, and what is therefore not done."""

from __future__ import annotations

from datetime import datetime

from engine.control.desk import Circuit
from engine.control.documents import Check, DegradedService, ServiceState
from engine.domain.cycle import CycleReport
from engine.domain.degraded import RETURNED, effect_of
from engine.domain.ledger_values import LedgerState


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
        name = service.removesuffix(RETURNED)
        effect = effect_of(service)
        entry = DegradedService(service=name, reason=reason, since=since, effect=effect)
        found.setdefault(name, entry)

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
        begun = latest.started_at if latest is not None else None
        add(entry.service, entry.reason, entry.since or begun)
    return tuple(found.values())
