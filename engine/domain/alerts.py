"""The alerts that the engine raises: what each means, what follows from it, and when it ends.

Each has a section of its name in docs/operations.md, which says what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from engine.domain.model import Value


class Ends(StrEnum):
    """What ends an alert."""

    CONDITION = "condition"  # what it tells of has not held for a while
    RELEASE = "release"  # its latched cause was released by a resume
    FLAT = "flat"  # its symbol is not held any more
    ENABLED = "enabled"  # its strategy may trade the symbol again


class AlertKind(Value, frozen=True, kw_only=True):
    """One alert. `effect` is what follows, in words for whoever is woken by it."""

    name: str
    severity: str
    effect: str
    ends: Ends = Ends.CONDITION
    at_once: bool = False


class AlertRecord(Value, frozen=True, kw_only=True):
    """An alert in the ledger; open while `resolved_at` is None."""

    number: int
    key: str
    name: str
    severity: str
    detail: str
    cycle_id: str
    opened_at: datetime
    resolved_at: datetime | None


CRITICAL = "critical"
WARNING = "warning"


def _kind(name: str, severity: str, effect: str, **more: object) -> AlertKind:
    return AlertKind(name=name, severity=severity, effect=effect, **more)  # type: ignore[arg-type]


_LATCHED = {"ends": Ends.RELEASE, "at_once": True}
_KINDS = (
    _kind("ledger_down", CRITICAL, "nothing is sent and nothing can be halted in the ledger"),
    _kind("redis_down", CRITICAL, "no cycle starts; halt, status and orders still answer"),
    _kind("workers_down", CRITICAL, "no cycle runs; positions have no exits"),
    _kind("beat_down", WARNING, "no cycle starts on schedule; POST /cycle still works"),
    _kind("market_data_down", CRITICAL, "no entries; exits use a recent price or wait"),
    _kind("strategy_down", WARNING, "no signals, so no entries; protective exits still run"),
    _kind("portfolio_down", CRITICAL, "exits on the last account for a while, then no orders"),
    _kind("execution_down", CRITICAL, "nothing is sent; open orders cannot be looked up"),
    _kind("monitoring_down", WARNING, "trading goes on; events are kept and sent later"),
    _kind("cycles_missed", CRITICAL, "nothing is decided and no exit is sent"),
    _kind("cycle_failed", CRITICAL, "what it had not sent was not sent", at_once=True),
    _kind("cycle_slow", WARNING, "late signals are dropped; soon cycles are skipped"),
    _kind("orders_unknown", CRITICAL, "their budget stays reserved; exits only, then no orders"),
    _kind("halted", CRITICAL, "no order leaves; positions stay without exits", at_once=True),
    _kind("reducing", WARNING, "only orders that shrink a position leave", at_once=True),
    _kind("daily_loss_soft", CRITICAL, "REDUCING until a resume", **_LATCHED),
    _kind("daily_loss_hard", CRITICAL, "HALTED until a resume", **_LATCHED),
    _kind("drawdown", CRITICAL, "HALTED until a resume", **_LATCHED),
    _kind("log_identity", CRITICAL, "HALTED until a resume", **_LATCHED),
    _kind("log_behind", CRITICAL, "HALTED until a resume", **_LATCHED),
    _kind("fills_refused", CRITICAL, "HALTED until a resume", **_LATCHED),
    _kind("portfolio_contradiction", CRITICAL, "HALTED until a resume", **_LATCHED),
    _kind("position_mismatch", CRITICAL, "REDUCING until a resume", **_LATCHED),
    _kind("contradiction", CRITICAL, "REDUCING until a resume", **_LATCHED),
    _kind("foreign_order", CRITICAL, "REDUCING until a resume", **_LATCHED),
    _kind("foreign_position", WARNING, "it counts in every limit and is not sold", ends=Ends.FLAT),
    _kind("exit_not_filled", CRITICAL, "the position is still held", ends=Ends.FLAT),
    _kind("strategy_disabled", WARNING, "it does not trade the symbol", ends=Ends.ENABLED),
)
KINDS: Mapping[str, AlertKind] = MappingProxyType({kind.name: kind for kind in _KINDS})


def kind_of(name: str) -> AlertKind:
    """What is known of an alert; a latched cause without an entry of its own is critical."""
    known = KINDS.get(name)
    if known is not None:
        return known
    return AlertKind(
        name=name, severity=CRITICAL, effect="held until a resume", ends=Ends.RELEASE, at_once=True
    )
