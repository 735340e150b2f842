"""The replayed account: it holds, it is marked, and its orders meet the paper broker."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.domain import account as accounts
from engine.domain.matching import Execution, Picture, Terms, WorkingOrder
from engine.domain.model import (
    Fill,
    Order,
    OrderStatus,
    OrderType,
    PortfolioSnapshot,
    TimeInForce,
)
from engine.domain.performance import Curve
from replay.memory import Memory, Placed
from services.execution.brokers.paper import PaperBroker
from services.execution.limits import HardLimits, breach
from services.execution.prices import MarketPrice, UnknownSymbol

Floats = NDArray[np.float64]


class NoPrices:
    """The broker is handed each market; it never has to ask for one."""

    def price(self, symbol: str) -> MarketPrice:
        """Nothing is known here."""
        raise UnknownSymbol(symbol)


class ReplayAccount:
    """One account over the whole history, and its equity after each of so many moments."""

    def __init__(
        self, account: accounts.Account, memory: Memory, terms: Terms, limits: HardLimits | None
    ) -> None:
        self.account = account
        self.memory = memory
        self.fills: list[Fill] = []
        self.start = account.equity
        self.curve = Curve(np.zeros(0), np.zeros(0))
        self.cash: list[Decimal] = []
        self._broker = PaperBroker(NoPrices(), terms)
        self._limits = limits

    def begin(self, times: Floats) -> None:
        """Points of the equity curve to come; until then it is what the account begins with."""
        self.curve = Curve(times, np.full(len(times), float(self.account.equity)))
        self.cash = [self.account.cash] * len(times)

    def snapshot(self, now: datetime) -> PortfolioSnapshot:
        """The account as the rules see it."""
        return accounts.snapshot(self.account, len(self.fills), now)

    def mark(self, prices: dict[str, Decimal], now: datetime) -> None:
        """Value the holdings anew, and move the account's day on."""
        self.account = accounts.apply_marks(self.account, prices, now)

    def note(self, place: int) -> None:
        """The account as it is, at this point of the equity curve."""
        self.curve.equity[place] = float(self.account.equity)
        self.cash[place] = self.account.cash

    def place(self, order: Order, picture: Picture, filled_in: int) -> None:
        """Send one order to the paper broker, and book what becomes of it."""
        working = WorkingOrder(
            client_order_id=order.client_order_id,
            side=order.side,
            type=OrderType.LIMIT,
            time_in_force=TimeInForce.IOC,
            quantity=order.quantity,
            limit_price=order.limit_price,
        )
        reason = self._refusal(working, order, picture)
        if reason:
            self.book(
                msgspec.structs.replace(order, status=OrderStatus.REJECTED, reason=reason),
                (),
                filled_in,
            )
            return
        match = self._broker.match(working, picture)
        ended = msgspec.structs.replace(order, status=match.state, reason=match.reason)
        self.book(ended, match.executions, filled_in)

    def book(self, order: Order, executions: tuple[Execution, ...], filled_in: int) -> None:
        """Take an ended order and its fills into the books."""
        fills = tuple(
            Fill(
                seq=len(self.fills) + number,
                fill_id=each.fill_id,
                client_order_id=order.client_order_id,
                symbol=order.symbol,
                side=order.side,
                quantity=each.quantity,
                price=each.price,
                fee=each.fee,
                filled_at=order.market_time,
                strategy=order.strategy,
            )
            for number, each in enumerate(executions, start=1)
        )
        for fill in fills:
            self.account = accounts.apply_fill(self.account, fill)
        self.fills += fills
        is_flat = order.symbol not in self.account.holdings
        self.memory.add(Placed(order, fills, filled_in), is_flat=is_flat)

    def _refusal(self, working: WorkingOrder, order: Order, picture: Picture) -> str:
        """The service's hard limits (where limits hold), and what the venue cannot take."""
        broken = ""
        if self._limits is not None:
            broken = breach(working, order.reference_price, picture, self._limits)
        return broken or self._broker.refusal(working, picture)
