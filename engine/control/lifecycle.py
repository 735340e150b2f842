"""Starting and stopping the schedule."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime, timedelta

from engine.control.desk import Desk
from engine.control.documents import Schedule, Started, Stopped
from engine.control.preflight import failed_checks
from engine.domain.cycle import CycleRequest, Trigger
from engine.errors import Refused, ServiceUnavailable
from engine.telemetry import get_logger

log = get_logger(__name__)


class PreflightFailed(Refused):
    """Something that cycles need does not answer; `failed` maps its name to the reason."""

    def __init__(self, failed: dict[str, str]) -> None:
        super().__init__(
            "the preflight failed", [f"{name}: {reason}" for name, reason in failed.items()]
        )
        self.failed = failed


def start(desk: Desk, actor: str) -> Started:
    """Schedule cycles and send the first one at once; a schedule that runs is left as it is.

    Raises PreflightFailed, ServiceUnavailable("redis"), LedgerUnavailable.
    """
    failed = failed_checks(desk)
    if failed:
        raise PreflightFailed(failed)
    interval = desk.engine.settings.trading_engine.cycle_interval
    states = desk.engine.ledger.state
    now = desk.engine.clock.now()
    if not states.read().schedule_running or desk.schedule.next_run_at() is None:
        desk.schedule.save(interval)
    changed = states.set_schedule(running=True, actor=actor, now=now)
    if changed:
        _send_first(desk)
        log.info("schedule_started", actor=actor, cycle_interval=interval)
    return Started(
        schedule="running",
        changed=changed,
        trading_state=states.read().effective,
        next_cycle_at=now if changed else desk.schedule.next_run_at(),
    )


def stop(desk: Desk, actor: str) -> Stopped:
    """Schedule no further cycle. Works without Redis: a cycle asks the ledger before it starts."""
    now = desk.engine.clock.now()
    changed = desk.engine.ledger.state.set_schedule(running=False, actor=actor, now=now)
    try:
        desk.schedule.remove()
    except ServiceUnavailable as error:
        log.warning("beat_entry_not_removed", detail=error.detail)
    if changed:
        log.info("schedule_stopped", actor=actor)
    current = desk.queries.current_cycle()
    return Stopped(
        schedule="stopped",
        changed=changed,
        cycle_in_progress=None if current is None else current.report.cycle_id,
    )


def schedule_word(*, running: bool) -> Schedule:
    """The schedule as the API spells it."""
    return "running" if running else "stopped"


def slot(now: datetime, interval_s: float) -> str:
    """`now` floored to the interval, ISO 8601: the name of a scheduled cycle in every process."""
    seconds = math.floor(now.timestamp() / interval_s) * interval_s
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def next_cycle_at(desk: Desk, last_scheduled_at: datetime | None) -> datetime | None:
    """When the next scheduled cycle begins, given that the schedule runs.

    From beat's entry; without one (beat has not read it yet) one interval after the last cycle.
    None when Redis does not answer: nothing will start then.
    """
    try:
        known = desk.schedule.next_run_at()
    except ServiceUnavailable:
        return None
    if known is not None or last_scheduled_at is None:
        return known
    interval = desk.engine.settings.trading_engine.cycle_interval
    missed = (desk.engine.clock.now() - last_scheduled_at).total_seconds() // interval
    return last_scheduled_at + timedelta(seconds=(max(missed, 0) + 1) * interval)


def _send_first(desk: Desk) -> None:
    """A request of its own: the slot of this moment may have had its cycle already."""
    request = CycleRequest(
        key=f"request|start-{uuid.uuid4().hex}",
        trigger=Trigger.MANUAL,
        scheduled_at=desk.engine.clock.now(),
    )
    try:
        desk.dispatcher.start_cycle(request)
    except ServiceUnavailable as error:
        log.warning("first_cycle_not_sent", detail=error.detail)
