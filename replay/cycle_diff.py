"""The difference between what a cycle decided and what the same inputs lead to now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from engine.domain.cycle import DroppedSignal
from engine.domain.model import Order, OrderIntent, RiskDecision, Signal
from replay.cycle import Decided

T = TypeVar("T")
Fields = dict[str, Any]
# What was frozen when the order was reserved; its status and fills came later.
FROZEN = (
    *("client_order_id", "decision_key", "attempt", "cycle_id", "epoch", "symbol", "side"),
    *("quantity", "limit_price", "reference_price", "reduce_only", "strategy", "body"),
    *("cutoff_at", "valid_until", "market_time", "candle_time", "exit_reason", "stop_price"),
    "target_price",
)


def differences(then: Decided, now: Decided) -> list[str]:
    """One line for each difference, nothing for none."""
    lines = _of("kept signal", then.kept, now.kept, _signal_name)
    lines += _of("dropped signal", then.dropped, now.dropped, _dropped_name)
    lines += _of("candidate", then.candidates, now.candidates, _intent_name)
    lines += _of("denied in its batch", then.denied, now.denied, _decision_name)
    lines += _of("decision", then.decisions, now.decisions, _decision_name)
    orders = [[_Frozen(order) for order in made.orders] for made in (then, now)]
    return lines + _of("order", orders[0], orders[1], lambda each: each.name)


class _Frozen:
    """An order as it was reserved."""

    def __init__(self, order: Order) -> None:
        self.name = f"{order.side.value} {order.symbol} {order.client_order_id}"
        self.fields = {name: getattr(order, name) for name in FROZEN}


def _signal_name(signal: Signal) -> str:
    return f"{signal.symbol} {signal.strategy} {signal.action.value}"


def _dropped_name(dropped: DroppedSignal) -> str:
    return _signal_name(dropped.signal)


def _intent_name(intent: OrderIntent) -> str:
    return f"{intent.side.value} {intent.symbol} {intent.decision_key}"


def _decision_name(decision: RiskDecision) -> str:
    return _intent_name(decision.intent)


def _of(kind: str, then: Sequence[T], now: Sequence[T], name: Callable[[T], str]) -> list[str]:
    before, after = ({name(each): _fields(each) for each in side} for side in (then, now))
    lines = [f"{kind} {each}: made then, not now" for each in before if each not in after]
    lines += [f"{kind} {each}: made now, not then" for each in after if each not in before]
    for each in before:
        if each in after:
            changed = _changes(before[each], after[each])
            lines += [f"{kind} {each}: {change}" for change in changed]
    if not lines and list(before) != list(after):
        lines.append(f"{kind}s: in another order: {_listed(before)} then, {_listed(after)} now")
    return lines


def _fields(value: Any) -> Fields:
    found: Fields = value.fields if isinstance(value, _Frozen) else {"": value}
    plain: Fields = msgspec.to_builtins(found)
    return plain


def _changes(then: Any, now: Any, path: str = "") -> Iterable[str]:
    """The paths of the leaves that differ, with both values."""
    if isinstance(then, dict) and isinstance(now, dict):
        for name in {**then, **now}:
            at = ".".join(part for part in (path, name) if part)
            yield from _changes(then.get(name), now.get(name), at)
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for number, pair in enumerate(zip(then, now, strict=True)):
            yield from _changes(*pair, f"{path}[{number}]")
    elif then != now:
        yield f"{path} was {then}, is {now}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
