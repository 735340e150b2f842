"""The dictionary of the trade: every value and enum, immutable, without behaviour that needs I/O.

Values are msgspec structs, so that what the wire carries and what the core computes with are one
type: decimals are text, times are ISO 8601 UTC, candle times are integer epoch milliseconds.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Self

import msgspec


class Side(StrEnum):
    """Direction of an order or fill. The engine is long only: a sell reduces a position."""

    BUY = "buy"
    SELL = "sell"


class Action(StrEnum):
    """What a strategy asks for."""

    BUY = "buy"
    SELL = "sell"
    HOLD = "hold"


class OrderType(StrEnum):
    """How an order is priced. The engine itself sends limit orders only."""

    MARKET = "market"
    LIMIT = "limit"


class TimeInForce(StrEnum):
    """How long an order lives. The engine itself sends immediate-or-cancel only."""

    IOC = "IOC"
    GTC = "GTC"


class OrderStatus(StrEnum):
    """States of an order in the engine's ledger; ranks and transitions are in `orders`."""

    RESERVED = "RESERVED"
    SENDING = "SENDING"
    UNKNOWN = "UNKNOWN"
    ACCEPTED = "ACCEPTED"
    PARTIAL = "PARTIAL"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"
    VOIDED = "VOIDED"


class TradingState(StrEnum):
    """What the engine may do: everything, only shrink positions, or nothing."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


class Verdict(StrEnum):
    """The engine's own answer to a candidate. *Denied* is ours, *rejected* the venue's."""

    APPROVED = "APPROVED"
    RESIZED = "RESIZED"
    DENIED = "DENIED"


class MarketClock(StrEnum):
    """Whether market time is the wall clock or a replayed one."""

    LIVE = "live"
    REPLAY = "replay"


class Value(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of all values: immutable, keyword arguments only, and part of no reference cycle."""


class Instrument(Value, frozen=True, kw_only=True):
    """What may be traded, and in which steps. `volume_24h` is in quote currency."""

    symbol: str
    volume_24h: Decimal
    spread_bps: float
    tick_size: Decimal
    lot_size: Decimal
    min_notional: Decimal

    @property
    def quote_currency(self) -> str:
        """The currency that prices are in: what follows the slash, or nothing."""
        return self.symbol.partition("/")[2]


class Quote(Value, frozen=True, kw_only=True):
    """Best bid and ask, and the last price, at `as_of` (wall time of the answer)."""

    bid: Decimal
    ask: Decimal
    last: Decimal
    as_of: datetime


class Signal(Value, frozen=True, kw_only=True):
    """A strategy's opinion about one symbol, as of the candle that opened at `candle_time`.

    `strategy` is the strategy's unique id in the configuration.
    """

    symbol: str
    strategy: str
    version: str
    action: Action
    confidence: float
    price: Decimal
    candle_time: int
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    reason: str = ""


class Position(Value, frozen=True, kw_only=True):
    """A holding. `version` is the seq of the last fill applied to the symbol.

    `strategy` is None for a foreign position: one that no strategy of the engine opened.
    """

    symbol: str
    quantity: Decimal
    average_price: Decimal
    market_price: Decimal
    strategy: str | None
    opened_at: datetime
    version: int

    @property
    def value(self) -> Decimal:
        """Quantity at the market price, in account currency."""
        return self.quantity * self.market_price


class PortfolioSnapshot(Value, frozen=True, kw_only=True):
    """The account at one instant, with every event up to `applied_seq` in it."""

    account: str
    currency: str
    cash: Decimal
    equity: Decimal
    peak_equity: Decimal
    day_start_equity: Decimal
    realized_pnl: Decimal
    positions: tuple[Position, ...]
    applied_seq: int
    as_of: datetime

    def position(self, symbol: str) -> Position | None:
        """The holding in `symbol`, or None."""
        return next((held for held in self.positions if held.symbol == symbol), None)


class Allowance(Value, frozen=True, kw_only=True):
    """What one rule grants: at most `quantity`; None means that the rule sets no bound."""

    rule: str
    quantity: Decimal | None
    detail: str = ""


