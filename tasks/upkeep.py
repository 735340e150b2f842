"""The watchdog: loops in the upkeep worker's main process.

It is no task, so that a stuck batch, a lost beat or a lost Redis cannot hold it up. Ledger work
and work over HTTP have threads of their own: a hanging service delays no allocation.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from celery.signals import worker_ready, worker_shutting_down

from engine import degraded_state, reconcile
from engine.alarms import Alarms
from engine.bootstrap import build_vitals
from engine.control import lifecycle
from engine.domain.model import TradingState
from engine.errors import Refused, ServiceError
from engine.pipeline import allocate, execute, finish
from engine.ports import Engine
from engine.service_settings import SERVICES, ServiceName
from engine.telemetry import bind, get_logger
from engine.vitals import ServiceCheck
from engine.watch import Fleet, Repair, RepairKind, repairs
from tasks import flow
from tasks.app import settings
from tasks.desk import build_desk
from tasks.loops import Loops
from tasks.process import engine

log = get_logger(__name__)

UPKEEP_QUEUE = "upkeep"
CYCLE_QUEUE = "cycle"
BATCH_QUEUE = "batch"
PRUNE_S = 3600.0
AUTOSTART_S = 1.0
HALT_LOOK_S = 2.0
PROBE_S = 1.0


class Upkeep:
    """One round of each kind of work; the threads of the upkeep worker call them."""

    def __init__(self, here: Engine) -> None:
        self._engine = here
        self._desk = build_desk("upkeep", here)
        self.alarms = Alarms(self._desk)
        self._vitals = build_vitals(here.settings)
        self._schedule = self._desk.schedule
        self._seen: frozenset[str] = frozenset()
        self._lost_at: datetime | None = None

    def watch(self) -> None:
        """Finish what no message will finish any more, and keep the beat schedule as wanted."""
        now = self._engine.clock.now()
        fleet = self._fleet()
        for cycle in self._engine.ledger.cycles.running():
            for repair in repairs(cycle, now, self._engine.settings, fleet):
                with bind(cycle_id=cycle.cycle_id):
                    log.warning("cycle_repaired", repair=repair.kind.value, why=repair.why)
                    self._carry_out(repair)
        if fleet is not None:
            self._keep_schedule()

    def _fleet(self) -> Fleet | None:
        workers = self._vitals.workers()
        depths = self._vitals.queue_depths([CYCLE_QUEUE, BATCH_QUEUE])
        if not self._vitals.available:
            return None
        names = frozenset(worker.identity for worker in workers)
        if self._seen - names:
            self._lost_at = self._engine.clock.now()
        self._seen = names
        return Fleet(
            live_workers=names,
            lost_at=self._lost_at,
            queued_starts=depths.get(CYCLE_QUEUE, 0),
            queued_batches=depths.get(BATCH_QUEUE, 0),
        )

    def _carry_out(self, repair: Repair) -> None:
        match repair.kind:
            case RepairKind.START:
                flow.publish_start(repair.key)
            case RepairKind.SEND_BATCHES:
                for ref in repair.batches:
                    flow.batch_message(ref).apply_async()
            case RepairKind.ALLOCATE:
                self._allocate(repair.cycle_id)
            case RepairKind.SEND_ORDERS:
                self._send_orders(repair.cycle_id, list(repair.orders))
            case RepairKind.FINISH:
                finish.run(self._engine, repair.cycle_id)

    def _allocate(self, cycle_id: str) -> None:
        try:
            orders = allocate.run(self._engine, cycle_id)
        except Refused as error:
            log.warning("cycle_not_allocated", detail=str(error))
            return
        self._send_orders(cycle_id, [order.client_order_id for order in orders])

    def _send_orders(self, cycle_id: str, client_order_ids: list[str]) -> None:
        """Through the workers; by itself when Redis is away."""
        if self._vitals.available:
            flow.publish_orders(cycle_id, client_order_ids)
            return
        execute.run(self._engine, cycle_id, client_order_ids)
        finish.run(self._engine, cycle_id)

    def _keep_schedule(self) -> None:
        """Redis may have lost the entry, or missed that the operator stopped it."""
        wanted = self._engine.ledger.state.read().schedule_running
        exists = self._schedule.next_run_at() is not None
        if wanted and not exists:
            self._schedule.save(self._engine.settings.trading_engine.cycle_interval)
            log.warning("schedule_restored")
        elif exists and not wanted:
            self._schedule.remove()
            log.warning("schedule_removed")

    def reconcile(self) -> None:
        """Settle what is not certain, write the effective state, repeat an unconfirmed halt."""
        result = reconcile.run_if_free(self._engine)
        if result is None:
            return
        degraded_state.refresh(self._engine, result)
        if result.execution_answered:
            self._keep_halted()

    def _keep_halted(self) -> None:
        """A halt that only one side confirmed is repeated at the other.

        Looked at twice: a release in progress passes through the same difference.
        """
        if self._halts() in {(True, True), (False, False)}:
            return
        self._engine.clock.sleep(HALT_LOOK_S)
        now = self._engine.clock.now()
        match self._halts():
            case (True, False):
                self._engine.execution.halt("the ledger is halted", cancel_open=True)
                log.warning("halt_repeated", part="execution")
            case (False, True):
                reason = "the execution service is halted"
                self._engine.ledger.state.set_operator(TradingState.HALTED, reason, "watchdog", now)
                log.warning("halt_repeated", part="ledger")

    def _halts(self) -> tuple[bool, bool]:
        """Whether the operator's state in the ledger is HALTED, and the execution service."""
        state = self._engine.ledger.state.read()
        return state.operator is TradingState.HALTED, self._engine.execution.fence().halted

    def prune(self) -> None:
        """Old outcomes go; orders, intents and fills stay for ever."""
        keep = timedelta(days=self._engine.settings.ledger.keep_outcomes_days)
        removed = self._engine.ledger.prune(self._engine.clock.now() - keep)
        if removed:
            log.info("outcomes_pruned", rows=removed)

    def check(self, service: ServiceName) -> None:
        """Ask one service how it is, seldom while it is well, each second while it is not.

        While its circuit is open this is the fleet's only probe; one that is not due says so.
        """
        now = self._engine.clock.now()
        earlier = self._vitals.checks().get(service)
        if earlier is not None and earlier.status == "ok":
            age_s = (now - earlier.checked_at).total_seconds()
            if age_s < self._engine.settings.timing.check_s:
                return
        last_ok_at = earlier.last_ok_at if earlier is not None else None
        try:
            seconds = self._engine.probes[service]()
        except ServiceError as error:
            check = ServiceCheck(
                status="down", detail=error.detail, checked_at=now, last_ok_at=last_ok_at
            )
        else:
            latency_ms = round(seconds * 1000, 2)
            check = ServiceCheck(
                status="ok", detail="", checked_at=now, last_ok_at=now, latency_ms=latency_ms
            )
        self._vitals.write_check(service, check)

    def deliver(self) -> None:
        """Events that waited for monitoring, once it takes them again."""
        with suppress(ServiceError):  # its check says that it is away
            self._engine.monitoring.publish(())

    def autostart(self) -> None:
        """Schedule cycles on a new ledger, in paper mode, once everything answers."""
        mine = self._engine.settings.trading_engine
        if not mine.autostart or mine.mode != "paper":
            return
        state = self._engine.ledger.state.read()
        if state.is_new and state.schedule_set_at is None:
            lifecycle.start(self._desk, "autostart")


_loops = Loops()


@worker_ready.connect
def _start(sender: Any, **_: Any) -> None:
    """Only the worker that serves the upkeep queue keeps watch."""
    if UPKEEP_QUEUE not in {queue.name for queue in sender.task_consumer.queues}:
        return
    upkeep = Upkeep(engine())
    timing = settings.timing
    _loops.every(timing.watch_s, "watch", upkeep.watch)
    _loops.every(timing.reconcile_s, "reconcile", upkeep.reconcile)
    _loops.every(settings.alerts.look_s, "alarms", upkeep.alarms.look)
    _loops.every(PRUNE_S, "prune", upkeep.prune)
    _loops.every(AUTOSTART_S, "autostart", upkeep.autostart)
    _loops.every(timing.check_s, "deliver", upkeep.deliver)
    for service in SERVICES:
        _loops.every(PROBE_S, f"check {service}", partial(upkeep.check, service))


@worker_shutting_down.connect
def _stop(**_: Any) -> None:
    _loops.stop()
