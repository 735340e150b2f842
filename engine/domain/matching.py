"""An order against a quote or a candle -> fills and the resulting state.

The paper broker and replay share these functions. Nothing here depends on the order in which
orders arrive: a fill is a function of the order, the market picture and the terms alone.
"""

from __future__ import annotations

import hashlib
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import NamedTuple
from uuid import UUID, uuid5

from engine.domain.amounts import EXACT, ceil_to, floor_to
from engine.domain.candles import Candles
from engine.domain.decimals import decimal_text
from engine.domain.model import OrderStatus, OrderType, Side, TimeInForce, Value

FILL_NAMESPACE = UUID("0d9e4a52-6a55-5b7c-9d0e-6f3d1f0b8a11")
FEE_STEP = Decimal("0.00000001")
BASIS_POINTS = Decimal(10000)
DRAW_STEPS = 1000

REST_STATES = frozenset({OrderStatus.ACCEPTED, OrderStatus.PARTIAL})


class Terms(Value, frozen=True, kw_only=True):
    """What trading costs: fractions of value; `max_volume_share` of the last candle's volume.

    `max_fee` is the bound that no fee exceeds; None is no bound, for `max_volume_share` too.
    """

    fee: Decimal
    slippage_bps: Decimal
    max_volume_share: Decimal | None
    seed: int
    max_fee: Decimal | None = None


class Steps(Value, frozen=True, kw_only=True):
    """The steps of an instrument. `min_notional` is in quote currency."""

    tick_size: Decimal
    lot_size: Decimal
    min_notional: Decimal


class Picture(Value, frozen=True, kw_only=True):
    """The market at one instant: the quote, and the last closed candle's time and volume."""

    bid: Decimal
    ask: Decimal
    volume: Decimal
    candle_time: int
    steps: Steps

    def touch(self, side: Side) -> Decimal:
        """The price that an order of this side meets."""
        return self.ask if side is Side.BUY else self.bid


class _Supply(NamedTuple):
    """What a candle offers: `volume` in base units."""

    candle_time: int
    volume: Decimal


class Bar(Value, frozen=True, kw_only=True):
    """One candle in decimals; `time` is its open in epoch milliseconds."""

    time: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


class WorkingOrder(Value, frozen=True, kw_only=True):
    """An order as far as it has come.

    `fills` counts its fills so far. `candle_time` and `candle_filled` say what it has filled
    against the volume of which candle, so that a resting order gets each share once.
    """

    client_order_id: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    quantity: Decimal
    limit_price: Decimal | None = None
    filled_quantity: Decimal = Decimal(0)
    fills: int = 0
    candle_time: int = 0
    candle_filled: Decimal = Decimal(0)

    @property
    def remaining(self) -> Decimal:
        """What is still to be filled."""
        return EXACT.subtract(self.quantity, self.filled_quantity)

    def filled_of(self, candle_time: int) -> Decimal:
        """What this candle's volume has already given."""
        return self.candle_filled if self.candle_time == candle_time else Decimal(0)


class Execution(Value, frozen=True, kw_only=True):
    """One fill of an order, numbered from 1; `fee` is in quote currency."""

    fill_id: str
    number: int
    quantity: Decimal
    price: Decimal
    fee: Decimal


class Match(Value, frozen=True, kw_only=True):
    """What a match led to. `reason` says why the state is not FILLED."""

    state: OrderStatus
    executions: tuple[Execution, ...] = ()
    reason: str = ""


def fill_id(client_order_id: str, number: int) -> str:
    """The same order's same fill has the same id for ever."""
    return str(uuid5(FILL_NAMESPACE, f"{client_order_id}|{number}"))


def draw(seed: int, client_order_id: str, candle_time: int, purpose: str) -> Decimal:
    """A number from 0 to 1 in thousandths that only these four decide."""
    text = f"{seed}|{client_order_id}|{candle_time}|{purpose}".encode()
    number = int.from_bytes(hashlib.sha256(text).digest()[:8]) % (DRAW_STEPS + 1)
    return Decimal(number) / DRAW_STEPS


def fee_of(value: Decimal, terms: Terms) -> Decimal:
    """The fee of a fill: a fraction of its value, rounded up to 8 places, within `max_fee`."""
    fee = EXACT.multiply(value, terms.fee).quantize(FEE_STEP, ROUND_UP, EXACT)
    if terms.max_fee is None:
        return fee
    # Rounding up may exceed the bound by a fraction of a step; the bound is a promise.
    return min(fee, EXACT.multiply(value, terms.max_fee).quantize(FEE_STEP, ROUND_DOWN, EXACT))


def refusal(order: WorkingOrder, picture: Picture) -> str:
    """Why a new order of this size cannot be taken at all; empty when it can."""
    if floor_to(order.quantity, picture.steps.lot_size) <= 0:
        lot = decimal_text(picture.steps.lot_size)
        return f"quantity {decimal_text(order.quantity)} is below one lot of {lot}"
    touch = picture.touch(order.side)
    price = touch if order.limit_price is None else max(order.limit_price, touch)
    value = EXACT.multiply(order.quantity, price)
    if value < picture.steps.min_notional:
        least = decimal_text(picture.steps.min_notional)
        return f"value {decimal_text(value)} is below the minimum {least}"
    return ""


