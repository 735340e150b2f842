"""The reference execution service on a free port, over a market that the test sets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.service_settings import BrokerLimits, Execution, MarketData, Services
from engine.settings import Settings
from services.execution.app import create_app
from tests.contract.execution.market import FakeMarket
from tests.contract.execution.venue import Venue
from web import RunningServer, serve


def wall_time() -> datetime:
    return datetime.now(UTC)


class LocalService:
    """Started, ended and started again on the same files."""

    def __init__(self, folder: Path, market: FakeMarket) -> None:
        self.folder = folder
        self.market = market
        self.now: Callable[[], datetime] = wall_time
        self.execution: dict[str, Any] = {}
        self.limits: dict[str, Any] = {}
        self.market_key = ""
        self.paused: list[float] = []
        self._server: RunningServer | None = None

    def settings(self) -> Settings:
        limits = BrokerLimits(**{"orders_per_minute": 100000} | self.limits)
        market_data = MarketData(url=self.market.url, key=self.market_key)
        execution = Execution(limits=limits, **self.execution)
        services = Services(market_data=market_data, execution=execution)
        return Settings(data_dir=str(self.folder), services=services)

    def start(self) -> Venue:
        app = create_app(self.settings(), now=self._time, pause=self.paused.append)
        self._server = serve(app, "127.0.0.1", 0, 8)
        return make_venue(self._server.url)

    def _time(self) -> datetime:
        """Wall time, as a test may change it while the service runs."""
        return self.now()

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def restart(self) -> Venue:
        self.close()
        return self.start()


def make_venue(url: str) -> Venue:
    """The reference service's client, in terms of the fake market."""
    return Venue(url, account="paper", symbol="BTC/USD", price="100", quantity="0.2")
