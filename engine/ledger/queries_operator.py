"""Reads for an operator: decisions, states, alerts, the trace of a cycle, and what changed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, func, select, update

from engine.domain.alerts import kind_of
from engine.domain.cycle import Stage
from engine.domain.model import RiskDecision, Verdict
from engine.domain.operator_views import (
    AlertRow,
    DecisionRow,
    DecisionStory,
    DisabledStrategy,
    Marks,
    StateCause,
    StateRow,
    Trace,
)
from engine.domain.views import Page
from engine.errors import NotFound
from engine.ledger.column_types import AnyRow
from engine.ledger.connections import Connections
from engine.ledger.order_views import signal_of
from engine.ledger.queries import cursor_of, next_cursor
from engine.ledger.records import load
from engine.ledger.schema import (
    account,
    alerts,
    batches,
    cycles,
    decisions,
    disabled_strategies,
    orders,
    state_changes,
    transitions,
)
from engine.ledger.schema_operator import adoptions, exit_requests
from engine.ledger.trace import trace_of

RUNBOOK = "docs/operations.md"


class OperatorQueries:
    """What an operator asks beside cycles and orders. All raise LedgerUnavailable."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def decisions(
        self,
        limit: int,
        before: str | None,
        *,
        cycle: str | None = None,
        symbol: str | None = None,
        verdict: Verdict | None = None,
    ) -> Page[DecisionRow]:
        """Decisions, newest first: of a cycle, a symbol, a verdict where asked."""
        chosen = _decided().order_by(decisions.c.number.desc()).limit(limit + 1)
        if before is not None:
            chosen = chosen.where(decisions.c.number < cursor_of(before))
        for column, wanted in (
            (decisions.c.cycle_id, cycle),
            (decisions.c.symbol, symbol),
            (decisions.c.verdict, verdict),
        ):
            if wanted is not None:
                chosen = chosen.where(column == wanted)
        with self._connections.read() as connection:
            rows = connection.execute(chosen).all()
        items = tuple(_decision_row(row) for row in rows[:limit])
        return Page(items=items, next_before=next_cursor(rows, limit))

    def decision(self, decision_id: str) -> DecisionStory:
        """One decision whole. Raises NotFound."""
        number = int(decision_id) if decision_id.isascii() and decision_id.isdigit() else -1
        if not 0 <= number < 1 << 62:
            raise NotFound(f"no decision {decision_id}")
        with self._connections.read() as connection:
            row = connection.execute(_decided().where(decisions.c.number == number)).one_or_none()
            if row is None:
                raise NotFound(f"no decision {decision_id}")
            decision = load(row.payload, RiskDecision)
            by_strategy = decision.intent.exit_reason in {"", "signal"}
            asked = signal_of(connection, decision.intent, row.cycle_id) if by_strategy else None
            return DecisionStory(row=_decision_row(row), signal=asked, decision=decision)

    def states(self, limit: int, before: str | None) -> Page[StateRow]:
        """Changes of the trading state and the schedule, newest first."""
        chosen = select(state_changes).order_by(state_changes.c.number.desc()).limit(limit + 1)
        if before is not None:
            chosen = chosen.where(state_changes.c.number < cursor_of(before))
        with self._connections.read() as connection:
            rows = connection.execute(chosen).all()
        items = tuple(_state_row(row) for row in rows[:limit])
        return Page(items=items, next_before=next_cursor(rows, limit))

    def alerts(self, limit: int, before: str | None, *, open_only: bool) -> Page[AlertRow]:
        """Alerts, newest first."""
        chosen = select(alerts).order_by(alerts.c.number.desc()).limit(limit + 1)
        if open_only:
            chosen = chosen.where(alerts.c.resolved_at.is_(None))
        if before is not None:
            chosen = chosen.where(alerts.c.number < cursor_of(before))
        with self._connections.read() as connection:
            rows = connection.execute(chosen).all()
        items = tuple(_alert_row(row) for row in rows[:limit])
        return Page(items=items, next_before=next_cursor(rows, limit))

    def acknowledge(self, alert_id: str, actor: str, now: datetime) -> AlertRow:
        """Note who has seen an alert; the first one stays. Raises NotFound."""
        number = int(alert_id) if alert_id.isascii() and alert_id.isdigit() else -1
        this = alerts.c.number == (number if 0 <= number < 1 << 62 else -1)
        fresh = update(alerts).where(this, alerts.c.acknowledged_at.is_(None))
        with self._connections.write(durable=False) as connection:
            connection.execute(fresh.values(acknowledged_at=now, acknowledged_by=actor))
            row = connection.execute(select(alerts).where(this)).one_or_none()
        if row is None:
            raise NotFound(f"no alert {alert_id}")
        return _alert_row(row)

    def disabled_strategies(self) -> tuple[DisabledStrategy, ...]:
        """Strategies that are throttled now, by name and symbol."""
        chosen = select(disabled_strategies).order_by(
            disabled_strategies.c.strategy, disabled_strategies.c.symbol
        )
        names = DisabledStrategy.__struct_fields__
        with self._connections.read() as connection:
            rows = connection.execute(chosen).all()
        return tuple(DisabledStrategy(**{n: getattr(row, n) for n in names}) for row in rows)

    def trace(self, cycle_id: str) -> Trace:
        """The timeline of a cycle. Raises NotFound."""
        with self._connections.read() as connection:
            return trace_of(connection, cycle_id)

    def marks(self) -> Marks:
        """What differs as soon as anything that is shown has changed; one cheap look."""
        with self._connections.read() as connection:
            newest = connection.execute(NEWEST_CYCLES).all()
            row = connection.execute(MARKS).one()
            done = _reported(connection, newest[0].cycle_id) if newest else 0
        return Marks(
            cycle=f"{[tuple(each) for each in newest]} {done}",
            orders=row.transition or 0,
            state=row.state or 0,
            alerts=f"{row.alert} {row.open_alerts} {row.seen_alerts}",
            positions=f"{row.seq} {row.adoption} {row.wish}",
        )