def match_quote(order: WorkingOrder, picture: Picture, terms: Terms) -> Match:
    """An order against the best bid and ask.

    A market order, or a limit order whose limit the touch satisfies, fills at the touch moved
    by the slippage against the order, rounded to the tick against it, never worse than its
    limit. It fills at most its share of the last closed candle's volume. What is left of a
    market or immediate-or-cancel order is cancelled; a good-till-cancel limit order rests.
    """
    touch = picture.touch(order.side)
    limit = _limit_on_tick(order, picture.steps.tick_size)
    if limit is not None and not _satisfies(order.side, touch, limit):
        return _ended(order, Decimal(0), "limit not reached")
    price = _slipped(order.side, touch, picture.steps.tick_size, terms)
    price = _never_worse(order.side, price, limit)
    if price <= 0:
        return _ended(order, Decimal(0), "no price left after slippage")
    return _fill(order, price, _Supply(picture.candle_time, picture.volume), picture.steps, terms)


def match_candle(order: WorkingOrder, bar: Bar, steps: Steps, terms: Terms) -> Match:
    """An order that was there before `bar` opened, against the whole candle.

    A market order fills at the open. A limit order fills at the open where the market gaps
    through the limit (better for the order), else at its limit where the candle touches it.
    Only fills at the open slip. The candle's own volume bounds the quantity.
    """
    limit = _limit_on_tick(order, steps.tick_size)
    if limit is None or _satisfies(order.side, bar.open, limit):
        price = _slipped(order.side, bar.open, steps.tick_size, terms)
        price = _never_worse(order.side, price, limit)
    elif _satisfies(order.side, bar.low if order.side is Side.BUY else bar.high, limit):
        price = limit
    else:
        return _ended(order, Decimal(0), "limit not reached")
    if price <= 0:
        return _ended(order, Decimal(0), "no price left after slippage")
    return _fill(order, price, _Supply(bar.time, bar.volume), steps, terms)


def bar_of(candles: Candles, index: int) -> Bar:
    """The candle at `index` in decimals, exactly as its numbers are written."""
    prices = (Decimal(repr(price)) for price in candles.prices()[:, index].tolist())
    opened, high, low, close, volume = prices
    time = int(candles.time[index])
    return Bar(time=time, open=opened, high=high, low=low, close=close, volume=volume)


def _limit_on_tick(order: WorkingOrder, tick: Decimal) -> Decimal | None:
    """The limit on the tick grid, on the order's safe side; None for a market order."""
    if order.type is OrderType.MARKET or order.limit_price is None:
        return None
    if order.side is Side.BUY:
        return floor_to(order.limit_price, tick)
    return ceil_to(order.limit_price, tick)


def _satisfies(side: Side, price: Decimal, limit: Decimal) -> bool:
    return price <= limit if side is Side.BUY else price >= limit


def _slipped(side: Side, price: Decimal, tick: Decimal, terms: Terms) -> Decimal:
    slippage = EXACT.divide(terms.slippage_bps, BASIS_POINTS)
    if side is Side.BUY:
        return ceil_to(EXACT.multiply(price, 1 + slippage), tick)
    return floor_to(EXACT.multiply(price, 1 - slippage), tick)


def _never_worse(side: Side, price: Decimal, limit: Decimal | None) -> Decimal:
    if limit is None:
        return price
    return min(price, limit) if side is Side.BUY else max(price, limit)


def _available(order: WorkingOrder, supply: _Supply, lot: Decimal, terms: Terms) -> Decimal | None:
    """What this candle still gives this order: between half of its share and all of it."""
    if terms.max_volume_share is None:
        return None
    part = (1 + draw(terms.seed, order.client_order_id, supply.candle_time, "volume")) / 2
    share = EXACT.multiply(EXACT.multiply(supply.volume, terms.max_volume_share), part)
    return floor_to(max(share - order.filled_of(supply.candle_time), Decimal(0)), lot)


def _fill(
    order: WorkingOrder,
    price: Decimal,
    supply: _Supply,
    steps: Steps,
    terms: Terms,
) -> Match:
    wanted = floor_to(order.remaining, steps.lot_size)
    available = _available(order, supply, steps.lot_size, terms)
    quantity = wanted if available is None else min(wanted, available)
    if quantity <= 0:
        return _ended(order, Decimal(0), "no volume" if wanted > 0 else "below one lot")
    number = order.fills + 1
    execution = Execution(
        fill_id=fill_id(order.client_order_id, number),
        number=number,
        quantity=quantity,
        price=price,
        fee=fee_of(EXACT.multiply(quantity, price), terms),
    )
    left = order.remaining - quantity
    if left == 0:
        return Match(state=OrderStatus.FILLED, executions=(execution,))
    # What is below one lot can never fill, so that an order must not rest for it.
    reason = "no volume" if left >= steps.lot_size else "below one lot"
    ended = _ended(order, quantity, reason)
    return Match(state=ended.state, executions=(execution,), reason=ended.reason)


def _ended(order: WorkingOrder, filled_now: Decimal, reason: str) -> Match:
    """Without a full fill: a good-till-cancel limit order rests, any other is cancelled."""
    rests = order.time_in_force is TimeInForce.GTC and order.type is OrderType.LIMIT
    if not rests or reason == "below one lot":
        return Match(state=OrderStatus.CANCELED, reason=reason)
    filled = order.filled_quantity + filled_now > 0
    state = OrderStatus.PARTIAL if filled else OrderStatus.ACCEPTED
    return Match(state=state, reason=reason)
