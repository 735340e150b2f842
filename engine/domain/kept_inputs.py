"""What the decisions of a cycle were made from, as it is kept so that they can be made again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from engine.domain.candles import Candles
from engine.domain.cycle import (
    AllocationFacts,
    BatchInput,
    CyclePlan,
    DroppedSignal,
    Stage,
    SymbolFacts,
)
from engine.domain.limits import Limits
from engine.domain.messages import StrategyChoice
from engine.domain.model import (
    Order,
    OrderIntent,
    PortfolioSnapshot,
    Quote,
    RiskDecision,
    Signal,
    Value,
)


class DecisionSettings(Value, frozen=True, kw_only=True):
    """The settings that decide: limits, and the strategies as the strategy engine is asked."""

    limits: Limits
    strategies: tuple[StrategyChoice, ...]
    default_stop_atr: float


class Window(Value, frozen=True, kw_only=True):
    """Candles that were decided on: rows `first` to `last` (open times, ms) of a kept series.

    `edition` counts how often the symbol's past was rewritten; `digest` identifies the rows.
    """

    symbol: str
    edition: int
    first: int
    last: int
    count: int
    digest: str


class EvaluateInputs(Value, frozen=True, kw_only=True):
    """What a batch's signals were made from; `answered` False: nobody judged the candles."""

    windows: tuple[Window, ...] = ()
    answered: bool = True


class RiskInputs(Value, frozen=True, kw_only=True):
    """What a batch's candidates were made from, beside its slice of the plan and its signals."""

    facts: tuple[SymbolFacts, ...]
    windows: tuple[Window, ...] = ()


StepInputs = EvaluateInputs | RiskInputs


@dataclass(frozen=True)
class StepBasis:
    """What a step decided on: candles by symbol, and its other inputs.

    The windows of `inputs` are known once the candles are kept.
    """

    candles: Mapping[str, Candles]
    inputs: StepInputs


@dataclass(frozen=True)
class Basis:
    """What the steps of a batch decided on. No symbol has other candles in one than in another."""

    timeframe: str
    timeframe_s: int
    steps: Mapping[Stage, StepBasis] = field(default_factory=dict)

    @property
    def candles(self) -> dict[str, Candles]:
        """Those of all steps."""
        return {name: each for step in self.steps.values() for name, each in step.candles.items()}


class AllocateInputs(Value, frozen=True, kw_only=True):
    """What the allocation read outside its transaction, or why not, and when (wall time)."""

    snapshot: PortfolioSnapshot | None
    quotes: dict[str, Quote]
    quote_problems: dict[str, str]
    may_enter: bool
    veto: str
    now: datetime


class AllocationRecord(Value, frozen=True, kw_only=True):
    """The inputs of a cycle's allocation. The candidates of `facts` are left out."""

    inputs: AllocateInputs
    facts: AllocationFacts


class KeptBatch(Value, frozen=True, kw_only=True):
    """A batch that reported. `included`: its candidates took part in the allocation."""

    given: BatchInput
    included: bool
    evaluate: EvaluateInputs | None
    risk: RiskInputs | None
    kept: tuple[Signal, ...]
    dropped: tuple[DroppedSignal, ...]
    candidates: tuple[OrderIntent, ...]
    denied: tuple[RiskDecision, ...]


class KeptCycle(Value, frozen=True, kw_only=True):
    """A closed cycle: its inputs, and what was decided then.

    `allocation` is None where there was nothing to decide; `orders` are as they stand now.
    """

    plan: CyclePlan
    settings: DecisionSettings
    batches: tuple[KeptBatch, ...]
    allocation: AllocationRecord | None
    decisions: tuple[RiskDecision, ...]
    orders: tuple[Order, ...]
