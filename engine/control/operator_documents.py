"""What the operator's routes answer beside the documents of the controls."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from engine.domain.model import TradingState, Value
from engine.domain.operator_views import DisabledStrategy, PositionRow


class Positions(Value, frozen=True, kw_only=True):
    """`GET /positions`: what is held and the account around it, as of the last snapshot.

    `count` and `unrealised` are about all positions, not the page alone. Before the first
    snapshot the account is None.
    """

    items: tuple[PositionRow, ...]
    next_before: str | None
    count: int
    currency: str
    equity: Decimal | None
    cash: Decimal | None
    unrealised: Decimal
    as_of: datetime | None


class Reduced(Value, frozen=True, kw_only=True):
    """`POST /reduce`: the effective state may stand lower still."""

    trading_state: TradingState
    operator: TradingState
    changed: bool


class ExitAsked(Value, frozen=True, kw_only=True):
    """`POST /positions/{symbol}/close`: the next cycle sends the exit, unless it is HALTED."""

    symbol: str
    quantity: Decimal
    requested: bool
    changed: bool
    trading_state: TradingState


class Adopted(Value, frozen=True, kw_only=True):
    """`POST /positions/{symbol}/adopt`: whose the position is from the next cycle on."""

    symbol: str
    strategy: str
    quantity: Decimal
    changed: bool


class Enabled(Value, frozen=True, kw_only=True):
    """`POST /strategies/{name}/enable`: where the strategy was throttled."""

    strategy: str
    changed: bool
    symbols: tuple[str, ...]


class StrategyState(Value, frozen=True, kw_only=True):
    """A configured strategy, and the symbols where it is throttled."""

    strategy: str
    name: str
    parameters: dict[str, object]
    disabled: tuple[DisabledStrategy, ...]


class Market(Value, frozen=True, kw_only=True):
    """The market's time and where prices come from. `clock` is None before the first cycle.

    `speed` is how much faster market time passes than wall time, while the schedule runs.
    """

    clock: str | None
    time: datetime | None
    feed: str
    simulated: bool
    speed: float | None
