"""Counts that grow, read on from where the last reading ended: the whole is a long scan."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from engine.domain.cycle import CycleStatus
from engine.domain.views import DecisionTally
from engine.ledger.column_types import by_no_index
from engine.ledger.schema import cycles, decisions


def decisions_after(connection: Connection, number: int) -> DecisionTally:
    """Decisions beyond `number` by verdict and rule, and where the next reading begins.

    Those of a running cycle wait: of two that write at once the later number may come first.
    """
    running = select(func.min(decisions.c.number)).where(
        decisions.c.cycle_id == cycles.c.cycle_id, cycles.c.status == CycleStatus.RUNNING
    )
    bound = connection.execute(running).scalar()
    verdict, rule = by_no_index(decisions.c.verdict), decisions.c.binding_rule
    chosen = select(verdict, rule, func.count(), func.max(decisions.c.number)).where(
        decisions.c.number > number
    )
    if bound is not None:
        chosen = chosen.where(decisions.c.number < bound)
    rows = connection.execute(chosen.group_by(verdict, rule)).all()
    return DecisionTally(
        counts={(each.value, name): count for each, name, count, _ in rows},
        number=max((last for *_, last in rows), default=number),
    )
