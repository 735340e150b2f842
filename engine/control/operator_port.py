"""What an operator may ask of the ledger beside cycles and orders. All raise LedgerUnavailable."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from engine.domain.model import Verdict
from engine.domain.operator_views import (
    AlertRow,
    DecisionRow,
    DecisionStory,
    DisabledStrategy,
    Marks,
    StateRow,
    Trace,
)
from engine.domain.views import Page


class OperatorReads(Protocol):
    """The ledger as an operator reads it; acknowledging is all that it writes."""

    def decisions(
        self,
        limit: int,
        before: str | None,
        *,
        cycle: str | None = None,
        symbol: str | None = None,
        verdict: Verdict | None = None,
    ) -> Page[DecisionRow]:
        """Decisions, newest first, of a cycle, a symbol, a verdict where asked."""
        ...

    def decision(self, decision_id: str) -> DecisionStory:
        """One decision whole. Raises NotFound."""
        ...

    def states(self, limit: int, before: str | None) -> Page[StateRow]:
        """Changes of the trading state and the schedule, newest first."""
        ...

    def alerts(self, limit: int, before: str | None, *, open_only: bool) -> Page[AlertRow]:
        """Alerts, newest first."""
        ...

    def acknowledge(self, alert_id: str, actor: str, now: datetime) -> AlertRow:
        """Note who has seen an alert; the first one stays. Raises NotFound."""
        ...

    def disabled_strategies(self) -> tuple[DisabledStrategy, ...]:
        """Strategies that are throttled now."""
        ...

    def trace(self, cycle_id: str) -> Trace:
        """The timeline of a cycle. Raises NotFound."""
        ...

    def marks(self) -> Marks:
        """What differs as soon as anything that is shown has changed."""
        ...
