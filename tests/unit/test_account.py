"""An account after fills and marks, worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from engine.domain import account as accounts
from engine.domain.account import Account, Oversold
from engine.domain.model import Fill, Side

NOON = datetime(2025, 11, 22, 12, tzinfo=UTC)


def make_fill(seq: int = 1, **changed: Any) -> Fill:
    fields: dict[str, Any] = {
        "seq": seq,
        "fill_id": f"fill-{seq}",
        "client_order_id": f"order-{seq}",
        "symbol": "BTC/USD",
        "side": Side.BUY,
        "quantity": Decimal(2),
        "price": Decimal(100),
        "fee": Decimal("0.2"),
        "filled_at": NOON,
        "strategy": "sma_cross",
    }
    return Fill(**fields | changed)


def after(*fills: Fill, cash: str = "1000") -> Account:
    account = accounts.open_account("paper", "USD", Decimal(cash))
    for fill in fills:
        account = accounts.apply_fill(account, fill)
    return account


def test_a_buy_moves_cash_into_a_holding_and_pays_its_fee() -> None:
    account = after(make_fill())
    held = account.holdings["BTC/USD"]
    assert (account.cash, account.fees) == (Decimal("799.8"), Decimal("0.2"))
    assert (held.quantity, held.average_price, held.version) == (2, 100, 1)
    assert (held.strategy, held.opened_at) == ("sma_cross", NOON)
    assert (account.equity, account.realized_pnl) == (Decimal("999.8"), Decimal("-0.2"))


def test_a_second_buy_averages_the_price_and_raises_the_version() -> None:
    later = NOON + timedelta(hours=1)
    account = after(
        make_fill(), make_fill(5, quantity=Decimal(1), price=Decimal(130), filled_at=later)
    )
    held = account.holdings["BTC/USD"]
    assert (held.average_price, held.version, held.opened_at) == (110, 5, NOON)


def test_a_part_sold_realises_its_share_of_the_cost() -> None:
    sell = make_fill(3, side=Side.SELL, quantity=Decimal(1), price=Decimal(120))
    account = after(make_fill(), sell)
    assert account.realized_pnl == Decimal(20) - Decimal("0.4")
    assert account.holdings["BTC/USD"].cost == 100


def test_the_whole_sold_leaves_no_holding_and_all_of_the_result() -> None:
    sell = make_fill(3, side=Side.SELL, price=Decimal(90))
    account = after(make_fill(), sell)
    assert dict(account.holdings) == {}
    assert account.realized_pnl == Decimal(-20) - Decimal("0.4")
    assert account.equity == account.cash == Decimal(1000) + account.realized_pnl


def test_the_cost_of_thirds_adds_up_to_the_whole() -> None:
    buy = make_fill(quantity=Decimal(3), price=Decimal("33.33"))
    sells = [
        make_fill(n, side=Side.SELL, quantity=Decimal(1), price=Decimal(40)) for n in (2, 3, 4)
    ]
    account = after(buy, *sells)
    assert account.realized_pnl == Decimal(120) - Decimal("99.99") - Decimal("0.8")


def test_selling_more_than_is_held_is_refused() -> None:
    with pytest.raises(Oversold, match="only 2 is held"):
        after(make_fill(), make_fill(2, side=Side.SELL, quantity=Decimal(3)))
    with pytest.raises(Oversold, match="only 0 is held"):
        after(make_fill(side=Side.SELL))


def test_a_fill_of_another_strategy_keeps_the_owner() -> None:
    account = after(make_fill(), make_fill(2, strategy="macd"))
    assert account.holdings["BTC/USD"].strategy == "sma_cross"


def test_a_fill_without_a_strategy_opens_a_foreign_position() -> None:
    assert after(make_fill(strategy="")).holdings["BTC/USD"].strategy is None


def test_marks_value_what_is_held_and_raise_the_peak() -> None:
    account = accounts.apply_marks(
        after(make_fill()), {"BTC/USD": Decimal(150), "ETH/USD": Decimal(1)}, NOON
    )
    assert account.unrealized_pnl == 100
    assert account.equity == account.peak_equity == Decimal("1099.8")
    fallen = accounts.apply_marks(account, {"BTC/USD": Decimal(50)}, NOON)
    assert (fallen.equity, fallen.peak_equity) == (Decimal("899.8"), Decimal("1099.8"))


def test_marks_older_than_the_last_ones_change_nothing() -> None:
    account = accounts.apply_marks(after(make_fill()), {"BTC/USD": Decimal(150)}, NOON)
    older = accounts.apply_marks(account, {"BTC/USD": Decimal(1)}, NOON - timedelta(seconds=1))
    assert older is account


def test_a_day_starts_with_the_equity_that_the_day_before_ended_with() -> None:
    account = accounts.apply_marks(after(make_fill()), {"BTC/USD": Decimal(110)}, NOON)
    assert account.day_start_equity == 1000
    midnight = datetime(2025, 11, 23, tzinfo=UTC)
    account = accounts.apply_marks(account, {"BTC/USD": Decimal(50)}, midnight)
    assert (account.day_start_equity, account.equity) == (Decimal("1019.8"), Decimal("899.8"))
    account = accounts.apply_marks(
        account, {"BTC/USD": Decimal(60)}, midnight + timedelta(hours=23)
    )
    assert account.day_start_equity == Decimal("1019.8")


def test_a_new_holding_is_worth_its_fill_until_it_is_marked() -> None:
    account = accounts.apply_marks(after(make_fill()), {"BTC/USD": Decimal(110)}, NOON)
    account = accounts.apply_fill(account, make_fill(2, price=Decimal(120)))
    assert account.holdings["BTC/USD"].market_price == 110


def test_what_follows_from_an_account_has_an_equity_of_its_own() -> None:
    """It is added up once, and never carried over to another account."""
    account = after(make_fill())
    before = account.equity
    marked = accounts.apply_marks(account, {"BTC/USD": Decimal(150)}, NOON + timedelta(hours=1))
    assert account.equity is before
    assert marked.equity == before + 100
    assert account == after(make_fill())


def test_a_snapshot_lists_positions_by_symbol() -> None:
    account = after(make_fill(), make_fill(2, symbol="ADA/USD", price=Decimal("0.5")))
    seen = accounts.snapshot(account, 9, NOON)
    assert [held.symbol for held in seen.positions] == ["ADA/USD", "BTC/USD"]
    assert (seen.applied_seq, seen.equity) == (9, account.equity)


def test_an_equity_point_is_at_market_time() -> None:
    assert accounts.equity_point(after()) is None
    point = accounts.equity_point(after(make_fill()))
    assert point is not None
    assert (point.time, point.equity, point.cash) == (NOON, "999.8", "799.8")