class OrderIntent(Value, frozen=True, kw_only=True):
    """A sized wish to trade, before the account's budget is granted: one candidate.

    `price` is what sizing used (the signal's or the market's). `exit_reason` is empty for an
    entry, else `stop`, `target`, `trailing`, `time`, `signal` or `operator`. `allowances` are
    those of sizing and the per-symbol rules, in the order they were asked.
    """

    decision_key: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    strategy: str
    version: str
    confidence: float
    candle_time: int
    exit_reason: str = ""
    stop_price: Decimal | None = None
    target_price: Decimal | None = None
    reason: str = ""
    allowances: tuple[Allowance, ...] = ()

    @property
    def is_exit(self) -> bool:
        """True when the intent only shrinks a position."""
        return self.exit_reason != ""


class RiskDecision(Value, frozen=True, kw_only=True):
    """What became of a candidate: granted quantity (0 when denied) and the rule that bound."""

    intent: OrderIntent
    verdict: Verdict
    quantity: Decimal
    binding_rule: str
    reason: str
    allowances: tuple[Allowance, ...] = ()


class OrderBody(Value, frozen=True, kw_only=True, omit_defaults=True):
    """The body of `POST /orders`, frozen as bytes when the order is reserved."""

    client_order_id: str
    account: str
    epoch: int
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    quantity: Decimal
    reference_price: Decimal
    reduce_only: bool
    strategy: str
    valid_until: datetime
    limit_price: Decimal | None = None


class Order(Value, frozen=True, kw_only=True):
    """An order in the engine's ledger, from its reservation to its proved end.

    `body` is the frozen JSON that is sent, byte for byte, each time. `market_time` is the
    market's now at the decision, `sends` counts how often SENDING was set.
    """

    client_order_id: str
    decision_key: str
    attempt: int
    cycle_id: str
    epoch: int
    symbol: str
    side: Side
    quantity: Decimal
    limit_price: Decimal
    reference_price: Decimal
    reduce_only: bool
    strategy: str
    body: str
    status: OrderStatus
    created_at: datetime
    updated_at: datetime
    cutoff_at: datetime
    valid_until: datetime
    market_time: datetime
    candle_time: int = 0
    exit_reason: str = ""
    stop_price: Decimal | None = None
    target_price: Decimal | None = None
    sends: int = 0
    lease_until: datetime | None = None
    venue_order_id: str = ""
    filled_quantity: Decimal = Decimal(0)
    average_price: Decimal | None = None
    fees: Decimal = Decimal(0)
    reason: str = ""

    @property
    def is_exit(self) -> bool:
        """True when the order only shrinks a position."""
        return self.side is Side.SELL


class Fill(Value, frozen=True, kw_only=True):
    """An execution: `seq` is its place in the execution service's gap-free log."""

    seq: int
    fill_id: str
    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    filled_at: datetime
    strategy: str

    @property
    def value(self) -> Decimal:
        """Quantity times price, without the fee."""
        return self.quantity * self.price


class VenueOrder(Value, frozen=True, kw_only=True):
    """An order as the execution service knows it. The optional part serves adoption."""

    client_order_id: str
    order_id: str
    state: OrderStatus
    filled_quantity: Decimal
    average_price: Decimal | None
    fees: Decimal
    seq: int
    reason: str = ""
    symbol: str | None = None
    side: Side | None = None
    quantity: Decimal | None = None
    limit_price: Decimal | None = None
    reference_price: Decimal | None = None
    reduce_only: bool | None = None
    strategy: str | None = None
    epoch: int | None = None


class OrderEvent(VenueOrder, frozen=True, kw_only=True, tag_field="type", tag="order"):
    """An order's new state in the execution service's log."""

    at: datetime


class FillEvent(Fill, frozen=True, kw_only=True, tag_field="type", tag="fill"):
    """A fill in the execution service's log."""

    def fill(self) -> Fill:
        """The same without its tag."""
        fields = {name: getattr(self, name) for name in Fill.__struct_fields__}
        return Fill(**fields)

    @classmethod
    def of(cls, fill: Fill) -> Self:
        """The event that announces `fill`."""
        return cls(**msgspec.structs.asdict(fill))


ExecutionEvent = OrderEvent | FillEvent
