"""The tasks of a cycle: start fans batches out, allocate is the barrier, finish closes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from celery import Task

from engine import failpoints
from engine.domain.cycle import CycleRequest, Trigger
from engine.errors import NotFound, Refused
from engine.pipeline import allocate, finish, open_cycle
from engine.telemetry import bind, get_logger
from tasks.app import app
from tasks.flow import publish_batches, publish_orders
from tasks.process import engine
from tasks.schedule import slot_of

log = get_logger(__name__)


@app.task(name="cycle.start", bind=True)
def start(
    self: Task,
    request_id: str | None = None,
    symbols: list[str] | None = None,
    dry_run: bool = False,  # noqa: FBT001, FBT002 - a task's arguments are its message
    slot: str | None = None,
) -> str | None:
    """Open a cycle and send its batches. Beat's message carries its slot in a header."""
    request = _request(self, request_id, symbols, slot, dry_run=dry_run)
    try:
        plan = open_cycle.run(engine(), request)
    except Refused as error:  # it was closed while it was being opened
        log.warning("cycle_not_opened", request=request.key, detail=str(error))
        return None
    if plan is None:
        return None
    publish_batches(plan.cycle_id, plan.batches)
    return plan.cycle_id


def _request(
    task: Task,
    request_id: str | None,
    symbols: list[str] | None,
    slot: str | None,
    *,
    dry_run: bool,
) -> CycleRequest:
    now = datetime.now(UTC)
    if request_id is not None:
        return CycleRequest(
            key=f"request|{request_id}",
            trigger=Trigger.MANUAL,
            scheduled_at=now,
            symbols=tuple(symbols) if symbols is not None else None,
            dry_run=dry_run,
        )
    at = slot or slot_of(task, now)
    return CycleRequest(
        key=f"schedule|{at}", trigger=Trigger.SCHEDULE, scheduled_at=datetime.fromisoformat(at)
    )


@app.task(name="cycle.allocate")
def allocate_budget(cycle_id: str) -> int:
    """Grant the account's budget once, and send the orders on; how many there are."""
    with bind(cycle_id=cycle_id):
        try:
            orders = allocate.run(engine(), cycle_id)
        except Refused as error:
            log.warning("cycle_not_allocated", detail=str(error))
            return 0
        failpoints.reach("B2", cycle_id)
        publish_orders(cycle_id, [order.client_order_id for order in orders])
        return len(orders)


@app.task(name="cycle.finish")
def finish_cycle(cycle_id: str) -> str | None:
    """Sum up and close; the cycle's status."""
    with bind(cycle_id=cycle_id):
        try:
            return finish.run(engine(), cycle_id).status.value
        except NotFound as error:
            log.error("cycle_not_finished", detail=str(error))  # noqa: TRY400 - no trace needed
            return None


@app.task(name="cycle.failed")
def chord_failed(*_: Any, cycle_id: str) -> None:
    """A chord broke: the ledger knows what is complete, and the watchdog does the rest."""
    with bind(cycle_id=cycle_id):
        log.error("chord_failed")
