"""Who asked for what: every POST is written down, allowed or refused."""

from __future__ import annotations

from engine.control.desk import Desk
from engine.control.parallel import in_parallel
from engine.domain.views import AuditEntry
from engine.telemetry import get_logger

log = get_logger(__name__)

WRITE_S = 2.0
HALT_ANSWER_S = 2.0
LEAST_S = 0.1


def write(desk: Desk, entry: AuditEntry, elapsed_s: float) -> None:
    """Append an entry; an answer waits only so long for it, and a halt's no longer than 2 s.

    `elapsed_s` is what the answer took so far. What comes late is still written.
    """
    bound = HALT_ANSWER_S - elapsed_s if entry.route == "/halt" else WRITE_S
    now = desk.engine.clock.now()
    calls = {"audit": lambda: desk.queries.audit_append(entry, now)}
    outcome = in_parallel(calls, max(bound, LEAST_S))["audit"]
    if not outcome.ok:
        log.error("audit_not_written", route=entry.route, detail=str(outcome.error))
