"""All candidates of a test at the barrier, and what came out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from engine.domain.allocation import allocate
from engine.domain.ledger_values import Allocation
from engine.domain.model import (
    OrderIntent,
    RiskDecision,
    Verdict,
)
from tests.factories import (
    NOW,
    make_allocation_facts,
    make_cycle,
    make_instrument,
    make_limits,
    make_quote,
    make_snapshot,
)

SYMBOLS = ("BTC/USD", "ETH/USD", "SOL/USD", "XRP/USD")


def allocated(*candidates: OrderIntent, **changed: Any) -> Allocation:
    """All candidates at the barrier; facts by name, `limits` as changes of the risk limits."""
    names = ("snapshot", "quotes", "quote_problems", "instruments", "market_time", "now")
    arguments: dict[str, Any] = {
        "snapshot": make_snapshot(),
        "quotes": {symbol: make_quote() for symbol in SYMBOLS},
        "quote_problems": {},
        "instruments": {symbol: make_instrument(symbol) for symbol in SYMBOLS},
        "limits": make_limits(risk=changed.pop("limits", {}), sizing=changed.pop("sizing", {})),
        "cycle": make_cycle(),
        "market_time": NOW,
        "now": NOW,
        "may_enter": changed.pop("may_enter", True),
    }
    arguments |= {name: changed.pop(name) for name in names if name in changed}
    return allocate(make_allocation_facts(*candidates, **changed), **arguments)


def only(allocation: Allocation) -> RiskDecision:
    (decision,) = allocation.decisions
    return decision


def denial(allocation: Allocation) -> str:
    decision = only(allocation)
    assert decision.verdict is Verdict.DENIED
    assert decision.quantity == 0
    assert decision.reason.startswith(f"{decision.binding_rule}: ")
    assert allocation.orders == ()
    return decision.binding_rule


def quantity(allocation: Allocation) -> Decimal:
    (order,) = allocation.orders
    assert only(allocation).quantity == order.quantity
    return order.quantity
