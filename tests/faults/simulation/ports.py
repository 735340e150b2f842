"""The engine's ports as steps of the schedule: here turns change, and here things go wrong.

A transaction of the ledger is one step; a call of a service is two: its effect, and its reply.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from engine.domain.messages import EquityPoint, FillsApplied, MonitoringEvent
from engine.domain.model import Fill, PortfolioSnapshot, VenueOrder
from engine.errors import (
    LedgerUnavailable,
    OrderStateUnknown,
    ServiceUnavailable,
    TradingError,
)
from engine.ledger.ledger import SqlLedger
from tests.faults.simulation.account_book import AccountBook
from tests.faults.simulation.faults import Faults
from tests.faults.simulation.market import Market
from tests.faults.simulation.scheduler import Killed, Process, Scheduler
from tests.faults.simulation.venue import Venue

T = TypeVar("T")
Watcher = Callable[[str, tuple[Any, ...], Any, Process], None]

TIMEOUT_S = {"execution": 10.0, "portfolio": 3.0, "market_data": 10.0, "strategy": 10.0}
# A release that arrives after the next halt would undo it: nobody but the operator sends it again.
# Where a death or a delay is worth the most.
SENDERS = frozenset(
    {
        "orders.allocate",
        "orders.begin_send",
        "orders.record",
        "orders.mark_unknown",
        "orders.store_events",
        "execution.submit",
        "execution.void",
        "execution.set_fence",
        "portfolio.apply_fills",
    }
)
LATEST_S = 125.0  # of a request on the wire: past every deadline, before the operator leaves
NEVER_LATE = frozenset({"execution.resume"})


@dataclass
class Gate:
    """What every step passes: the schedule, the faults, and who watches."""

    scheduler: Scheduler
    faults: Faults
    watcher: Watcher
    trace: Callable[[str], None] | None = None
    down: dict[str, str] = field(default_factory=dict)  # service -> refused | silent
    on_kill: Callable[[Process], None] = lambda _process: None
    seen: Counter[str] = field(default_factory=Counter)

    @property
    def pace(self) -> float:
        """How slow the services are; healed ones are fast."""
        return 1.0 if self.faults.healed else self.faults.pace

    def note(self, text: str) -> None:
        """A line of the trace."""
        if self.trace is not None:
            self.trace(text)

    def process(self) -> Process:
        """Who is at it. Raises Killed in whoever is no more."""
        process = self.scheduler.current
        assert process is not None
        if process.killed:
            raise Killed
        return process

    def danger(self, where: str, name: str = "", kind: str = "kill") -> None:
        """The process may end or freeze here, before or after the step `name`."""
        process = self.process()
        faults, is_hot = self.faults, name in SENDERS
        if faults.has(kind, name) or (is_hot and faults.has("kill_sender")):
            self.note(f"KILLED {where} {name}")
            self._count(f"killed {where}", name)
            self.on_kill(process)
            process.killed = True
            raise Killed
        if faults.has("freeze", name) or (is_hot and faults.has("freeze_sender")):
            seconds = faults.between(*faults.freeze_s)
            self.note(f"frozen for {seconds:.0f} s {where} {name}")
            process.memory["froze"] = True
            self.scheduler.pause(seconds)
            self._count(f"thawed {where}", name)

    def _count(self, what: str, name: str) -> None:
        """Of the steps that matter most, each by its name."""
        if name in SENDERS:
            self.seen[f"{what} {name}"] += 1

    def travel(self, low: float, high: float, label: str) -> None:
        """Time passes; sometimes a lot."""
        if self.faults.has("slow", label):
            self.scheduler.pause(self.faults.between(0.5, 15.0))
        else:
            self.scheduler.pause(low + (high - low) * self.scheduler.random.random())

    def transaction(
        self, name: str, method: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> T:
        """One transaction of the ledger."""
        if self.scheduler.current is None:
            return method(*args, **kwargs)
        self.danger("before", name)
        if self.faults.has("ledger_busy"):
            self.scheduler.pause(5.0)
            self.note(f"{name}: the ledger does not answer")
            raise LedgerUnavailable("ledger: database is locked")
        self.travel(0.001, 0.01, name)
        try:
            result = method(*args, **kwargs)
        except TradingError as error:
            self.note(f"{name}: {type(error).__name__} {error}")
            self.watcher(name, args, error, self.process())
            raise
        if self.trace is not None:
            self.note(f"{name}({_shown(args)}) -> {_brief(result)}")
        self.watcher(name, args, result, self.process())
        self.danger("after", name)
        return result

    def call(
        self,
        service: str,
        name: str,
        effect: Callable[[], T],
        *,
        unknown: Callable[[str], TradingError] | None = None,
    ) -> T:
        """One call of a service. `unknown` makes the error of a call whose fate nobody knows."""
        label = f"{service}.{name}"
        self.danger("before", label)
        self._reach(service, label, unknown)
        self.travel(0.002 * self.pace, 0.05 * self.pace, label)
        self._lose_request(service, label, effect, unknown)
        try:
            result: Any = effect()
        except TradingError as error:
            result = error
        if self.trace is not None:
            self.note(f"{label}: {_brief(result)}")
        self.watcher(label, (), result, self.process())
        self.danger("after the effect of", label)
        if self.faults.has("lost_reply", label):
            self._count("lost the reply of", label)
            self._time_out(service, f"{label}: its reply is lost", unknown)
        self.travel(0.001 * self.pace, 0.02 * self.pace, label)
        self.danger("after the reply of", label)
        if isinstance(result, TradingError):
            raise result
        return result  # type: ignore[no-any-return]

    def _reach(
        self, service: str, label: str, unknown: Callable[[str], TradingError] | None
    ) -> None:
        how = self.down.get(service)
        if how == "refused" or self.faults.has("refused", label):
            self.scheduler.pause(0.005)
            self.note(f"{label}: nobody listens")
            raise ServiceUnavailable(service, "connection refused", accepted=False)
        if how == "silent":
            self._time_out(service, f"{label}: no answer", unknown)

    def _lose_request(
        self,
        service: str,
        label: str,
        effect: Callable[[], object],
        unknown: Callable[[str], TradingError] | None,
    ) -> None:
        if self.faults.has("lost_request", label):
            self._count("lost the request of", label)
            self._time_out(service, f"{label}: its request is lost", unknown)
        if label not in NEVER_LATE and self.faults.has("late_request", label):
            self.scheduler.at(self.faults.between(1.0, LATEST_S), lambda: self._late(label, effect))
            self._time_out(service, f"{label}: its request is late", unknown)

    def _late(self, label: str, effect: Callable[[], object]) -> None:
        try:
            result = effect()
            if self.trace is not None:
                self.note(f"{label}: late: {_brief(result)}")
            self._count("took effect late:", label)
        except TradingError as error:
            self.note(f"{label}: late: {error}")

    def _time_out(
        self, service: str, what: str, unknown: Callable[[str], TradingError] | None
    ) -> None:
        self.note(what)
        self.scheduler.pause(TIMEOUT_S.get(service, 1.0))
        if unknown is not None:
            raise unknown("timeout")
        raise ServiceUnavailable(service, "timeout")


def _shown(args: tuple[Any, ...]) -> str:
    return ", ".join(str(arg)[:44] for arg in args if isinstance(arg, str | int))


def _brief(result: object) -> str:
    if isinstance(result, VenueOrder):
        return f"{result.client_order_id[:8]} {result.state} {result.filled_quantity}"
    if isinstance(result, PortfolioSnapshot):
        return f"account through {result.applied_seq}, cash {result.cash:.2f}"
    if isinstance(result, Exception):
        return f"{type(result).__name__} {result}"
    return str(result)[:110]


class LedgerPart:
    """One group of the ledger's transactions, each a step."""

    def __init__(self, gate: Gate, name: str, part: object) -> None:
        self._gate, self._name, self._part = gate, name, part

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._part, name)
        label = f"{self._name}.{name}"
        transaction = self._gate.transaction

        def step(*args: Any, **kwargs: Any) -> Any:
            return transaction(label, method, args, kwargs)

        setattr(self, name, step)
        return step