NEWEST_CYCLES = (
    select(
        cycles.c.cycle_id,
        cycles.c.status,
        cycles.c.planned_at,
        cycles.c.allocated_at,
        cycles.c.finished_at,
    )
    .order_by(cycles.c.number.desc())
    .limit(2)
)
OPEN_ALERT = alerts.c.resolved_at.is_(None)
MARKS = select(
    select(func.max(transitions.c.number)).scalar_subquery().label("transition"),
    select(func.max(state_changes.c.number)).scalar_subquery().label("state"),
    select(func.max(alerts.c.number)).scalar_subquery().label("alert"),
    select(func.count()).where(OPEN_ALERT).scalar_subquery().label("open_alerts"),
    select(func.count(alerts.c.acknowledged_at))
    .where(OPEN_ALERT)
    .scalar_subquery()
    .label("seen_alerts"),
    select(func.max(account.c.contiguous_seq)).scalar_subquery().label("seq"),
    select(func.max(adoptions.c.number)).scalar_subquery().label("adoption"),
    select(func.max(exit_requests.c.number)).scalar_subquery().label("wish"),
)


def _reported(connection: Connection, cycle_id: str) -> int:
    """How many batches of a cycle have reported."""
    counted = select(func.count(batches.c.reported_at)).where(batches.c.cycle_id == cycle_id)
    return int(connection.execute(counted).scalar_one())


def _decided() -> Any:
    """Decisions with the time of their cycle, and the order that followed, if any."""
    # A later attempt of the same wish belongs to another cycle.
    same = and_(
        orders.c.cycle_id == decisions.c.cycle_id,
        orders.c.decision_key == decisions.c.decision_key,
        decisions.c.stage == Stage.ALLOCATE,
    )
    return (
        select(decisions, cycles.c.started_at, cycles.c.market_time, orders.c.client_order_id)
        .join(cycles, cycles.c.cycle_id == decisions.c.cycle_id)
        .join(orders, same, isouter=True)
    )


def _decision_row(row: AnyRow) -> DecisionRow:
    decision = load(row.payload, RiskDecision)
    intent = decision.intent
    wish = intent.reason or f"exit: {intent.exit_reason}" if intent.is_exit else ""
    wish = wish or f"{intent.strategy} {intent.confidence:.2f}"
    outcome = f"sized by {decision.binding_rule}"
    if decision.verdict is Verdict.DENIED:
        outcome = f"denied: {decision.reason or decision.binding_rule}"
    return DecisionRow(
        decision_id=str(row.number),
        cycle_id=row.cycle_id,
        at=row.started_at,
        market_time=row.market_time,
        stage=row.stage,
        symbol=row.symbol,
        side=intent.side,
        strategy=intent.strategy,
        confidence=intent.confidence,
        candle_time=intent.candle_time,
        asked=intent.quantity,
        quantity=decision.quantity,
        price=intent.price,
        verdict=decision.verdict,
        binding_rule=decision.binding_rule,
        reason=decision.reason,
        exit_reason=intent.exit_reason,
        client_order_id=row.client_order_id,
        why=f"{wish}, {outcome}",
    )


def _state_row(row: AnyRow) -> StateRow:
    names = ("kind", "cause", "level", "detail")
    causes = load(row.causes, list[tuple[str, str, str, str]])
    return StateRow(
        at=row.at,
        actor=row.actor,
        what=row.what,
        operator=row.operator,
        effective=row.effective,
        causes=tuple(
            msgspec.convert(dict(zip(names, each, strict=True)), StateCause) for each in causes
        ),
    )


def _alert_row(row: AnyRow) -> AlertRow:
    fields = {
        name: getattr(row, name)
        for name in AlertRow.__struct_fields__
        if name not in {"alert_id", "effect", "runbook"}
    }
    return AlertRow(
        **fields,
        alert_id=str(row.number),
        effect=kind_of(row.name).effect,
        runbook=f"{RUNBOOK}#{row.name}",
    )
