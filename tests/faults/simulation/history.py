"""What is watched while a run goes on: facts that the final state does not show any more."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from engine.domain.ledger_values import OpenedCycle, SendGrant
from engine.domain.model import FillEvent, Order, PortfolioSnapshot, Side, TradingState
from engine.errors import Refused, ServiceRejected
from engine.settings import Settings
from tests.faults.simulation.scheduler import Process
from tests.faults.simulation.venue import OPEN, Venue

ZERO = Decimal(0)
VARYING = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{8}T\d{6}Z-[0-9a-f]{8}|\d+")


@dataclass
class HaltPeriod:
    """From the answer to a halt to the first resume that was asked for afterwards."""

    since: int
    ledger: bool
    execution: bool
    until: int | None = None


@dataclass
class History:
    """Breaches that were seen as they happened, halts, and counts of what occurred."""

    settings: Settings
    venue: Venue
    raw: sqlite3.Connection
    step: Callable[[], int]
    now_s: Callable[[], float]
    opened_s: dict[str, float] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)
    halts: list[HaltPeriod] = field(default_factory=list)
    sends: dict[str, int] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    first_bodies: dict[str, str] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    limits_bound: bool = False
    _granted: set[str] = field(default_factory=set)

    def watch(self, name: str, _args: tuple[Any, ...], result: object, process: Process) -> None:
        """After each step."""
        if name == "orders.begin_send" and isinstance(result, SendGrant):
            self._send(result)
        elif name == "cycles.open" and isinstance(result, OpenedCycle):
            self.opened_s.setdefault(result.cycle_id, self.now_s())
        elif name == "orders.allocate":
            self._allocate(result, process)
        elif name.startswith("execution.") and isinstance(result, ServiceRejected):
            self.seen[f"execution refuses {name.partition('.')[2]}: {result.kind}"] += 1

    def _send(self, grant: SendGrant) -> None:
        order = grant.order
        if order is None:
            self.seen[f"not sent: {VARYING.sub('#', grant.refusal)}"] += 1
            return
        self.seen["sent"] += 1
        sent = self.sends.get(order.client_order_id, 0) + 1
        self.sends[order.client_order_id] = sent
        most = self.settings.timing.max_sends_per_order
        if sent > most:
            self.breaches.append(f"order {order.client_order_id} is sent {sent} times, not {most}")
        epoch, effective = self.raw.execute("select epoch, effective from account").fetchone()
        if order.epoch != epoch:
            detail = f"epoch {order.epoch} while the ledger is at {epoch}"
            self.breaches.append(f"I3 order {order.client_order_id} is sent in {detail}")
        state = TradingState(effective)
        is_exit = order.side is Side.SELL
        if state is TradingState.HALTED or (state is TradingState.REDUCING and not is_exit):
            self.breaches.append(f"I12 order {order.client_order_id} is sent while {state}")
        for period in self.halts:
            if period.ledger and period.until is None:
                self.breaches.append(f"I12 order {order.client_order_id} leaves after the halt")

    def _allocate(self, result: object, process: Process) -> None:
        if isinstance(result, Refused):
            self.seen[f"not allocated: {VARYING.sub('#', str(result))}"] += 1
        if not isinstance(result, tuple):
            return
        fresh = [o for o in result if o.client_order_id not in self._granted]
        self._granted |= {order.client_order_id for order in fresh}
        for order in fresh:
            self.first_bodies.setdefault(order.client_order_id, order.body)
        snapshot = process.memory.get("snapshot")
        if fresh and snapshot is not None:
            self.breaches += [f"I9 {text}" for text in self._over(snapshot, fresh)]

    def _over(self, snapshot: PortfolioSnapshot, fresh: list[Order]) -> list[str]:
        """Limits that what is held, on order and new would break, by the venue's own truth."""
        cash, values = snapshot.cash, {held.symbol: held.value for held in snapshot.positions}
        selling: dict[str, Decimal] = {}
        for symbol, side, quantity, price in self._needs(snapshot.applied_seq):
            if side is Side.SELL:
                selling[symbol] = selling.get(symbol, ZERO) + quantity
                continue
            cash -= quantity * price * (1 + self.settings.risk.max_fee)
            values[symbol] = values.get(symbol, ZERO) + quantity * price
        sales = [order for order in fresh if order.side is Side.SELL]
        entries = [order for order in fresh if order.side is Side.BUY]
        found = []
        for order in sales:
            held = snapshot.position(order.symbol)
            owned = ZERO if held is None else held.quantity
            if selling.get(order.symbol, ZERO) > owned:
                found.append(f"{selling[order.symbol]} {order.symbol} on sale, {owned} held")
        if entries:
            found += self._over_entries(entries, snapshot, cash, values)
        return found

    def _over_entries(
        self,
        entries: list[Order],
        snapshot: PortfolioSnapshot,
        cash: Decimal,
        values: dict[str, Decimal],
    ) -> list[str]:
        equity, held = snapshot.equity, {position.symbol for position in snapshot.positions}
        risk, share = self.settings.risk, self.settings.trading_engine.max_position_size_pct
        exposure, most = sum(values.values(), ZERO), risk.max_open_positions
        taken = sum(1 for value in values.values() if value > 0)
        # What another opened may be more than the limit: to add to a position opens none.
        opens = any(order.symbol not in held for order in entries)
        told = {
            f"{cash} cash at worst, equity {equity}": cash < equity * risk.min_cash,
            f"exposure {exposure}, equity {equity}": exposure > equity * risk.max_gross_exposure,
            f"{taken} positions, at most {most}": opens and taken > most,
        }
        for order in entries:
            notional, value = order.quantity * order.limit_price, values[order.symbol]
            told[f"order of {notional}"] = notional > risk.max_order_notional
            told[f"{value} of {order.symbol}, equity {equity}"] = value > equity * share
        return [text for text, is_over in told.items() if is_over]

    def _needs(self, applied_seq: int) -> list[tuple[str, Side, Decimal, Decimal]]:
        """What every order of this ledger may still cost beyond the snapshot, at worst."""
        late: dict[str, Decimal] = {}
        early: dict[str, Decimal] = {}
        for event in self.venue.log:
            if isinstance(event, FillEvent):
                kept = late if event.seq > applied_seq else early
                identity = event.client_order_id
                kept[identity] = kept.get(identity, ZERO) + event.quantity
        rows = self.raw.execute(
            "select client_order_id, symbol, side, quantity, limit_price, status from orders"
            " where cycle_id != 'adopted'"
        )
        needs = []
        for identity, symbol, side, quantity, price, _status in rows:
            held = self.venue.orders.get(identity)
            if held is None or held.state in OPEN:
                open_quantity = Decimal(quantity) - early.get(identity, ZERO)
            else:
                open_quantity = late.get(identity, ZERO)
            if open_quantity > 0:
                needs.append((symbol, Side(side), open_quantity, Decimal(price)))
        return needs

    def halted(self, *, ledger: bool, execution: bool) -> None:
        """A halt was answered."""
        self.halts.append(HaltPeriod(self.step(), ledger, execution))
        self.seen[f"halt: ledger {ledger}, execution {execution}"] += 1

    def resuming(self) -> None:
        """A resume is asked for."""
        for period in self.halts:
            if period.until is None:
                period.until = self.step()