class LedgerSteps:
    """The engine's own ledger behind the gate."""

    def __init__(self, gate: Gate, ledger: SqlLedger) -> None:
        self.cycles = LedgerPart(gate, "cycles", ledger.cycles)
        self.orders = LedgerPart(gate, "orders", ledger.orders)
        self.state = LedgerPart(gate, "state", ledger.state)
        self.archive = LedgerPart(gate, "archive", ledger.archive)
        self.positions = LedgerPart(gate, "positions", ledger.positions)
        self.queries = LedgerPart(gate, "queries", ledger.queries)


class ExecutionCalls:
    """Port Execution over the venue."""

    def __init__(self, gate: Gate, venue: Venue) -> None:
        self._gate, self._venue = gate, venue

    def submit(self, client_order_id: str, body: str, _timeout_s: float) -> VenueOrder:
        """Sends once; a fate that is not known is OrderStateUnknown."""
        throttle = ""
        if self._gate.faults.has("throttled"):
            throttle = "throttled"
        elif self._gate.faults.has("no_price"):
            throttle = "no_price"
        return self._gate.call(
            "execution",
            "submit",
            lambda: self._venue.submit(client_order_id, body, throttle),
            unknown=lambda detail: OrderStateUnknown(client_order_id, detail),
        )

    def order(self, client_order_id: str) -> VenueOrder | None:
        return self._gate.call("execution", "order", lambda: self._venue.order(client_order_id))

    def open_orders(self) -> tuple[VenueOrder, ...]:
        return self._gate.call("execution", "open_orders", self._venue.open_orders)

    def void(self, client_order_id: str) -> VenueOrder:
        return self._gate.call("execution", "void", lambda: self._venue.void(client_order_id))

    def fence(self) -> Any:
        return self._gate.call("execution", "fence", self._venue.fence)

    def set_fence(self, epoch: int) -> Any:
        return self._gate.call("execution", "set_fence", lambda: self._venue.set_fence(epoch))

    def halt(self, reason: str, *, cancel_open: bool) -> Any:
        return self._gate.call(
            "execution", "halt", lambda: self._venue.halt(reason, cancel_open=cancel_open)
        )

    def resume(self, reason: str) -> None:
        self._gate.call("execution", "resume", lambda: self._venue.resume(reason))

    def events(self, after: int, limit: int) -> Any:
        return self._gate.call("execution", "events", lambda: self._venue.events(after, limit))


