"""Protocols between the pipeline and the world, and the bundle of them that a process holds.

The pipeline, the reconciler and the controls see these and nothing concrete, so that a fake, an
in-memory database or a simulated clock can stand in for any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import NamedTuple, Protocol

from engine.config_source import config_hash
from engine.domain.candles import Candles
from engine.domain.cycle import (
    CycleRequest,
)
from engine.domain.kept_inputs import DecisionSettings
from engine.domain.limits import Limits
from engine.domain.messages import (
    CandleAnswer,
    EquityPoint,
    EvaluateAnswer,
    EventPage,
    Fence,
    FillsApplied,
    HaltAnswer,
    MarketTime,
    MonitoringEvent,
    QuoteAnswer,
    StrategyChoice,
    SymbolList,
)
from engine.domain.model import Fill, PortfolioSnapshot, Position, Quote, VenueOrder
from engine.ledger_ports import Ledger
from engine.service_settings import ServiceName
from engine.settings import Settings, decision_settings


class Clock(Protocol):
    """Wall time. Market time comes from the market data service alone."""

    def now(self) -> datetime:
        """The current instant, aware, UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait; a simulated clock moves on instead."""
        ...


class MarketData(Protocol):
    """Symbols, candles and quotes. All raise ServiceError."""

    def symbols(self) -> SymbolList:
        """The whole universe, by volume; filtering is the engine's."""
        ...

    def time(self) -> MarketTime:
        """The market's now, and on which clock."""
        ...

    def advance(self, cycle_id: str, candles: int) -> MarketTime:
        """Move a replay clock by whole candles, once per `cycle_id`; a repeat moves nothing."""
        ...

    def candles(
        self, symbols: Sequence[str], timeframe: str, limit: int, since: dict[str, int]
    ) -> CandleAnswer:
        """Closed candles, ascending; for a symbol in `since` only those that opened later."""
        ...

    def quotes(self, symbols: Sequence[str]) -> QuoteAnswer:
        """Best bid and ask of each symbol."""
        ...


class StrategyEngine(Protocol):
    """Signals from candles. Raises ServiceError."""

    def evaluate(
        self,
        timeframe: str,
        strategies: Sequence[StrategyChoice],
        market_data: dict[str, Candles],
        positions: Sequence[Position],
        input_id: str,
    ) -> EvaluateAnswer:
        """Ask every strategy about every symbol. A wrong `input_id` in the answer: BadPayload."""
        ...


class Portfolio(Protocol):
    """Cash and positions. All raise ServiceError."""

    def snapshot(self) -> PortfolioSnapshot:
        """The account, read in one transaction."""
        ...

    def apply_fills(self, through_seq: int, fills: Sequence[Fill]) -> FillsApplied:
        """Relay every fill up to `through_seq`. A gap: ServiceRejected, kind `gap`."""
        ...

    def post_marks(self, prices: dict[str, str], as_of: datetime) -> None:
        """Tell market prices (decimal text) at market time `as_of`."""
        ...

    def equity(self, since: datetime | None) -> tuple[EquityPoint, ...]:
        """The equity curve from `since` on."""
        ...


class Execution(Protocol):
    """The one account's orders. All raise ServiceError."""

    def submit(self, client_order_id: str, body: str, timeout_s: float) -> VenueOrder:
        """Send the frozen bytes once; never retried here.

        Raises OrderStateUnknown where the fate is unknown; ServiceRejected or
        ServiceUnavailable(accepted=False) where this request certainly had no effect.
        """
        ...

    def order(self, client_order_id: str) -> VenueOrder | None:
        """The order as recorded now; None proves nothing."""
        ...

    def open_orders(self) -> tuple[VenueOrder, ...]:
        """Orders that are not terminal."""
        ...

    def void(self, client_order_id: str) -> VenueOrder:
        """Make sure that the id can never be accepted any more; the resulting state."""
        ...

    def fence(self) -> Fence:
        """The fence, the log's identity and the kill switch."""
        ...

    def set_fence(self, epoch: int) -> Fence:
        """Raise the fence. ServiceRejected, kind `fenced`, when it already stands higher."""
        ...

    def halt(self, reason: str, *, cancel_open: bool) -> HaltAnswer:
        """Set the service's kill switch."""
        ...

    def resume(self, reason: str) -> None:
        """Release the service's kill switch."""
        ...

    def events(self, after: int, limit: int) -> EventPage:
        """Events with a seq above `after`, in order."""
        ...


class Monitoring(Protocol):
    """Where events go. `publish` raises ServiceError."""

    def publish(self, events: Sequence[MonitoringEvent]) -> None:
        """Deliver events; unique by `event_id`, so that a repeat is harmless."""
        ...


class SeriesEnd(NamedTuple):
    """The newest candle (open time, ms) of a cached series, and whether all are silent about it."""

    newest: int
    is_quiet: bool


class CandleCache(Protocol):
    """What is read often and may be lost at any moment. Never raises: a failure is a miss."""

    def load(self, symbols: Sequence[str], timeframe: str) -> dict[str, Candles]:
        """Cached candles of those symbols that have any."""
        ...

    def save(
        self,
        candles: Mapping[str, Candles],
        timeframe: str,
        quiet: Collection[str] = (),
        about: str = "",
    ) -> None:
        """Keep candles, and of the `quiet` ones that nobody has anything to say `about` them."""
        ...

    def load_ends(self, symbols: Sequence[str], timeframe: str, about: str) -> dict[str, SeriesEnd]:
        """Where cached series end, and which were kept as quiet `about` the same.

        Cheaper than the series. What it does not tell of may have a series; one that it tells of
        may be gone or go on.
        """
        ...

    def load_quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """The last good quotes of those symbols that have any, of whatever age."""
        ...

    def save_quotes(self, quotes: dict[str, Quote]) -> None:
        """Keep good quotes."""
        ...

    def load_symbols(self) -> SymbolList | None:
        """The last good symbol list."""
        ...

    def save_symbols(self, symbols: SymbolList) -> None:
        """Keep the symbol list."""
        ...


class Dispatcher(Protocol):
    """How a cycle is asked of the workers. Raises ServiceUnavailable("redis") within 2 s."""

    def start_cycle(self, request: CycleRequest) -> None:
        """Publish `cycle.start` for this request."""
        ...


class BeatSchedule(Protocol):
    """The beat entry that starts cycles. Raises ServiceUnavailable("redis")."""

    def save(self, interval_s: float) -> None:
        """Write the entry; its first run comes one interval later."""
        ...

    def remove(self) -> None:
        """Delete the entry; no-op when there is none."""
        ...

    def next_run_at(self) -> datetime | None:
        """When beat will send the next cycle, or None."""
        ...


@dataclass(frozen=True)
class Engine:
    """Everything a step may use. Built in `bootstrap`; one a process.

    `probes` ask each service's health, for the upkeep worker alone: the seconds it took.
    """

    settings: Settings
    clock: Clock
    market_data: MarketData
    strategy: StrategyEngine
    portfolio: Portfolio
    execution: Execution
    monitoring: Monitoring
    ledger: Ledger
    cache: CandleCache
    worker: str
    probes: dict[ServiceName, Callable[[], float]] = field(default_factory=dict)

    @cached_property
    def decided(self) -> DecisionSettings:
        """The part of the settings that decides."""
        return decision_settings(self.settings)

    @property
    def limits(self) -> Limits:
        """The limits among it."""
        return self.decided.limits

    @cached_property
    def settings_hash(self) -> str:
        """Equal for equal settings."""
        return config_hash(self.settings)
