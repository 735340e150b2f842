"""From what a cycle left behind to its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

import msgspec

from engine.domain.cycle import (
    BatchCounts,
    CycleReport,
    CycleStatus,
    OrderCounts,
    OutcomeStatus,
    SignalCounts,
    Stage,
    SymbolCounts,
    SymbolOutcome,
)
from engine.domain.ledger_values import CycleFacts
from engine.domain.model import Order, OrderStatus, RiskDecision, Verdict
from engine.domain.quality import fault_word

SEVERITY = {OutcomeStatus.OK: 0, OutcomeStatus.SKIPPED: 1, OutcomeStatus.FAILED: 2}
EVALUATED = frozenset({Stage.RISK, Stage.ALLOCATE, Stage.EXECUTE, Stage.FINISH})


def build_report(facts: CycleFacts, *, finished_at: datetime) -> CycleReport:
    """The finished cycle. `symbols.selected` and `step_seconds` are taken over from the opening.

    FAILED: nothing was ever decided, not even that there is nothing to do. DEGRADED: a service
    did not serve, a batch failed or never reported, or a symbol FAILED. Else COMPLETED: symbols
    SKIPPED for their data alone are no failure.
    """
    symbols = _symbols(facts)
    failed = len(facts.batches_failed)
    status = _status(facts, symbols)
    return msgspec.structs.replace(
        facts.report,
        status=status,
        finished_at=finished_at,
        duration_s=(finished_at - facts.report.started_at).total_seconds(),
        symbols=symbols,
        batches=BatchCounts(
            total=facts.batches_total, ok=facts.batches_total - failed, failed=failed
        ),
        signals=SignalCounts(
            received=facts.signals_kept + facts.signals_dropped,
            kept=facts.signals_kept,
            dropped=facts.signals_dropped,
        ),
        orders=_orders(facts.decisions, facts.orders),
        reason=_reason(facts, status),
        skips=_skips(facts.outcomes),
    )


def _status(facts: CycleFacts, symbols: SymbolCounts) -> CycleStatus:
    if not facts.allocated:
        return CycleStatus.FAILED
    if facts.report.degraded or facts.batches_failed or symbols.failed > 0:
        return CycleStatus.DEGRADED
    return CycleStatus.COMPLETED


def _reason(facts: CycleFacts, status: CycleStatus) -> str:
    if facts.report.reason:
        return facts.report.reason
    if status is CycleStatus.FAILED:
        return "no allocation was made"
    failed = [f"batch {number}: {why}" for number, why in sorted(facts.batches_failed.items())]
    return "; ".join([*failed, *_shed(facts.orders)])


def _shed(orders: Iterable[Order]) -> list[str]:
    """Orders that were decided and never left: too late, or forbidden meanwhile."""
    rows = list(orders)
    unsent = [order for order in rows if order.sends == 0]
    if not unsent:
        return []
    exits = sum(order.is_exit for order in unsent)
    return [f"{len(unsent)} of {len(rows)} orders were not sent, {exits} of them exits"]


def _skips(outcomes: Iterable[SymbolOutcome]) -> dict[str, int]:
    """How many symbols of the batches were skipped, by the kind of fault."""
    words = [
        fault_word(outcome.reason)
        for outcome in _worst(outcomes)
        if outcome.batch >= 0 and outcome.status is OutcomeStatus.SKIPPED
    ]
    return dict(sorted(Counter(words).items()))


def _symbols(facts: CycleFacts) -> SymbolCounts:
    """Each symbol counts once, with its worst outcome.

    Symbols of failed batches that left no outcome count as failed.
    """
    worst = _worst(facts.outcomes)
    in_batches = [outcome for outcome in worst if outcome.batch >= 0]
    selected = max(facts.report.symbols.selected, len(in_batches))
    silent = selected - len(in_batches) if facts.batches_failed else 0
    return SymbolCounts(
        selected=selected,
        evaluated=sum(_was_evaluated(outcome) for outcome in worst),
        skipped=sum(outcome.status is OutcomeStatus.SKIPPED for outcome in worst),
        failed=sum(outcome.status is OutcomeStatus.FAILED for outcome in worst) + silent,
    )


def _worst(outcomes: Iterable[SymbolOutcome]) -> list[SymbolOutcome]:
    by_symbol: dict[str, SymbolOutcome] = {}
    for outcome in outcomes:
        known = by_symbol.setdefault(outcome.symbol, outcome)
        if SEVERITY[outcome.status] > SEVERITY[known.status]:
            by_symbol[outcome.symbol] = outcome
    return list(by_symbol.values())


def _was_evaluated(outcome: SymbolOutcome) -> bool:
    return outcome.status is OutcomeStatus.OK or outcome.stage in EVALUATED


def _orders(decisions: Iterable[RiskDecision], orders: Iterable[Order]) -> OrderCounts:
    verdicts = [decision.verdict for decision in decisions]
    rows = list(orders)
    denied = verdicts.count(Verdict.DENIED)
    return OrderCounts(
        candidates=len(verdicts),
        approved=len(verdicts) - denied,
        denied=denied,
        submitted=sum(order.sends > 0 for order in rows),
        filled=sum(order.filled_quantity > 0 for order in rows),
        rejected=sum(order.status is OrderStatus.REJECTED for order in rows),
        unknown=sum(order.status is OrderStatus.UNKNOWN for order in rows),
    )
