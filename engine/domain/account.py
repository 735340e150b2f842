"""Fills and marks -> cash, positions, results, fees. Exact: nothing is ever rounded away.

A holding keeps its cost, not its average price, so that sums of parts equal the whole. Fees are
charged to the realised result when they are paid; hence at every moment

    equity = starting cash + realised result + unrealised result
           = cash + sum of quantity x market price.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal, localcontext

import msgspec

from engine.domain.amounts import EXACT, ZERO, plain
from engine.domain.decimals import decimal_text
from engine.domain.messages import EquityPoint
from engine.domain.model import Fill, PortfolioSnapshot, Position, Side, Value
from engine.errors import Refused

# Shown prices and costs of parts have so many places; what a part rounds off stays in the rest.
COST_STEP = Decimal("0.000000000001")


class Oversold(Refused):
    """A sell of more than is held: the fills contradict the account."""


class Holding(Value, frozen=True, kw_only=True):
    """An open position. `cost` is what its quantity was bought for, without fees.

    `version` is the seq of the last fill; `strategy` is None for a foreign position.
    """

    symbol: str
    quantity: Decimal
    cost: Decimal
    market_price: Decimal
    strategy: str | None
    opened_at: datetime
    version: int

    @property
    def average_price(self) -> Decimal:
        """Cost of one unit, to 12 places."""
        return _average(self.cost, self.quantity)

    @property
    def value(self) -> Decimal:
        """Quantity at the market price."""
        return EXACT.multiply(self.quantity, self.market_price)


@functools.lru_cache(maxsize=4096)
def _average(cost: Decimal, quantity: Decimal) -> Decimal:
    price = EXACT.divide(cost, quantity)
    return plain(price.quantize(COST_STEP, ROUND_HALF_EVEN, EXACT))


class Account(Value, frozen=True, kw_only=True, gc=True, dict=True):
    """An account at one instant of market time (`market_time`, None before any event).

    `realized_pnl` is net of `fees`. `marked_at` is the market time of the last marks.
    `holdings` maps symbol to holding and is never changed in place.
    """

    name: str
    currency: str
    starting_cash: Decimal
    cash: Decimal
    realized_pnl: Decimal
    fees: Decimal
    peak_equity: Decimal
    day_start_equity: Decimal
    holdings: Mapping[str, Holding] = {}
    market_time: datetime | None = None
    marked_at: datetime | None = None

    @functools.cached_property
    def equity(self) -> Decimal:
        """Cash and every holding at its market price; added up once."""
        total = EXACT.add(self.cash, ZERO)
        for held in self.holdings.values():
            total = EXACT.fma(held.quantity, held.market_price, total)
        return total

    @property
    def unrealized_pnl(self) -> Decimal:
        """Value of the holdings above their cost."""
        with localcontext(EXACT):
            return sum((held.value - held.cost for held in self.holdings.values()), Decimal(0))


def open_account(name: str, currency: str, cash: Decimal) -> Account:
    """A new account that holds nothing but cash."""
    return Account(
        name=name,
        currency=currency,
        starting_cash=cash,
        cash=cash,
        realized_pnl=Decimal(0),
        fees=Decimal(0),
        peak_equity=cash,
        day_start_equity=cash,
    )


def apply_fill(account: Account, fill: Fill) -> Account:
    """The account after `fill`. Raises Oversold for a sell beyond the holding.

    A position's owner is the strategy of the fill that opened it. A new holding is valued at
    its fill's price until it is marked; an existing one keeps its mark.
    """
    account = _at(account, fill.filled_at)
    account = _bought(account, fill) if fill.side is Side.BUY else _sold(account, fill)
    return _with_peak(account)


def apply_marks(account: Account, prices: Mapping[str, Decimal], as_of: datetime) -> Account:
    """The account at new market prices; prices of symbols not held do nothing.

    Marks older than the last ones change nothing: the same account is returned.
    """
    if account.marked_at is not None and as_of < account.marked_at:
        return account
    account = _at(account, as_of)
    holdings = {
        symbol: msgspec.structs.replace(held, market_price=prices.get(symbol, held.market_price))
        for symbol, held in account.holdings.items()
    }
    return _with_peak(msgspec.structs.replace(account, holdings=holdings, marked_at=as_of))


def snapshot(account: Account, applied_seq: int, as_of: datetime) -> PortfolioSnapshot:
    """The account as others see it, positions by symbol."""
    return PortfolioSnapshot(
        account=account.name,
        currency=account.currency,
        cash=account.cash,
        equity=account.equity,
        peak_equity=account.peak_equity,
        day_start_equity=account.day_start_equity,
        realized_pnl=account.realized_pnl,
        positions=tuple(position_of(held) for _, held in sorted(account.holdings.items())),
        applied_seq=applied_seq,
        as_of=as_of,
    )


def equity_point(account: Account) -> EquityPoint | None:
    """The point of the equity curve at the account's market time; None before any event."""
    if account.market_time is None:
        return None
    return EquityPoint(
        time=account.market_time,
        equity=decimal_text(account.equity),
        cash=decimal_text(account.cash),
    )


