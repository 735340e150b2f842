"""The end of a replay: what is still held is sold, so that every trade has a result."""

from __future__ import annotations

from decimal import Decimal

from engine.domain.account import Holding
from engine.domain.amounts import EXACT, from_float
from engine.domain.matching import Execution, Terms, fee_of, fill_id
from engine.domain.model import Order, OrderStatus, Side
from replay.options import Options
from replay.runner import Moment, Runner

REASON = "end"


def sell_all(runner: Runner, cycle: Moment, options: Options, terms: Terms) -> None:
    """Sell each holding at its last close, or at the last quote it had, for the fee alone."""
    for symbol, held in sorted(runner.account.account.holdings.items()):
        newest = runner.history.last_close(symbol)
        price, filled_in = from_float(newest.close), newest.time
        quote = runner.last_quote(symbol)
        if options.end_at_quote and quote is not None:
            price = quote.bid
            filled_in = runner.history.filled_in(symbol, int(quote.as_of.timestamp() * 1000))
        runner.account.mark({symbol: price}, cycle.now)
        order = _order(held, price, cycle)
        execution = Execution(
            fill_id=fill_id(order.client_order_id, 1),
            number=1,
            quantity=held.quantity,
            price=price,
            fee=fee_of(EXACT.multiply(held.quantity, price), terms),
        )
        runner.account.book(order, (execution,), filled_in)
    runner.account.note(cycle.step + 1)


def _order(held: Holding, price: Decimal, cycle: Moment) -> Order:
    return Order(
        client_order_id=f"{REASON}|{held.symbol}",
        decision_key=f"{REASON}|{held.symbol}",
        attempt=0,
        cycle_id=cycle.cycle_id,
        epoch=cycle.epoch,
        symbol=held.symbol,
        side=Side.SELL,
        quantity=held.quantity,
        limit_price=price,
        reference_price=price,
        reduce_only=True,
        strategy=held.strategy or "",
        body="",
        status=OrderStatus.FILLED,
        created_at=cycle.now,
        updated_at=cycle.now,
        cutoff_at=cycle.now,
        valid_until=cycle.now,
        market_time=cycle.now,
        exit_reason=REASON,
    )
