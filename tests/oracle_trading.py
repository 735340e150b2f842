"""A second opinion on the trading: which orders a cycle places, and what the account then is.

Written from the definitions alone, for one strategy (sma_cross), sizing by risk and a stop some
ATR(14) below the price. It shares no code with the product: where both agree, both are right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from typing import Any, NamedTuple

from tests.oracle_account import Account, Held
from tests.oracle_market import (
    DAY_MS,
    HOUR_MS,
    Candle,
    Tape,
    average,
    average_true_range,
    down_to,
    up_to,
)

STRATEGY_STOP_ATR = 2
FULL_CROSS_ATR = 0.2
FEE_STEP = Decimal("0.00000001")
ATR_STEP = Decimal("0.000000000001")
MIN_NOTIONAL = Decimal(10)


@dataclass(frozen=True)
class Terms:
    """The part of the configuration that decides; `risk` is its section of limits."""

    fast: int
    slow: int
    candles: int
    min_confidence: float
    min_volume_24h: Decimal
    risk_per_entry: Decimal
    stop_atr: Decimal
    fee: Decimal
    slippage_bps: Decimal
    spread_bps: Decimal
    max_volume_share: Decimal
    risk: dict[str, Any]

    def limit(self, name: str) -> Decimal:
        """A limit of the section `risk`, as it is written."""
        return Decimal(str(self.risk[name]))


class Cross(NamedTuple):
    """The averages crossed at the last candle; `stop` is for a buy."""

    is_buy: bool
    confidence: float
    price: Decimal
    stop: Decimal


class Candidate(NamedTuple):
    """What a cycle may do about a pair; `reason` is empty for an entry."""

    symbol: str
    reason: str
    confidence: float
    cross: Cross | None


class Decision(NamedTuple):
    """What became of a candidate, and the rule that bound it."""

    symbol: str
    side: str
    quantity: Decimal
    rule: str


class Placed(NamedTuple):
    """An order and its one fill."""

    symbol: str
    side: str
    exit_reason: str
    quantity: Decimal
    limit_price: Decimal
    reference_price: Decimal
    fill_price: Decimal
    fee: Decimal


@dataclass
class Budget:
    """What the orders of a cycle leave to the next one: sells give nothing back within it."""

    cash: Decimal
    exposure: Decimal
    at_risk: Decimal


class Trader:
    """The account of someone who trades by the rules, one candle after another."""

    def __init__(self, tapes: dict[str, Tape], terms: Terms, cash: Decimal, start: int) -> None:
        self.tapes = tapes
        self.terms = terms
        self.now = start
        self.account = Account.of(cash)
        self.left_at: dict[str, int] = {}
        self.thin: set[str] = set()

    def cycle(self, symbols: Iterable[str]) -> tuple[list[Decision], list[Placed]]:
        """One more candle closes; then every pair that is asked for or held is looked at.

        All is decided before anything is filled: exits first, then the most confident entry.
        """
        self._next_candle()
        found = sorted(
            self._candidates(symbols), key=lambda each: (each.reason == "", -each.confidence, each)
        )
        equity, budget = self.account.equity, self._budget()
        decisions, orders = [], []
        for candidate in found:
            if candidate.reason:
                decision, order = self._leave(candidate)
            else:
                decision, order = self._enter(candidate, equity, budget)
            decisions.append(decision)
            if order is not None:
                orders.append((order, candidate.cross))
        for order, cross in orders:
            self._settle(order, cross)
        return decisions, [order for order, _ in orders]

    def _budget(self) -> Budget:
        """What is bound already; what lies below its stop has nothing left to lose there."""
        held = self.account.held.values()
        losses = (each.quantity * max(each.mark - each.stop, Decimal(0)) for each in held)
        return Budget(
            cash=self.account.cash,
            exposure=sum((each.value for each in held), Decimal(0)),
            at_risk=sum(losses, Decimal(0)),
        )

    def _next_candle(self) -> None:
        """Market time moves on, and what is held is worth its new bid."""
        before, self.now = self.now, self.now + HOUR_MS
        bids = {symbol: self._quote(symbol)[0] for symbol in self.account.held}
        self.account.mark(bids, is_new_day=before // DAY_MS != self.now // DAY_MS)

    def _quote(self, symbol: str) -> tuple[Decimal, Decimal]:
        return self.tapes[symbol].quote(self.now, self.terms.spread_bps)

    def _candidates(self, symbols: Iterable[str]) -> Iterator[Candidate]:
        """Pairs that are held or liquid enough; `thin` names the others."""
        held_or_asked = {*symbols, *self.account.held}
        least = self.terms.min_volume_24h
        self.thin = {
            symbol
            for symbol in held_or_asked - self.account.held.keys()
            if self.tapes[symbol].volume_24h(self.now) < least
        }
        for symbol in sorted(held_or_asked - self.thin):
            held = self.account.held.get(symbol)
            candles = self.tapes[symbol].closed(self.now)[-self.terms.candles :]
            cross = crossed(candles, self.terms)
            if held is not None and self._is_stopped(held, candles):
                yield Candidate(symbol, "stop", 1.0, None)
            elif cross is None or cross.is_buy is (held is not None):
                continue
            else:
                yield Candidate(symbol, "" if cross.is_buy else "signal", cross.confidence, cross)

    def _is_stopped(self, held: Held, candles: list[Candle]) -> bool:
        """A low since the entry, or the present bid, reached the stop."""
        lows = [Decimal(repr(each.low)) for each in candles if each.time >= held.since]
        return min([*lows, held.mark]) <= held.stop

    def _leave(self, candidate: Candidate) -> tuple[Decision, Placed | None]:
        symbol, tape = candidate.symbol, self.tapes[candidate.symbol]
        quantity = self.account.held[symbol].quantity
        bid = self._quote(symbol)[0]
        limit = down_to(bid * (1 - self.terms.limit("price_collar") / 2), tape.tick)
        price = max(down_to(bid * (1 - self.terms.slippage_bps / 10_000), tape.tick), limit)
        fee = self._fee(quantity * price)
        order = Placed(symbol, "sell", candidate.reason, quantity, limit, bid, price, fee)
        return Decision(symbol, "sell", quantity, "position"), order

    def _enter(
        self, candidate: Candidate, equity: Decimal, budget: Budget
    ) -> tuple[Decision, Placed | None]:
        symbol, tape, cross = candidate.symbol, self.tapes[candidate.symbol], candidate.cross
        assert cross is not None
        ask = self._quote(symbol)[1]
        limit = up_to(ask * (1 + self.terms.limit("price_collar") / 2), tape.tick)
        refused = self._refusal(symbol, cross, ask)
        rule, quantity = refused, Decimal(0)
        if not refused:
            bounds = self._bounds(cross, limit, equity, budget)
            lots = {name: down_to(max(most, Decimal(0)), tape.lot) for name, most in bounds.items()}
            rule = min(lots, key=lambda name: lots[name])
            quantity = lots[rule]
            if 0 < quantity * limit < MIN_NOTIONAL:
                rule, quantity = "min_notional", Decimal(0)
        decision = Decision(symbol, "buy", quantity, rule)
        if quantity == 0:
            return decision, None
        budget.cash -= quantity * limit * (1 + self.terms.limit("max_fee"))
        budget.exposure += quantity * limit
        budget.at_risk += quantity * max(limit - cross.stop, Decimal(0))
        price = min(up_to(ask * (1 + self.terms.slippage_bps / 10_000), tape.tick), limit)
        fee = self._fee(quantity * price)
        return decision, Placed(symbol, "buy", "", quantity, limit, ask, price, fee)

    def _refusal(self, symbol: str, cross: Cross, ask: Decimal) -> str:
        pause = int(self.terms.risk["cooldown_candles"]) * HOUR_MS
        if symbol in self.left_at and self.now < self.left_at[symbol] + pause:
            return "cooldown_candles"
        if abs(ask - cross.price) / cross.price > self.terms.limit("price_collar"):
            return "price_collar"
        return ""

    def _bounds(
        self, cross: Cross, limit: Decimal, equity: Decimal, budget: Budget
    ) -> dict[str, Decimal]:
        """The most that each rule allows, in the order they are asked; two prices: the worse."""
        of = self.terms.limit
        dearest = max(limit, cross.price)
        lost = dearest - cross.stop
        free = budget.cash - equity * of("min_cash")
        return {
            "sizing.risk": equity * self.terms.risk_per_entry / (cross.price - cross.stop),
            "max_risk_per_trade": equity * of("max_risk_per_trade") / lost,
            "max_position_size_pct": equity * of("max_position_size_pct") / dearest,
            "max_order_notional": of("max_order_notional") / dearest,
            "max_portfolio_risk": (equity * of("max_portfolio_risk") - budget.at_risk)
            / (limit - cross.stop),
            "max_gross_exposure": (equity * of("max_gross_exposure") - budget.exposure) / limit,
            "min_cash": free / (limit * (1 + of("max_fee"))),
        }

    def _fee(self, value: Decimal) -> Decimal:
        return (value * self.terms.fee).quantize(FEE_STEP, ROUND_UP)

    def _settle(self, order: Placed, cross: Cross | None) -> None:
        """Book the fill. The broker fills an order whole that is half of its share at most."""
        traded = Decimal(repr(self.tapes[order.symbol].closed(self.now)[-1].volume))
        assert order.quantity <= traded * self.terms.max_volume_share / 2
        value = order.quantity * order.fill_price
        if order.side == "sell":
            self.account.sell(order.symbol, value, order.fee)
            self.left_at[order.symbol] = self.now
            return
        assert cross is not None
        bought = Held(order.quantity, value, order.fill_price, cross.stop, self.now)
        self.account.buy(order.symbol, bought, order.fee)


def crossed(candles: list[Candle], terms: Terms) -> Cross | None:
    """Whether the fast average crossed the slow one at the last candle, decidedly enough."""
    closes = [each.close for each in candles]
    before, now = (
        average(known, terms.fast) - average(known, terms.slow) for known in (closes[:-1], closes)
    )
    is_buy = before <= 0 < now
    if not is_buy and not before >= 0 > now:
        return None
    atr = average_true_range(candles)
    strength = min(float(abs(now - before)) / (FULL_CROSS_ATR * atr), 1.0)
    confidence = 0.5 + strength / 2
    if confidence < terms.min_confidence:
        return None
    price = Decimal(repr(closes[-1]))
    return Cross(is_buy, confidence, price, _stop(price, atr, terms))


def _stop(price: Decimal, atr: float, terms: Terms) -> Decimal:
    """The tighter of the strategy's own (of ten digits) and the configured (ATR to 12 places)."""
    of_strategy = Decimal(f"{float(price) - STRATEGY_STOP_ATR * atr:.10g}")
    configured = price - terms.stop_atr * Decimal(repr(atr)).quantize(ATR_STEP)
    return max(of_strategy, configured)