class PortfolioCalls:
    """Port Portfolio over the account book."""

    def __init__(self, gate: Gate, book: AccountBook) -> None:
        self._gate, self._book = gate, book

    def snapshot(self) -> PortfolioSnapshot:
        found = self._gate.call("portfolio", "snapshot", self._book.snapshot)
        self._gate.process().memory["snapshot"] = found
        return found

    def apply_fills(self, through_seq: int, fills: Sequence[Fill]) -> FillsApplied:
        return self._gate.call(
            "portfolio", "apply_fills", lambda: self._book.apply_fills(through_seq, fills)
        )

    def post_marks(self, prices: dict[str, str], as_of: datetime) -> None:
        self._gate.call("portfolio", "post_marks", lambda: self._book.post_marks(prices, as_of))

    def equity(self, _since: datetime | None) -> tuple[EquityPoint, ...]:
        return ()


class MarketCalls:
    """Port MarketData over the market."""

    def __init__(self, gate: Gate, market: Market) -> None:
        self._gate, self._market = gate, market

    def time(self) -> Any:
        return self._gate.call("market_data", "time", self._market.clock)

    def symbols(self) -> Any:
        return self._gate.call("market_data", "symbols", self._market.symbols)

    def advance(self, cycle_id: str, candles: int) -> Any:
        return self._gate.call(
            "market_data", "advance", lambda: self._market.advance(cycle_id, candles)
        )

    def candles(self, *args: Any) -> Any:
        return self._gate.call("market_data", "candles", lambda: self._market.candles(*args))

    def quotes(self, symbols: Sequence[str]) -> Any:
        return self._gate.call("market_data", "quotes", lambda: self._market.quotes(symbols))


class StrategyCalls:
    """Port StrategyEngine over the market's own opinions."""

    def __init__(self, gate: Gate, market: Market) -> None:
        self._gate, self._market = gate, market

    def evaluate(self, *args: Any) -> Any:
        return self._gate.call("strategy", "evaluate", lambda: self._market.evaluate(*args))


class Silence:
    """Port Monitoring: nobody trades by it."""

    def publish(self, _events: Sequence[MonitoringEvent]) -> None:
        """Lost."""
