"""A thousand random histories of fills and marks, each worked out again in other terms.

Seeded and plain rather than drawn one by one: so many long ones would take hypothesis minutes.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext

from engine.domain import account as accounts
from engine.domain.model import Fill, Side
from engine.domain.trades import closed_trades, total

HISTORIES = 1000
CENT = Decimal("0.01")
CASH = Decimal(100000)
START = datetime(2025, 11, 20, 21, tzinfo=UTC)


@dataclass
class Ledger:
    """The same account as lists of entries: nothing is carried along, all is summed at the end."""

    payments: list[Decimal] = field(default_factory=list)
    fees: list[Decimal] = field(default_factory=list)
    moves: dict[str, list[Decimal]] = field(default_factory=dict)
    marks: dict[str, Decimal] = field(default_factory=dict)
    equities: list[tuple[datetime, Decimal]] = field(default_factory=list)

    def fill(self, fill: Fill) -> None:
        sign = 1 if fill.side is Side.BUY else -1
        self.payments.append(-sign * fill.quantity * fill.price)
        self.fees.append(fill.fee)
        if self.held(fill.symbol) == 0:
            self.marks[fill.symbol] = fill.price
        self.moves.setdefault(fill.symbol, []).append(sign * fill.quantity)
        self.note(fill.filled_at)

    def mark(self, prices: dict[str, Decimal], at: datetime) -> None:
        self.marks |= {symbol: price for symbol, price in prices.items() if self.held(symbol)}
        self.note(at)

    def held(self, symbol: str) -> Decimal:
        return sum(self.moves.get(symbol, []), Decimal(0))

    def cash(self) -> Decimal:
        return CASH + sum(self.payments) - sum(self.fees)

    def equity(self) -> Decimal:
        return self.cash() + sum(self.held(s) * self.marks[s] for s in self.moves)

    def note(self, at: datetime) -> None:
        self.equities.append((at, self.equity()))

    def day_start(self) -> Decimal:
        """What the day before the last ended with; the beginning's where there was none."""
        last = self.equities[-1][0].date()
        before = [equity for at, equity in self.equities if at.date() < last]
        return before[-1] if before else CASH


def drawn(seed: int) -> tuple[accounts.Account, Ledger, list[Fill]]:
    """One history of 5 to 40 fills and marks over three symbols."""
    source = random.Random(seed)  # noqa: S311  it draws examples
    symbols = ("A/USD", "B/USD", "C/USD")
    account, ledger, fills = accounts.open_account("paper", "USD", CASH), Ledger(), []
    at = START
    for seq in range(1, source.randint(5, 40) + 1):
        at += timedelta(minutes=source.randint(1, 400))
        if source.random() < 0.3:
            prices = {symbol: amount(source, 4) for symbol in source.sample(symbols, 2)}
            account = accounts.apply_marks(account, prices, at)
            ledger.mark(prices, at)
            continue
        fills.append(one_fill(source, ledger, source.choice(symbols), seq, at))
        account = accounts.apply_fill(account, fills[-1])
        ledger.fill(fills[-1])
    return account, ledger, fills


def one_fill(source: random.Random, ledger: Ledger, symbol: str, seq: int, at: datetime) -> Fill:
    held = ledger.held(symbol)
    sells = held > 0 and source.random() < 0.5
    quantity = amount(source, 8)
    if sells:
        quantity = held if source.random() < 0.4 else min(quantity, held)
    return Fill(
        seq=seq,
        fill_id=str(seq),
        client_order_id=f"o{seq}",
        symbol=symbol,
        side=Side.SELL if sells else Side.BUY,
        quantity=quantity,
        price=amount(source, 8),
        fee=amount(source, 8) / 1000,
        filled_at=at,
        strategy="x",
    )


def amount(source: random.Random, places: int) -> Decimal:
    """A number of so many decimals, over six orders of magnitude."""
    size = 10 ** source.uniform(-2, 4)
    return Decimal(round(size * 10**places) + 1).scaleb(-places)


def cents(value: Decimal) -> Decimal:
    return value.quantize(CENT, ROUND_HALF_UP)


def test_a_thousand_histories_equal_the_sum_of_their_entries_to_the_cent() -> None:
    with localcontext(prec=60):
        for seed in range(HISTORIES):
            account, ledger, fills = drawn(seed)
            assert cents(account.cash) == cents(ledger.cash()), seed
            assert cents(account.equity) == cents(ledger.equity()), seed
            assert account.equity == ledger.equity(), seed
            assert account.fees == sum(ledger.fees), seed
            assert cents(account.realized_pnl + account.unrealized_pnl) == cents(
                ledger.equity() - CASH
            ), seed
            assert account.peak_equity == max(CASH, *(each for _, each in ledger.equities)), seed
            assert account.day_start_equity == ledger.day_start(), seed
            if not account.holdings:
                profits = total(trade.profit for trade in closed_trades(fills))
                assert account.realized_pnl == profits, seed
