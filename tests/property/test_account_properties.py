"""An account equals an independent recomputation, whatever the fills and marks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain import account as accounts
from engine.domain.account import Oversold
from engine.domain.model import Fill, Side

START = datetime(2025, 11, 22, 20, tzinfo=UTC)
SYMBOLS = ["ADA/USD", "BTC/USD"]
CASH = Decimal(100000)
COST_ERROR = Fraction(1, 10**11)

amounts = st.integers(1, 10**12 - 1).map(lambda units: Decimal(units).scaleb(-8))


@st.composite
def histories(draw: Callable[..., Any]) -> list[Fill]:
    """Fills of two symbols; a sell never exceeds the holding."""
    held = dict.fromkeys(SYMBOLS, Decimal(0))
    fills: list[Fill] = []
    for seq in range(1, draw(st.integers(1, 25)) + 1):
        symbol = draw(st.sampled_from(SYMBOLS))
        quantity, sells = draw(amounts), held[symbol] > 0 and draw(st.booleans())
        if sells:
            quantity = held[symbol] if draw(st.booleans()) else min(quantity, held[symbol])
        held[symbol] += -quantity if sells else quantity
        fills.append(
            Fill(
                seq=seq,
                fill_id=str(seq),
                client_order_id=str(seq),
                symbol=symbol,
                side=Side.SELL if sells else Side.BUY,
                quantity=quantity,
                price=draw(amounts),
                fee=draw(amounts) / 2000,
                filled_at=START + timedelta(hours=seq),
                strategy=f"s{seq}",
            )
        )
    return fills


@settings(max_examples=150)
@given(histories())
def test_the_account_is_the_exact_sum_of_its_fills(fills: list[Fill]) -> None:
    account = accounts.open_account("paper", "USD", CASH)
    cash, quantity = Fraction(CASH), dict.fromkeys(SYMBOLS, Fraction(0))
    owner: dict[str, str] = {}
    for fill in fills:
        account = accounts.apply_fill(account, fill)
        sign = 1 if fill.side is Side.BUY else -1
        cash -= sign * Fraction(fill.quantity) * Fraction(fill.price) + Fraction(fill.fee)
        quantity[fill.symbol] += sign * Fraction(fill.quantity)
        if quantity[fill.symbol] == 0:
            owner.pop(fill.symbol, None)
        else:
            owner.setdefault(fill.symbol, fill.strategy)
    assert Fraction(account.cash) == cash
    held = {symbol: Fraction(each.quantity) for symbol, each in account.holdings.items()}
    assert held == {symbol: each for symbol, each in quantity.items() if each}
    assert {symbol: each.strategy for symbol, each in account.holdings.items()} == owner
    assert account.fees == sum(fill.fee for fill in fills)


@settings(max_examples=150)
@given(histories(), st.lists(amounts, min_size=2, max_size=2))
def test_equity_is_starting_cash_and_both_results_to_the_last_digit(
    fills: list[Fill], marks: list[Decimal]
) -> None:
    account = accounts.open_account("paper", "USD", CASH)
    for fill in fills:
        account = accounts.apply_fill(account, fill)
    account = accounts.apply_marks(
        account, dict(zip(SYMBOLS, marks, strict=True)), START + timedelta(days=3)
    )
    results = Fraction(account.realized_pnl) + Fraction(account.unrealized_pnl)
    assert Fraction(account.equity) == Fraction(CASH) + results
    assert account.peak_equity >= max(account.equity, CASH)
    assert all(each.cost >= 0 for each in account.holdings.values())


@settings(max_examples=100)
@given(histories())
def test_the_realised_result_is_that_of_the_average_cost_method(fills: list[Fill]) -> None:
    account = accounts.open_account("paper", "USD", CASH)
    cost, quantity = dict.fromkeys(SYMBOLS, Fraction(0)), dict.fromkeys(SYMBOLS, Fraction(0))
    realised = Fraction(0)
    for fill in fills:
        account = accounts.apply_fill(account, fill)
        amount, value = Fraction(fill.quantity), Fraction(fill.quantity) * Fraction(fill.price)
        realised -= Fraction(fill.fee)
        if fill.side is Side.BUY:
            cost[fill.symbol] += value
            quantity[fill.symbol] += amount
            continue
        part = cost[fill.symbol] * amount / quantity[fill.symbol]
        realised += value - part
        cost[fill.symbol] -= part
        quantity[fill.symbol] -= amount
    assert abs(Fraction(account.realized_pnl) - realised) < COST_ERROR


@settings(max_examples=50)
@given(histories())
def test_a_sell_of_one_unit_more_than_is_held_is_refused(fills: list[Fill]) -> None:
    account = accounts.open_account("paper", "USD", CASH)
    for fill in fills:
        account = accounts.apply_fill(account, fill)
    last = fills[-1]
    held = account.holdings.get(last.symbol)
    more = (Decimal(0) if held is None else held.quantity) + Decimal("0.00000001")
    fields = {name: getattr(last, name) for name in Fill.__struct_fields__}
    with pytest.raises(Oversold):
        accounts.apply_fill(account, Fill(**fields | {"side": Side.SELL, "quantity": more}))
