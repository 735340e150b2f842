"""Rules of the account: asked at the barrier about one candidate, against all commitments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple, Protocol

from engine.domain import risk_rules as rules
from engine.domain.amounts import EXACT, ONE, ZERO, affordable
from engine.domain.book import Book
from engine.domain.cycle import AllocationFacts, CycleTimes
from engine.domain.limits import Limits
from engine.domain.model import Allowance, Instrument, OrderIntent, PortfolioSnapshot, Quote
from engine.domain.orders import need
from engine.domain.quality import QUOTE_CLOCK_TOLERANCE_S
from engine.domain.sizing import SIZING, sizing_allowance

FRACTION = f"{SIZING}fraction"


class Cycle(Protocol):
    """The cycle that orders belong to; a CyclePlan is one."""

    @property
    def cycle_id(self) -> str:
        """Its id."""
        ...

    @property
    def epoch(self) -> int:
        """Its fencing number."""
        ...

    @property
    def times(self) -> CycleTimes:
        """Its bounds in wall time."""
        ...


class Barrier(NamedTuple):
    """Everything that the decision of a cycle is made of."""

    facts: AllocationFacts
    snapshot: PortfolioSnapshot
    quotes: Mapping[str, Quote]
    quote_problems: Mapping[str, str]
    instruments: Mapping[str, Instrument]
    limits: Limits
    cycle: Cycle
    market_time: datetime
    now: datetime
    may_enter: bool


class Offer(NamedTuple):
    """A candidate with the prices that it can be had at."""

    intent: OrderIntent
    instrument: Instrument
    reference: Decimal
    limit: Decimal
    attempt: int


def gates(intent: OrderIntent, barrier: Barrier, book: Book) -> Iterator[Allowance]:
    """Rules that allow or refuse, whatever the size."""
    yield rules.trading_state(barrier.facts.trading_state, is_exit=intent.is_exit)
    yield _attempts(intent, barrier, book)
    enforced = barrier.limits.risk.is_enforced
    if intent.is_exit:
        yield _snapshot_age("max_stale_snapshot_s", barrier)
        return
    yield rules.degraded(may_enter=barrier.may_enter)
    yield _exiting(intent, book)
    if enforced:
        yield _snapshot_age("max_snapshot_age_s", barrier)
        yield _signal_age(intent, barrier)
        yield _quote_age(intent, barrier)
        yield rules.owned(intent.strategy, book.owners.get(intent.symbol))
        yield _open_positions(intent, barrier, book)
        yield _orders_per_cycle(barrier, book)
        yield _orders_per_minute(barrier, book)


def _attempts(intent: OrderIntent, barrier: Barrier, book: Book) -> Allowance:
    """A decision is acted on once; again only after an attempt that is proved to be in vain."""
    rule = "already_traded"
    if intent.decision_key in book.keys:
        return rules.refuses(rule, "the same decision was made in this cycle")
    earlier = barrier.facts.attempts.get(intent.decision_key)
    if earlier is None or earlier.count == 0:
        return rules.passes(rule)
    if not earlier.last_terminal:
        return rules.refuses(rule, f"the end of attempt {earlier.count} is not proved")
    if earlier.last_filled:
        return rules.refuses(rule, f"attempt {earlier.count} was filled")
    most = barrier.limits.risk.max_attempts_per_signal
    detail = f"{earlier.count} of {most} attempts made, none filled"
    if not intent.is_exit and earlier.count >= most:
        return rules.refuses("max_attempts_per_signal", detail)
    return rules.passes("max_attempts_per_signal", detail)


def _exiting(intent: OrderIntent, book: Book) -> Allowance:
    """Buys and sells of a symbol do not net: nothing is bought while it is being sold."""
    if intent.symbol in book.exiting:
        return rules.refuses("exiting", "the symbol is being sold")
    return rules.passes("exiting")


def _snapshot_age(rule: str, barrier: Barrier) -> Allowance:
    age_s = (barrier.now - barrier.snapshot.as_of).total_seconds()
    limits = barrier.limits.risk
    most = (
        limits.max_snapshot_age_s if rule == "max_snapshot_age_s" else limits.max_stale_snapshot_s
    )
    detail = f"portfolio {age_s:.1f} s old, at most {most:g} s"
    is_ahead = rule == "max_snapshot_age_s" and age_s < -QUOTE_CLOCK_TOLERANCE_S
    return rules.refuses(rule, detail) if age_s > most or is_ahead else rules.passes(rule, detail)


def _signal_age(intent: OrderIntent, barrier: Barrier) -> Allowance:
    closed_s = intent.candle_time / 1000 + barrier.limits.timeframe_s
    age_s = barrier.market_time.timestamp() - closed_s
    most = barrier.limits.risk.signal_ttl_s
    detail = f"the candle closed {age_s:.0f} s ago, at most {most:g} s"
    if age_s > most:
        return rules.refuses("signal_ttl_s", detail)
    return rules.passes("signal_ttl_s", detail)


def _quote_age(intent: OrderIntent, barrier: Barrier) -> Allowance:
    rule, most = "max_quote_age_s", barrier.limits.risk.max_quote_age_s
    problem = barrier.quote_problems.get(intent.symbol)
    quote = barrier.quotes.get(intent.symbol)
    if problem is not None or quote is None:
        return rules.refuses("quote", problem or "no quote")
    age = barrier.now - quote.as_of
    if age > timedelta(seconds=most):
        return rules.refuses(rule, f"{age.total_seconds():.1f} s old, at most {most:g} s")
    return rules.passes(rule)


def _open_positions(intent: OrderIntent, barrier: Barrier, book: Book) -> Allowance:
    rule, most = "max_open_positions", barrier.limits.risk.max_open_positions
    detail = f"{len(book.symbols)} of {most} held or on order"
    if intent.symbol not in book.symbols and len(book.symbols) >= most:
        return rules.refuses(rule, detail)
    return rules.passes(rule, detail)


def _orders_per_cycle(barrier: Barrier, book: Book) -> Allowance:
    rule, most = "max_orders_per_cycle", barrier.limits.risk.max_orders_per_cycle
    detail = f"{book.orders_this_cycle} of {most}"
    if book.orders_this_cycle >= most:
        return rules.refuses(rule, detail)
    return rules.passes(rule, detail)


def _orders_per_minute(barrier: Barrier, book: Book) -> Allowance:
    rule, most = "max_orders_per_minute", barrier.limits.risk.max_orders_per_minute
    detail = f"{book.orders_last_minute} of {most}"
    if book.orders_last_minute >= most:
        return rules.refuses(rule, detail)
    return rules.passes(rule, detail)


def own_size(offer: Offer, barrier: Barrier) -> tuple[Allowance, ...]:
    """What the candidate asks for, first. A fraction of equity is worked out on the quote."""
    intent = offer.intent
    own = intent.allowances
    if not own or own[0].rule != FRACTION:
        return rules.asked(intent)
    fresh = sizing_allowance(
        price=offer.reference,
        unit_risk=rules.unit_risk(offer.reference, intent.stop_price),
        volatility=None,
        equity=barrier.snapshot.equity,
        lot=offer.instrument.lot_size,
        limits=barrier.limits,
    )
    # The caps of the batch were worked out at the signal's price; each is asked again here.
    return (fresh, *(rule for rule in own[1:] if rule.quantity is None))


def sizes(offer: Offer, barrier: Barrier, book: Book) -> list[Allowance]:
    """Rules that bound the size; of an entry at its limit price."""
    if offer.intent.is_exit:
        return [_holding(offer, book)]
    if not barrier.limits.risk.is_enforced:
        return [_cash(offer, barrier, book, floor=ZERO)]
    return [_collar(offer, barrier), *_entry_sizes(offer, barrier, book)]


def _holding(offer: Offer, book: Book) -> Allowance:
    """Exits reserve what they sell, so that two of them cannot sell it twice."""
    free = book.sellable.get(offer.intent.symbol, ZERO)
    return rules.grants("position", free, f"{free:f} held and not reserved by an open sell")


def _collar(offer: Offer, barrier: Barrier) -> Allowance:
    """The quote must not have left the price that was decided on."""
    collar, price = barrier.limits.risk.price_collar, offer.intent.price
    away = abs(offer.reference - price) / price
    detail = f"the quote {offer.reference:f} is {away:.2%} from {price:f}, at most {collar:.2%}"
    if away > collar:
        return rules.refuses("price_collar", detail)
    return rules.passes("price_collar", detail)


def _entry_sizes(offer: Offer, barrier: Barrier, book: Book) -> Iterator[Allowance]:
    limits, equity = barrier.limits.risk, barrier.snapshot.equity
    intent, price, lot = offer.intent, offer.limit, offer.instrument.lot_size
    held = book.values.get(intent.symbol, ZERO)
    yield rules.max_risk_per_trade(intent, price, equity, lot, limits)
    yield rules.max_position_size_pct(price, held, equity, lot, limits)
    yield rules.max_order_notional(price, lot, limits)
    unit = rules.unit_risk(price, intent.stop_price)
    if unit > 0:
        left = EXACT.multiply(equity, limits.max_portfolio_risk) - book.risk
        detail = f"{limits.max_portfolio_risk:f} of equity, {book.risk:.2f} at risk already"
        yield rules.grants("max_portfolio_risk", affordable(left, unit, lot), detail)
    left = EXACT.multiply(equity, limits.max_gross_exposure) - book.exposure
    detail = f"{limits.max_gross_exposure:f} of equity, {book.exposure:.2f} exposed already"
    yield rules.grants("max_gross_exposure", affordable(left, price, lot), detail)
    yield _cash(offer, barrier, book, floor=EXACT.multiply(equity, limits.min_cash))


def _cash(offer: Offer, barrier: Barrier, book: Book, *, floor: Decimal) -> Allowance:
    """Free cash above the floor, at the limit price and with the highest fee."""
    cost = need(ONE, offer.limit, barrier.limits.risk.max_fee)
    detail = f"{book.cash:.2f} free, {floor:.2f} must remain"
    return rules.grants(
        "min_cash", affordable(book.cash - floor, cost, offer.instrument.lot_size), detail
    )