def position_of(held: Holding) -> Position:
    """The holding as others see it."""
    return Position(
        symbol=held.symbol,
        quantity=held.quantity,
        average_price=held.average_price,
        market_price=held.market_price,
        strategy=held.strategy,
        opened_at=held.opened_at,
        version=held.version,
    )


def _at(account: Account, time: datetime) -> Account:
    """The account moved to market time `time`; an earlier time moves nothing.

    A new UTC day starts with the equity that the day before ended with.
    """
    before = account.market_time
    if before is not None and time <= before:
        return account
    if before is None or time.astimezone(UTC).date() != before.astimezone(UTC).date():
        account = msgspec.structs.replace(account, day_start_equity=account.equity)
    return msgspec.structs.replace(account, market_time=time)


def _with_peak(account: Account) -> Account:
    equity = account.equity
    if equity <= account.peak_equity:
        return account
    return msgspec.structs.replace(account, peak_equity=equity)


def _bought(account: Account, fill: Fill) -> Account:
    held, value = account.holdings.get(fill.symbol), EXACT.multiply(fill.quantity, fill.price)
    grown = Holding(
        symbol=fill.symbol,
        quantity=EXACT.add(ZERO if held is None else held.quantity, fill.quantity),
        cost=EXACT.add(ZERO if held is None else held.cost, value),
        market_price=fill.price if held is None else held.market_price,
        strategy=(fill.strategy or None) if held is None else held.strategy,
        opened_at=fill.filled_at if held is None else held.opened_at,
        version=fill.seq,
    )
    return msgspec.structs.replace(
        account,
        cash=EXACT.subtract(EXACT.subtract(account.cash, value), fill.fee),
        realized_pnl=EXACT.subtract(account.realized_pnl, fill.fee),
        fees=EXACT.add(account.fees, fill.fee),
        holdings={**account.holdings, fill.symbol: grown},
    )


def _sold(account: Account, fill: Fill) -> Account:
    held = account.holdings.get(fill.symbol)
    if held is None or fill.quantity > held.quantity:
        owned = ZERO if held is None else held.quantity
        raise Oversold(f"sell of {fill.quantity} {fill.symbol}, but only {owned} is held")
    value, cost = EXACT.multiply(fill.quantity, fill.price), _cost_of_part(held, fill.quantity)
    holdings = {symbol: kept for symbol, kept in account.holdings.items() if symbol != fill.symbol}
    if fill.quantity < held.quantity:
        holdings[fill.symbol] = msgspec.structs.replace(
            held,
            quantity=EXACT.subtract(held.quantity, fill.quantity),
            cost=EXACT.subtract(held.cost, cost),
            version=fill.seq,
        )
    earned = EXACT.subtract(EXACT.add(account.realized_pnl, value), cost)
    return msgspec.structs.replace(
        account,
        cash=EXACT.subtract(EXACT.add(account.cash, value), fill.fee),
        realized_pnl=EXACT.subtract(earned, fill.fee),
        fees=EXACT.add(account.fees, fill.fee),
        holdings=holdings,
    )


def _cost_of_part(held: Holding, quantity: Decimal) -> Decimal:
    """The cost of a part of a holding; all of it for the whole, so that nothing is left over."""
    if quantity == held.quantity:
        return held.cost
    part = EXACT.divide(EXACT.multiply(held.cost, quantity), held.quantity)
    return part.quantize(COST_STEP, ROUND_DOWN, EXACT)
