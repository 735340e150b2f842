"""Prices of symbols: fresh ones for entries and marks, and for exits also the last ones seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.domain import quality
from engine.domain.messages import QuoteAnswer
from engine.domain.model import Quote
from engine.errors import ServiceError
from engine.ports import Engine

EXIT_QUOTE_INTERVALS = 1.5
"""How many cycle intervals old the price of an exit may be while no fresh one is to be had."""


def at_barrier(engine: Engine, symbols: Sequence[str]) -> tuple[dict[str, Quote], dict[str, str]]:
    """Quotes by symbol, and what is wrong with those that no entry may use.

    A symbol without a fresh quote has its fault; beside it stands the last good quote, as long as
    that is young enough for an exit.
    """
    if not symbols:
        return {}, {}
    try:
        answer = engine.market_data.quotes(symbols)
    except ServiceError as error:
        return _last(engine, symbols), dict.fromkeys(symbols, f"no quote: {error}")
    good, faults = sifted(engine, answer)
    lacking = [symbol for symbol in symbols if symbol not in good]
    aged = _aged(engine, answer.quotes)
    last = _last(engine, [symbol for symbol in lacking if symbol not in aged])
    return {**last, **aged, **good}, faults


def sifted(engine: Engine, answer: QuoteAnswer) -> tuple[dict[str, Quote], dict[str, str]]:
    """The fresh quotes of an answer, which are remembered, and the faults of the others."""
    good: dict[str, Quote] = {}
    faults = dict(answer.errors)
    for symbol, quote in answer.quotes.items():
        fault = _fault(engine, quote, engine.settings.risk.max_quote_age_s)
        if fault is None:
            good[symbol] = quote
        else:
            faults[symbol] = fault
    if good:
        engine.cache.save_quotes(good)
    return good, faults


def _last(engine: Engine, symbols: Sequence[str]) -> dict[str, Quote]:
    return _aged(engine, engine.cache.load_quotes(symbols)) if symbols else {}


def _aged(engine: Engine, quotes: Mapping[str, Quote]) -> dict[str, Quote]:
    """Those that an exit may still use."""
    oldest_s = EXIT_QUOTE_INTERVALS * engine.settings.trading_engine.cycle_interval
    return {name: quote for name, quote in quotes.items() if not _fault(engine, quote, oldest_s)}


def _fault(engine: Engine, quote: Quote, max_age_s: float) -> str | None:
    return quality.judge_quote(quote, now=engine.clock.now(), max_age_s=max_age_s)
