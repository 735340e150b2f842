"""The barrier: ranks all candidates of a cycle and grants the account's budget, once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal

from engine.domain import risk_rules as rules
from engine.domain.amounts import ZERO
from engine.domain.barrier_rules import Barrier, Cycle, Offer, gates, own_size, sizes
from engine.domain.book import Book, book_of
from engine.domain.cycle import AllocationFacts
from engine.domain.ledger_values import Allocation
from engine.domain.limits import Limits
from engine.domain.model import (
    Allowance,
    Instrument,
    Order,
    OrderBody,
    OrderIntent,
    OrderStatus,
    OrderType,
    PortfolioSnapshot,
    Quote,
    RiskDecision,
    TimeInForce,
    Verdict,
)
from engine.domain.orders import client_order_id, exit_widening, freeze, limit_price
from engine.domain.risk import without_minimum


def ranked(candidates: Iterable[OrderIntent]) -> list[OrderIntent]:
    """Exits first, then by confidence (highest first), symbol and strategy."""
    return sorted(
        candidates,
        key=lambda intent: (
            not intent.is_exit,
            -intent.confidence,
            intent.symbol,
            intent.strategy,
            intent.decision_key,
        ),
    )


def allocate(
    facts: AllocationFacts,
    *,
    snapshot: PortfolioSnapshot,
    quotes: Mapping[str, Quote],
    quote_problems: Mapping[str, str],
    instruments: Mapping[str, Instrument],
    limits: Limits,
    cycle: Cycle,
    market_time: datetime,
    now: datetime,
    may_enter: bool,
) -> Allocation:
    """Decide every candidate, the best first, and build the orders to reserve.

    Decisions and orders are in rank order, whatever the order of `facts.candidates`. Entries need
    a quote that `quote_problems` does not name; exits any quote with a positive bid. Ages are in
    wall time (`now`), a signal's age in market time.
    """
    barrier = Barrier(
        facts,
        snapshot,
        quotes,
        quote_problems,
        instruments,
        limits,
        cycle,
        market_time,
        now,
        may_enter,
    )
    book = book_of(snapshot, facts, limits.risk)
    decisions, orders = [], []
    for intent in ranked(facts.candidates):
        decision, offer = _decide(intent, barrier, book)
        decisions.append(decision)
        if offer is not None and decision.verdict is not Verdict.DENIED:
            order = _order(offer, decision.quantity, barrier)
            book.grant(order, limits.risk.max_fee)
            orders.append(order)
    return Allocation(decisions=tuple(decisions), orders=tuple(orders))


def _decide(intent: OrderIntent, barrier: Barrier, book: Book) -> tuple[RiskDecision, Offer | None]:
    found = list(gates(intent, barrier, book))
    refusal = next((gate for gate in found if gate.quantity is not None), None)
    offer = _offer(intent, barrier)
    if offer is None and refusal is None:
        refusal = _no_price(intent, barrier)
        found.append(refusal)
    if offer is None or refusal is not None:
        return _denied(intent, found, refusal), None
    instrument = offer.instrument
    if not barrier.limits.risk.is_enforced:
        instrument = without_minimum(instrument)
    asked = (*own_size(offer, barrier), *found, *sizes(offer, barrier, book))
    return rules.settle(intent, asked, instrument, offer.limit), offer


def _offer(intent: OrderIntent, barrier: Barrier) -> Offer | None:
    """Reference and limit price, or None when the instrument or its price is not known."""
    instrument = barrier.instruments.get(intent.symbol)
    quote = barrier.quotes.get(intent.symbol)
    if instrument is None or quote is None:
        return None
    reference = quote.bid if intent.is_exit else quote.ask
    if not reference.is_finite() or reference <= 0:
        return None
    earlier = barrier.facts.attempts.get(intent.decision_key)
    attempt = 0 if earlier is None else earlier.count
    widen = exit_widening(attempt) if intent.is_exit else 0
    collar = barrier.limits.risk.price_collar
    limit = limit_price(intent.side, quote, collar, instrument.tick_size, widen)
    return Offer(intent, instrument, reference, limit, attempt)


def _no_price(intent: OrderIntent, barrier: Barrier) -> Allowance:
    if intent.symbol not in barrier.instruments:
        return rules.refuses("unknown_symbol", "its tick and lot are not known")
    return rules.refuses("quote", barrier.quote_problems.get(intent.symbol, "no usable quote"))


def _denied(
    intent: OrderIntent, gates: Iterable[Allowance], refusal: Allowance | None
) -> RiskDecision:
    bound = refusal or rules.refuses("quote", "no usable quote")
    return RiskDecision(
        intent=intent,
        verdict=Verdict.DENIED,
        quantity=ZERO,
        binding_rule=bound.rule,
        reason=f"{bound.rule}: {bound.detail}",
        allowances=(*intent.allowances, *gates),
    )


def _order(offer: Offer, quantity: Decimal, barrier: Barrier) -> Order:
    """The row to reserve, with the body frozen."""
    intent, cycle = offer.intent, barrier.cycle
    order_id = client_order_id(intent.decision_key, offer.attempt)
    body = OrderBody(
        client_order_id=order_id,
        account=barrier.limits.account,
        epoch=cycle.epoch,
        symbol=intent.symbol,
        side=intent.side,
        type=OrderType.LIMIT,
        time_in_force=TimeInForce.IOC,
        quantity=quantity,
        reference_price=offer.reference,
        reduce_only=intent.is_exit,
        strategy=intent.strategy,
        valid_until=cycle.times.deadline_at,
        limit_price=offer.limit,
    )
    return Order(
        client_order_id=order_id,
        decision_key=intent.decision_key,
        attempt=offer.attempt,
        cycle_id=cycle.cycle_id,
        epoch=cycle.epoch,
        symbol=intent.symbol,
        side=intent.side,
        quantity=quantity,
        limit_price=offer.limit,
        reference_price=offer.reference,
        reduce_only=intent.is_exit,
        strategy=intent.strategy,
        body=freeze(body),
        status=OrderStatus.RESERVED,
        created_at=barrier.now,
        updated_at=barrier.now,
        cutoff_at=cycle.times.cutoff_at,
        valid_until=cycle.times.deadline_at,
        market_time=barrier.market_time,
        candle_time=intent.candle_time,
        exit_reason=intent.exit_reason,
        stop_price=intent.stop_price,
        target_price=intent.target_price,
    )
