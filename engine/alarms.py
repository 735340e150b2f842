"""Raises what an operator must know, ends what is over, and tells monitoring of both.

The ledger holds the alerts, so that they are known while monitoring is what is down. What the
ledger cannot hold, its own silence, is told to monitoring alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from engine.control import health
from engine.control.desk import Desk
from engine.control.signs import Signs, read_signs
from engine.control.status import is_simulated
from engine.degraded_state import DOUBTFUL
from engine.domain.alerts import AlertKind, AlertRecord, Ends, kind_of
from engine.domain.cycle import CycleReport
from engine.domain.ledger_values import LedgerState, NewAlert
from engine.domain.messages import MonitoringEvent
from engine.domain.model import TradingState
from engine.errors import LedgerUnavailable, ServiceError
from engine.service_settings import SERVICES
from engine.telemetry import get_logger

log = get_logger(__name__)

BATCH_QUEUE = "batch"
LEASE = "alarms"
LOOKS_MISSED = 3
OPEN, RESOLVED = "OPEN", "RESOLVED"
RESOLVED_LATELY = timedelta(hours=1)
# What is known of these is in Redis: without it nobody knows whether they are over.
KNOWN_THROUGH_REDIS = frozenset({"workers_down", "beat_down", *(f"{s}_down" for s in SERVICES)})
# These lower the state and have an alert of their own.
TOLD_BY_OTHERS = frozenset({"portfolio", "portfolio_returned", "unknown_orders"})

Held = dict[str, NewAlert]


class Alarms:
    """Looks again and again; of several in the fleet one does, and another when it is gone.

    It remembers only since when something holds, and what it has told: both may be lost.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._engine = desk.engine
        self._settings = desk.engine.settings.alerts
        self._holds_since: dict[str, datetime] = {}
        self._held_last: dict[str, datetime] = {}
        self._told: set[str] = set()
        self._simulated = is_simulated(desk.engine.settings, None)
        self._silence: AlertRecord | None = None
        self._silence_told = False

    def look(self) -> None:
        """One round. Never raises because of the ledger or of monitoring."""
        now = self._engine.clock.now()
        states, lease_s = self._engine.ledger.state, LOOKS_MISSED * self._settings.look_s
        try:
            last = self._last_cycle()
            # Written each time: a ledger that can only be read is as good as none.
            if states.take_lease(LEASE, self._engine.worker, now, lease_s):
                self._look(last, now)
        except LedgerUnavailable as error:
            self._ledger_is_down(str(error), now)
        else:
            self._ledger_is_back(now)

    def _last_cycle(self) -> CycleReport | None:
        """As the ledger has it; every alert says from then on whether its prices were simulated."""
        last = self._desk.queries.last_cycle()
        if last is not None and last.market_time is not None:  # else it says nothing of prices
            self._simulated = is_simulated(self._engine.settings, last)
        return last

    def _look(self, last: CycleReport | None, now: datetime) -> None:
        state = self._engine.ledger.state.read()
        known = self._desk.queries.alerts_since(now - RESOLVED_LATELY)
        is_open = [alert for alert in known if alert.resolved_at is None]
        holding = self._holding(state, last, is_open, now)
        self._raise(holding, {alert.key for alert in is_open}, now)
        self._resolve(holding, is_open, state, now)
        self._tell(self._desk.queries.alerts_since(now - RESOLVED_LATELY))

    def _holding(
        self,
        state: LedgerState,
        last: CycleReport | None,
        is_open: list[AlertRecord],
        now: datetime,
    ) -> Held:
        """What holds now, by key. A latched cause that has an alert already is not told twice."""
        named = {alert.name for alert in is_open}
        found = [
            *_of_signs(read_signs(self._desk), state),
            *self._of_cycles(state, last),
            *self._of_orders(now),
            *_of_state(state),
            *(
                _alert(latch.cause, latch.detail)
                for latch in state.latched
                if latch.cause not in named
            ),
        ]
        return {alert.key: alert for alert in found}

    def _of_cycles(self, state: LedgerState, last: CycleReport | None) -> Iterator[NewAlert]:
        silence_s = health.overdue_s(self._desk, state, last)
        if silence_s is not None:
            yield _alert("cycles_missed", f"no cycle began for {silence_s:.0f} s")
        if last is not None and last.status in health.TROUBLED:
            detail = f"{last.status.value}: {last.reason or 'no reason given'}"
            yield _alert("cycle_failed", detail, last.cycle_id)
        slow = health.slowness(self._desk)
        if slow:
            yield _alert("cycle_slow", slow, last.cycle_id if last is not None else "")

    def _of_orders(self, now: datetime) -> Iterator[NewAlert]:
        doubtful = [
            item.order
            for item in self._engine.ledger.orders.unresolved(now)
            if item.order.status in DOUBTFUL
        ]
        ages = [(now - order.created_at).total_seconds() for order in doubtful]
        if max(ages, default=0.0) >= self._settings.unknown_s:
            detail = f"{len(ages)} orders UNKNOWN, the oldest for {max(ages):.0f} s"
            yield _alert("orders_unknown", detail, doubtful[0].cycle_id)

    def _raise(self, holding: Held, is_open: set[str], now: datetime) -> None:
        """Open what has held long enough."""
        self._holds_since = {key: self._holds_since.get(key, now) for key in holding}
        self._held_last |= dict.fromkeys(holding, now)
        for key, alert in holding.items():
            since = self._holds_since[key]
            patience = 0.0 if kind_of(alert.name).at_once else self._settings.hold_s
            if key not in is_open and (now - since).total_seconds() >= patience:
                self._engine.ledger.state.raise_alert(alert, since)
                log.warning("alert_opened", alert=alert.name, about=key, detail=alert.detail)

    def _resolve(
        self, holding: Held, is_open: list[AlertRecord], state: LedgerState, now: datetime
    ) -> None:
        """Close what is over."""
        latched = {latch.cause for latch in state.latched}
        for alert in is_open:
            match kind_of(alert.name).ends:
                case Ends.CONDITION:
                    is_over = self._is_over(alert.key, holding, now)
                case Ends.RELEASE:
                    is_over = alert.name not in latched
                case Ends.FLAT:
                    is_over = not self._is_held(_symbol(alert))
                case Ends.ENABLED:
                    is_over = self._is_enabled(alert.key, now)
            if is_over and self._engine.ledger.state.resolve_alert(alert.key, now):
                log.info("alert_resolved", alert=alert.name, about=alert.key)

    def _is_over(self, key: str, holding: Held, now: datetime) -> bool:
        """Not held for a while; an alert from before this process is given the same while."""
        if key in holding or ("redis_down" in holding and key in KNOWN_THROUGH_REDIS):
            return False
        since = self._held_last.setdefault(key, now)
        return (now - since).total_seconds() >= self._settings.clear_s

    def _is_held(self, symbol: str) -> bool:
        snapshot = self._engine.ledger.state.last_snapshot()
        held = () if snapshot is None else snapshot.positions
        return any(each.symbol == symbol and each.quantity > 0 for each in held)

    def _is_enabled(self, key: str, now: datetime) -> bool:
        _, strategy, symbol, *_ = [*key.split("|"), "", ""]
        facts = self._engine.ledger.orders.symbol_facts([symbol], now).get(symbol)
        return facts is None or strategy not in facts.disabled_strategies

    def _tell(self, known: tuple[AlertRecord, ...]) -> None:
        """Publish each opening and each end once; monitoring takes a repeat for what it is."""
        events = [event for alert in known for event in self._events(alert)]
        fresh = [event for event in events if event.event_id not in self._told]
        self._told = {event.event_id for event in events}
        self._publish(fresh)

    def _publish(self, events: list[MonitoringEvent]) -> None:
        if not events:
            return
        try:
            self._engine.monitoring.publish(events)
        except ServiceError as error:  # they are kept, and sent once it answers
            log.warning("events_not_published", count=len(events), detail=str(error))

    def _events(self, alert: AlertRecord) -> Iterator[MonitoringEvent]:
        yield self._event(alert, OPEN)
        if alert.resolved_at is not None:
            yield self._event(alert, RESOLVED)

    def _event(self, alert: AlertRecord, phase: str) -> MonitoringEvent:
        kind = kind_of(alert.name)
        at = alert.resolved_at if phase == RESOLVED and alert.resolved_at else alert.opened_at
        return MonitoringEvent(
            event_id=f"alert|{alert.number}|{alert.opened_at.isoformat()}|{phase}",
            type="alert",
            at=at,
            severity=alert.severity if phase == OPEN else "info",
            cycle_id=alert.cycle_id,
            data=self._data(alert, kind, phase),
        )

    def _data(self, alert: AlertRecord, kind: AlertKind, phase: str) -> dict[str, object]:
        engine = self._engine.settings.trading_engine
        return {
            "about": alert.key,
            "name": alert.name,
            "phase": phase,
            "mode": "SIMULATED" if self._simulated else engine.mode.upper(),
            "account": engine.account,
            "detail": alert.detail,
            "effect": kind.effect,
            "since": alert.opened_at.isoformat(),
            "runbook": f"{self._settings.runbook}#{alert.name}",
        }

    def _ledger_is_down(self, detail: str, now: datetime) -> None:
        """The ledger's own silence is told without it, once it has held."""
        if self._silence is None:
            self._silence = _silence(detail, now)
        held_s = (now - self._silence.opened_at).total_seconds()
        if held_s >= self._settings.hold_s and not self._silence_told:
            self._publish([self._event(self._silence, OPEN)])
            self._silence_told = True

    def _ledger_is_back(self, now: datetime) -> None:
        if self._silence is not None and self._silence_told:
            over = msgspec.structs.replace(self._silence, resolved_at=now)
            self._publish([self._event(over, RESOLVED)])
        self._silence, self._silence_told = None, False


