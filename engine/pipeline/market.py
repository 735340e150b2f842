"""What the market looks like at the opening of a cycle: its time, its symbols, the marks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from engine.domain.cycle import Degradation
from engine.domain.messages import SymbolList
from engine.domain.model import Instrument, MarketClock, PortfolioSnapshot, TradingState
from engine.errors import ServiceError
from engine.pipeline import quotes
from engine.ports import Engine
from engine.reconcile import latch_contradiction
from engine.telemetry import get_logger

log = get_logger(__name__)


@dataclass(frozen=True)
class Market:
    """The universe at the market's now. Without `may_enter` it serves observation and exits.

    `is_answered` is False when the market data service did not tell it: nothing is marked then.
    """

    clock: MarketClock
    market_time: datetime
    instruments: tuple[Instrument, ...]
    may_enter: bool
    degraded: tuple[Degradation, ...] = ()
    is_answered: bool = True


def read(engine: Engine, cycle_id: str) -> Market:
    """Move a replay clock on, and read the universe; the cached one when nobody answers."""
    try:
        ended = _move_on(engine, cycle_id)
        listed = engine.market_data.symbols()
    except ServiceError as error:
        return _without_answer(engine, error)
    if listed.symbols:
        engine.cache.save_symbols(listed)
    if not ended:
        return Market(listed.clock, listed.as_of, listed.symbols, may_enter=True)
    log.info("replay_ended", market_time=listed.as_of.isoformat())
    lacking = (Degradation(service="market_data", reason="replay ended"),)
    return Market(listed.clock, listed.as_of, listed.symbols, may_enter=False, degraded=lacking)


def _move_on(engine: Engine, cycle_id: str) -> bool:
    """Move a replay clock by the cycle's candles; whether the replay has ended."""
    candles = engine.settings.services.market_data.candles_per_cycle
    if candles == 0 or engine.market_data.time().clock is MarketClock.LIVE:
        return False
    return engine.market_data.advance(cycle_id, candles).ended


def _without_answer(engine: Engine, error: ServiceError) -> Market:
    lacking = Degradation(service="market_data", reason=error.detail, lowers=TradingState.REDUCING)
    cached = engine.cache.load_symbols()
    if cached is None:
        cached = _defaults(engine)
    is_live = cached.clock is MarketClock.LIVE
    return Market(
        cached.clock,
        engine.clock.now() if is_live else cached.as_of,
        cached.symbols,
        may_enter=False,
        degraded=(lacking,),
        is_answered=False,
    )


def _defaults(engine: Engine) -> SymbolList:
    """The configured symbols, for observation only: their steps are not known."""
    instruments = tuple(
        Instrument(
            symbol=symbol,
            volume_24h=engine.settings.selection.min_volume_24h,
            spread_bps=0.0,
            tick_size=Decimal("0.00000001"),
            lot_size=Decimal("0.00000001"),
            min_notional=Decimal(0),
        )
        for symbol in engine.settings.trading_engine.default_symbols
    )
    return SymbolList(as_of=engine.clock.now(), clock=MarketClock.LIVE, symbols=instruments)


def mark(
    engine: Engine, snapshot: PortfolioSnapshot | None, seen: Market
) -> tuple[PortfolioSnapshot | None, list[Degradation]]:
    """Tell the portfolio the prices of what is held; its snapshot afterwards.

    The marks' time also moves the account's day on, so that they are told without positions too.
    """
    if snapshot is None or not seen.is_answered:
        return snapshot, []
    held = [position.symbol for position in snapshot.positions]
    try:
        prices = _prices(engine, held)
        engine.portfolio.post_marks(prices, seen.market_time)
        marked = engine.portfolio.snapshot()
    except ServiceError as error:
        latch_contradiction(engine, error)
        return snapshot, [Degradation(service=error.service, reason=error.detail)]
    engine.ledger.state.save_snapshot(marked)
    missing = [symbol for symbol in held if symbol not in prices]
    if missing:
        reason = f"no price for held {', '.join(missing)}"
        return marked, [Degradation(service="market_data", reason=reason)]
    return marked, []


def _prices(engine: Engine, held: list[str]) -> dict[str, str]:
    """Bids of the held symbols: what selling them would bring."""
    if not held:
        return {}
    good, _ = quotes.sifted(engine, engine.market_data.quotes(held))
    return {symbol: str(quote.bid) for symbol, quote in good.items()}
