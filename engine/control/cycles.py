"""One cycle on request, and the wait for its report."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

import msgspec

from engine.control.desk import Desk
from engine.domain.cycle import CycleReport, CycleRequest, CycleStatus, Trigger
from engine.domain.ledger_values import OpenedCycle
from engine.errors import Refused, ServiceUnavailable
from engine.pipeline.open_cycle import times_from
from engine.telemetry import get_logger

log = get_logger(__name__)

POLL_S = 0.1


class CycleOpen(Refused):
    """Another cycle is open."""

    def __init__(self, cycle_id: str) -> None:
        super().__init__(f"cycle {cycle_id} is open" if cycle_id else "another cycle is open")
        self.cycle_id = cycle_id


def request_cycle(
    desk: Desk, request_id: str, symbols: tuple[str, ...] | None, *, dry_run: bool
) -> str:
    """Open a cycle in the ledger and publish it; its id. The same `request_id` continues it.

    Raises CycleOpen naming the cycle that is open, ServiceUnavailable("redis") when it could not
    be published: the cycle is then ABORTED.
    """
    opened, request = _open(desk, f"request|{request_id}", symbols, dry_run=dry_run)
    if opened.continues and opened.status in {CycleStatus.SKIPPED, CycleStatus.ABORTED}:
        # That try came to nothing; a repeat of the request is a new one.
        opened, request = _open(
            desk, f"request|{request_id}|{uuid.uuid4()}", symbols, dry_run=dry_run
        )
    if opened.status is CycleStatus.SKIPPED:
        current = desk.queries.current_cycle()
        raise CycleOpen("" if current is None else current.report.cycle_id)
    if opened.continues and opened.status is not CycleStatus.RUNNING:
        return opened.cycle_id
    _publish(desk, request, opened)
    log.info("cycle_requested", cycle_id=opened.cycle_id, dry_run=dry_run)
    return opened.cycle_id


def wait_for_report(
    desk: Desk,
    cycle_id: str,
    wait_s: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> CycleReport | None:
    """The report of a cycle once it is closed; None when it is still open after `wait_s`."""
    until = monotonic() + wait_s
    while True:
        report = desk.engine.ledger.cycles.closed(cycle_id)
        if report is not None or monotonic() >= until:
            return report
        sleep(min(POLL_S, max(until - monotonic(), 0.0)))


def _open(
    desk: Desk, key: str, symbols: tuple[str, ...] | None, *, dry_run: bool
) -> tuple[OpenedCycle, CycleRequest]:
    now = desk.engine.clock.now()
    request = CycleRequest(
        key=key, trigger=Trigger.MANUAL, scheduled_at=now, symbols=symbols, dry_run=dry_run
    )
    times = times_from(desk.engine, now)
    # The fence is the execution service's and not asked here: the worker raises the epoch to it.
    opened = desk.engine.ledger.cycles.open(request, times, 0, desk.engine.settings_hash)
    return opened, request


def _publish(desk: Desk, request: CycleRequest, opened: OpenedCycle) -> None:
    try:
        desk.dispatcher.start_cycle(request)
    except ServiceUnavailable as error:
        report = desk.engine.ledger.cycles.facts(opened.cycle_id).report
        now = desk.engine.clock.now()
        desk.engine.ledger.cycles.close(
            msgspec.structs.replace(
                report,
                status=CycleStatus.ABORTED,
                finished_at=now,
                duration_s=(now - report.started_at).total_seconds(),
                reason=f"not published: {error.detail}",
            )
        )
        raise
