"""What follows where a service does not serve: the words for it, and when it is over."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

import msgspec

from engine.domain.cycle import (
    Batch,
    CycleReport,
    CycleStatus,
    Degradation,
    OutcomeStatus,
    Stage,
    SymbolOutcome,
)
from engine.domain.limits import QualityLimits
from engine.domain.model import Order, OrderStatus, TradingState
from engine.domain.quality import is_distrusted

RETURNED = "_returned"
"""Ends the name of a cause whose service answers again, until two cycles went well."""
GOOD_CYCLES = 2
UNSETTLED = frozenset({OrderStatus.SENDING, OrderStatus.UNKNOWN})
ANSWERED = frozenset({CycleStatus.COMPLETED, CycleStatus.DEGRADED})

EFFECTS: Mapping[str, str] = MappingProxyType(
    {
        "market_data": "no entries; exits may use a recent price",
        "strategy": "no signals, so no entries; protective exits still run",
        "portfolio": "exits on the last account for a while, then no orders",
        f"portfolio{RETURNED}": "exits only until two cycles went well",
        "execution": "nothing is sent; orders of unknown fate keep their budget",
        "unknown_orders": "exits only after a minute, no orders after five",
        "monitoring": "trading goes on; events are kept and sent later",
        "redis": "no cycle starts; halt, status and orders still answer",
        "workers": "no cycle runs until a worker is back",
        "beat": "no cycle starts on schedule; POST /cycle still works",
    }
)


def effect_of(cause: str) -> str:
    """What is therefore not done, in words."""
    return EFFECTS.get(cause, "see the reason")


def distrust(
    batches: Sequence[Batch], outcomes: Iterable[SymbolOutcome], limits: QualityLimits
) -> Degradation | None:
    """The market as a whole is not trusted: too many of its symbols have unusable candles."""
    symbols = sum(len(batch.symbols) for batch in batches)
    bad = {
        outcome.symbol
        for outcome in outcomes
        if outcome.stage is Stage.FETCH and outcome.status is not OutcomeStatus.OK
    }
    if symbols == 0 or not is_distrusted(len(bad), symbols, limits):
        return None
    return Degradation(
        service="market_data",
        reason=f"{len(bad)} of {symbols} symbols without usable candles,"
        f" more than {limits.max_bad_share:.0%}",
        lowers=TradingState.REDUCING,
    )


def doubt(orders: Iterable[Order]) -> Degradation | None:
    """The execution service left the fate of orders unknown."""
    count = sum(order.status in UNSETTLED for order in orders)
    if count == 0:
        return None
    return Degradation(service="execution", reason=f"{count} orders of unknown fate")


def explained(
    degraded: Iterable[Degradation], earlier: Sequence[CycleReport], started_at: datetime
) -> tuple[Degradation, ...]:
    """With their effects, and since when: a service that failed the cycle before fails since then.

    `earlier` holds the newest closed cycle first, if there is one.
    """
    known = {entry.service: entry.since for report in earlier[:1] for entry in report.degraded}
    return tuple(
        msgspec.structs.replace(
            entry,
            effect=effect_of(entry.service),
            since=known.get(entry.service) or started_at,
        )
        for entry in degraded
    )


def has_recovered(service: str, since: datetime, newest: Sequence[CycleReport]) -> bool:
    """Whether the service answered throughout two whole cycles that began at `since` or later.

    `newest` holds the closed cycles, the newest first, without SKIPPED ones.
    """
    last = newest[:GOOD_CYCLES]
    return len(last) == GOOD_CYCLES and all(
        report.status in ANSWERED
        and report.started_at >= since
        and service not in _services(report.degraded)
        for report in last
    )


def _services(degraded: Collection[Degradation]) -> set[str]:
    return {entry.service for entry in degraded}
