"""The market at the opening of a cycle: what a replay's end and a silent service leave of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import cast

from engine.domain.messages import MarketTime, QuoteAnswer, SymbolList
from engine.domain.model import MarketClock, PortfolioSnapshot, Position, Quote
from engine.errors import ServiceUnavailable
from engine.pipeline import market
from engine.ports import Engine
from engine.settings import Settings

NOON = datetime(2025, 11, 22, 12, 0, tzinfo=UTC)
BID = Decimal("99.5")


@dataclass
class ReplayedMarket:
    """A market data service whose replay may be over, or that is away."""

    has_ended: bool = False
    is_away: bool = False
    clock: MarketClock = MarketClock.REPLAY
    moves: list[tuple[str, int]] = field(default_factory=list)

    def time(self) -> MarketTime:
        if self.is_away:
            raise ServiceUnavailable("market_data", "no answer")
        return MarketTime(as_of=NOON, clock=self.clock)

    def symbols(self) -> SymbolList:
        return SymbolList(as_of=NOON, clock=self.clock, symbols=())

    def advance(self, cycle_id: str, candles: int) -> MarketTime:
        self.moves.append((cycle_id, candles))
        return MarketTime(as_of=NOON, clock=MarketClock.REPLAY, ended=self.has_ended)

    def quotes(self, symbols: Sequence[str]) -> QuoteAnswer:
        quote = Quote(bid=BID, ask=Decimal("100.5"), last=Decimal(100), as_of=NOON)
        found = dict.fromkeys(symbols, quote)
        return QuoteAnswer(as_of=NOON, clock=MarketClock.REPLAY, quotes=found)


@dataclass
class MarkedPortfolio:
    """A portfolio that remembers the marks."""

    marks: list[dict[str, str]] = field(default_factory=list)

    def post_marks(self, prices: dict[str, str], _as_of: datetime) -> None:
        self.marks.append(prices)

    def snapshot(self) -> PortfolioSnapshot:
        return account()


def account() -> PortfolioSnapshot:
    """One position of two units, bought at 100."""
    held = Position(
        symbol="BTC/USD",
        quantity=Decimal(2),
        average_price=Decimal(100),
        market_price=Decimal(100),
        strategy="sma_cross",
        opened_at=NOON,
        version=1,
    )
    money = dict.fromkeys(("cash", "equity", "peak_equity", "day_start_equity"), Decimal(1000))
    return PortfolioSnapshot(
        account="paper",
        currency="USD",
        realized_pnl=Decimal(0),
        positions=(held,),
        applied_seq=1,
        as_of=NOON,
        **money,
    )


def engine_of(service: ReplayedMarket, portfolio: MarkedPortfolio | None = None) -> Engine:
    """An engine with a frozen clock and an empty cache."""
    cache = SimpleNamespace(
        save_symbols=lambda _listed: None,
        load_symbols=lambda: None,
        save_quotes=lambda _quotes: None,
    )
    parts = SimpleNamespace(
        settings=Settings(),
        clock=SimpleNamespace(now=lambda: NOON),
        market_data=service,
        portfolio=portfolio or MarkedPortfolio(),
        ledger=SimpleNamespace(state=SimpleNamespace(save_snapshot=lambda _snapshot: None)),
        cache=cache,
    )
    return cast("Engine", parts)


def test_a_replay_that_goes_on_may_be_entered_and_lacks_nothing() -> None:
    seen = market.read(engine_of(ReplayedMarket()), "cycle")
    assert seen.may_enter
    assert seen.degraded == ()


def test_a_replay_moves_on_by_the_configured_candles_and_a_live_market_is_not_moved() -> None:
    moves = {}
    for clock in MarketClock:
        service = ReplayedMarket(clock=clock)
        assert market.read(engine_of(service), "cycle").clock is clock
        moves[clock] = service.moves
    assert moves == {MarketClock.LIVE: [], MarketClock.REPLAY: [("cycle", 1)]}


def test_at_the_end_of_a_replay_nothing_is_entered_and_the_cycle_says_why() -> None:
    seen = market.read(engine_of(ReplayedMarket(has_ended=True)), "cycle")
    assert not seen.may_enter
    [lacking] = seen.degraded
    assert (lacking.service, lacking.reason) == ("market_data", "replay ended")


def test_holdings_are_still_marked_at_the_end_of_a_replay() -> None:
    portfolio = MarkedPortfolio()
    engine = engine_of(ReplayedMarket(has_ended=True), portfolio)
    _, unmarked = market.mark(engine, account(), market.read(engine, "cycle"))
    assert unmarked == []
    assert portfolio.marks == [{"BTC/USD": str(BID)}]


def test_nothing_is_marked_when_the_market_does_not_answer() -> None:
    portfolio = MarkedPortfolio()
    engine = engine_of(ReplayedMarket(is_away=True), portfolio)
    seen = market.read(engine, "cycle")
    assert not seen.may_enter
    assert [entry.reason for entry in seen.degraded] == ["no answer"]
    assert market.mark(engine, account(), seen) == (account(), [])
    assert portfolio.marks == []