def _silence(detail: str, since: datetime) -> AlertRecord:
    kind = kind_of("ledger_down")
    return AlertRecord(
        number=0,
        key=kind.name,
        name=kind.name,
        severity=kind.severity,
        detail=detail,
        cycle_id="",
        opened_at=since,
        resolved_at=None,
    )


def _alert(name: str, detail: str, cycle_id: str = "") -> NewAlert:
    """An alert about the whole of something: its name is its key."""
    severity = kind_of(name).severity
    return NewAlert(key=name, name=name, severity=severity, detail=detail, cycle_id=cycle_id)


def _symbol(alert: AlertRecord) -> str:
    """The symbol that the detail of an alert about one begins with."""
    return alert.detail.partition(":")[0]


def _of_signs(signs: Signs, state: LedgerState) -> Iterator[NewAlert]:
    """Redis, workers, beat and the services; what depends on Redis is not told without it."""
    if signs.checks["redis"].status == "down":
        yield _alert("redis_down", signs.checks["redis"].detail)
        return
    if not any(BATCH_QUEUE in worker.queues for worker in signs.workers):
        yield _alert("workers_down", "no worker of the batch queue has sent a heartbeat")
    if state.schedule_running and not signs.beat.alive:
        yield _alert("beat_down", signs.checks["beat"].detail)
    for name in SERVICES:
        if signs.checks[name].status == "down":
            yield _alert(f"{name}_down", signs.checks[name].detail or "no answer")


def _of_state(state: LedgerState) -> Iterator[NewAlert]:
    """HALTED or REDUCING, where no other alert says why."""
    if state.effective is TradingState.ACTIVE:
        return
    if any(latch.level is state.effective for latch in state.latched):
        return
    name = "halted" if state.effective is TradingState.HALTED else "reducing"
    if state.operator is state.effective:
        yield _alert(name, f"by the operator: {state.operator_reason or 'no reason given'}")
        return
    causes = [cause for cause in state.derived if cause.level is state.effective]
    if not any(cause.cause in TOLD_BY_OTHERS for cause in causes):
        detail = "; ".join(f"{cause.cause}: {cause.detail}" for cause in causes)
        yield _alert(name, detail)
