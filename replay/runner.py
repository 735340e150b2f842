"""One moment of decision after another, in the order of a cycle's steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.domain import account as accounts
from engine.domain import allocation, candidates, exits, signals
from engine.domain import risk as rules
from engine.domain.candidates import Desk
from engine.domain.candles import Candles
from engine.domain.cycle import CycleTimes
from engine.domain.ledger_values import Allocation
from engine.domain.limits import Limits
from engine.domain.matching import Terms
from engine.domain.model import (
    Instrument,
    OrderIntent,
    PortfolioSnapshot,
    Quote,
    Signal,
    TradingState,
)
from replay.account import ReplayAccount
from replay.good_windows import GoodWindows
from replay.history import History, moment
from replay.judging import Due, due_symbols, judge, to_judge
from replay.marking import MARGIN, Marking
from replay.memory import Memory
from replay.options import Options
from replay.record import Record
from replay.trust import Trust, listed_at
from replay.watch import Watch
from services.execution.limits import HardLimits
from services.strategy.evaluation import Asked

ACCOUNT_EPOCH = 1
MILLISECONDS = 1000
SEVERITY = (TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED)


class Moment(NamedTuple):
    """One now: a cycle's identity. Everything happens at once, so that all its times are now."""

    step: int
    now_ms: int
    now: datetime
    cycle_id: str
    epoch: int
    times: CycleTimes


def moment_of(step: int, now_ms: int) -> Moment:
    """The cycle of this now."""
    now = moment(now_ms)
    times = CycleTimes(
        started_at=now, allocate_by=now, cutoff_at=now, deadline_at=now, close_by=now
    )
    return Moment(step, now_ms, now, f"replay-{now_ms}", ACCOUNT_EPOCH, times)


class Runner:
    """A replay: history, account and strategies, and the trading state that losses latch.

    A step is taken where a strategy may see something, a holding may have to be left, or a loss may
    latch; in between the account is only marked (`marking`, `watch`).
    """

    def __init__(
        self,
        options: Options,
        history: History,
        limits: Limits,
        terms: Terms,
        asked: Sequence[Asked],
    ) -> None:
        services = options.settings.services
        self.history = history
        self.limits = limits
        self.record = Record()
        hard = HardLimits(**services.execution.limits.model_dump())
        self.account = ReplayAccount(
            accounts.open_account(limits.account, limits.account_currency, services.portfolio.cash),
            Memory(limits),
            terms,
            hard if options.is_enforced else None,
        )
        self.state = TradingState.ACTIVE
        self.steps_taken = 0
        self._options = options
        self._asked = asked
        self._stop_atr = services.strategy.default_stop_atr
        self._marking = Marking(self.account, history)
        self._watch = Watch(history, limits)
        self._good = GoodWindows(history)
        self._trust = Trust(history, limits)

    def run(self, progress: Callable[[int, int], None]) -> None:
        """Replay every now; `progress` is told how many of how many are done."""
        nows = self.history.nows
        ends = [int(nows[0]) - self.history.step_ms, *nows.tolist(), self.history.end_ms]
        self.account.begin(np.asarray(ends) / MILLISECONDS)
        due = due_symbols(self.history, self._asked)
        judged = [step for step, symbols in enumerate(due) if symbols]
        judged.append(len(nows))
        place, step = 0, -1
        while (step := min(judged[place], self._watch.next(step + 1))) < len(nows):
            self._take(step, due[step])
            place += judged[place] == step
            progress(step + 1, len(nows))
        self._advance(len(nows) - 1)
        progress(len(nows), len(nows))

    def finish(self) -> Moment:
        """The last candle closes: what it touches is left. Returns the moment after it."""
        cycle = moment_of(len(self.history.nows), self.history.end_ms)
        self._leave_touched(cycle, sorted(self.account.account.holdings))
        return cycle

    def last_quote(self, symbol: str) -> Quote | None:
        """The last quote that an order of this symbol could have met."""
        steps = np.flatnonzero(np.isfinite(self.history.bids(symbol)))
        if len(steps) == 0:
            return None
        quote = self.history.quote(symbol, int(self.history.nows[steps[-1]]))
        return None if isinstance(quote, str) else quote

    def _take(self, step: int, due: list[Due]) -> None:
        """One step of those that matter."""
        self.steps_taken += 1
        cycle = moment_of(step, int(self.history.nows[step]))
        looked_at = self._watch.due(step)
        fills = len(self.account.fills)
        if looked_at and self._options.exits_at_touch:
            self._advance(step - 1)
            self._leave_touched(cycle, looked_at)
            looked_at = [each for each in looked_at if each in self.account.account.holdings]
        self._cycle(cycle, due, looked_at)
        if len(self.account.fills) > fills:
            self._advance(step)
            self.account.note(step + 1)

    def _advance(self, to: int) -> None:
        """Mark the account through a step, and latch what it lost on the way."""
        while self._marking.done < to:
            equity = self._marking.equity(to)
            breach = self._first_breach(equity)
            last = to if breach is None else self._marking.done + 1 + breach
            self._marking.advance(last, equity[: last - self._marking.done])
            if breach is not None:
                now = moment(int(self.history.nows[last]))
                self._latch(now, self.account.snapshot(now))

    def _first_breach(self, equity: NDArray[np.float64]) -> int | None:
        """The first of these steps at which a loss may lower the trading state."""
        if not self.limits.risk.is_enforced or self.state is TradingState.HALTED:
            return None
        risk = self.limits.risk
        daily = risk.max_daily_loss_soft
        if self.state is TradingState.REDUCING:
            daily = risk.max_daily_loss_hard
        if self._marking.deepest(equity) < float(min(daily, risk.max_drawdown)) - MARGIN:
            return None
        of_day, of_peak = self._marking.losses(equity)
        broken = of_day >= float(daily) - MARGIN
        broken |= of_peak >= float(risk.max_drawdown) - MARGIN
        return int(np.argmax(broken)) if broken.any() else None

    def _leave_touched(self, cycle: Moment, symbols: list[str]) -> None:
        """Sell those positions whose level the new candle touched, where it was touched."""
        if not self._options.exits_at_touch or not self._has_levels(symbols):
            return
        snapshot = self.account.snapshot(cycle.now)
        desk = self._desk(cycle, snapshot, symbols, self._windows(cycle, symbols))
        found: list[OrderIntent] = []
        quotes: dict[str, Quote] = {}
        for position in snapshot.positions:
            if position.symbol not in desk.facts:
                continue
            cause = candidates.touched(desk, position)
            if cause is None:
                continue
            if cause.candle_time != self.history.newest(position.symbol, cycle.now_ms).time:
                continue
            intent = candidates.leave(desk, position, cause, None)
            price = cause.touch_price
            if intent is not None and price > 0:
                found.append(intent)
                quotes[position.symbol] = Quote(bid=price, ask=price, last=price, as_of=cycle.now)
        self._allocate(cycle, desk, found, quotes, {}, at_touch=True)

    def _has_levels(self, held: Iterable[str]) -> bool:
        """Whether any of what is held can be touched at all."""
        plan = self.limits.exits
        return any(exits.has_levels(self.account.memory.levels(symbol), plan) for symbol in held)

    def _cycle(self, cycle: Moment, may_judge: list[Due], looked_at: list[str]) -> None:
        held = sorted(self.account.account.holdings)
        if self.limits.risk.is_enforced:
            self._advance(cycle.step)
        due = to_judge(may_judge, self.account.account.holdings)
        chosen = self._select(cycle, held, sorted({*looked_at, *due}))
        windows = self._windows(cycle, sorted({*looked_at, *due} & chosen.keys()))
        kept = self._signals(cycle, [each for each in due if each in chosen], windows)
        if not looked_at and not kept:
            return
        self._advance(cycle.step)
        snapshot = self.account.snapshot(cycle.now)
        symbols = sorted({*looked_at, *(signal.symbol for signal in kept)})
        desk = self._desk(cycle, snapshot, symbols, windows, chosen)
        if self.limits.risk.is_enforced and not self._may_enter(cycle, held):
            desk = desk._replace(may_enter=False)
        gathered = candidates.gather(desk, kept)
        self.record.dropped(cycle.now, gathered.dropped)
        self.record.decisions(cycle.now, gathered.denied)
        wanted = [intent.symbol for intent in gathered.candidates]
        quotes, problems = self._quotes(cycle, wanted)
        self._allocate(cycle, desk, gathered.candidates, quotes, problems, at_touch=False)

    def _quotes(self, cycle: Moment, symbols: list[str]) -> tuple[dict[str, Quote], dict[str, str]]:
        good: dict[str, Quote] = {}
        problems: dict[str, str] = {}
        for symbol in dict.fromkeys(symbols):
            quote = self.history.quote(symbol, cycle.now_ms)
            if isinstance(quote, str):
                problems[symbol] = quote
            else:
                good[symbol] = quote
        return good, problems

    def _latch(self, now: datetime, snapshot: PortfolioSnapshot) -> None:
        """Losses lower the trading state for the rest of the replay: nobody resumes it."""
        for breach in rules.safety(snapshot, self.limits.risk):
            if SEVERITY.index(breach.level) > SEVERITY.index(self.state):
                self.state = breach.level
                self.record.latched(now, breach)

    def _select(self, cycle: Moment, held: list[str], symbols: list[str]) -> dict[str, Instrument]:
        """Of these symbols those that are worked on; all are asked where a rank decides."""
        holding = held
        if len(self.history.candles) > self.limits.selection.max_symbols:
            symbols = list(self.history.candles)
        else:
            holding = [each for each in held if each in symbols]
        chosen = listed_at(self.history, symbols, cycle.now_ms, holding, self.limits)
        self.record.refused(cycle.now, chosen.outcomes)
        return {instrument.symbol: instrument for instrument in chosen.selected}

    def _windows(self, cycle: Moment, symbols: list[str]) -> dict[str, Candles]:
        """Candles fit to be traded on, by symbol; the fault of the others is recorded."""
        windows: dict[str, Candles] = {}
        for symbol in symbols:
            window = self.history.window(symbol, cycle.step, cycle.now_ms)
            if isinstance(window, str):
                self.record.skipped(cycle.now, symbol, window)
            else:
                windows[symbol] = window
        return windows

    def _signals(
        self,
        cycle: Moment,
        due: list[str],
        windows: dict[str, Candles],
    ) -> tuple[Signal, ...]:
        holdings = self.account.account.holdings
        held = {each: accounts.position_of(holdings[each]) for each in due if each in holdings}
        found: list[Signal] = []
        for symbol in due:
            if symbol in windows:
                opinions, faults = judge(
                    self._asked, symbol, windows[symbol], held.get(symbol), self._stop_atr
                )
                found += opinions
                self.record.failed(cycle.now, symbol, faults)
        if not found:
            return ()
        filtered = signals.filter_signals(
            found,
            strategies=[each.label for each in self._asked],
            min_confidence=self.limits.min_confidence,
            ttl_s=self.limits.risk.signal_ttl_s,
            timeframe_s=self.limits.timeframe_s,
            market_time=cycle.now,
            newest={symbol: int(series.time[-1]) for symbol, series in windows.items()},
            positions=held,
        )
        self.record.dropped(cycle.now, filtered.dropped)
        return filtered.kept

    def _desk(
        self,
        cycle: Moment,
        snapshot: PortfolioSnapshot,
        symbols: list[str],
        windows: dict[str, Candles],
        chosen: dict[str, Instrument] | None = None,
    ) -> Desk:
        """What these symbols are judged on; of the others nothing can be asked."""
        held = sorted(self.account.account.holdings)
        if chosen is None:
            chosen = {each: self.history.instrument(each, cycle.now_ms) for each in symbols}
        return Desk(
            snapshot=snapshot,
            facts=self.account.memory.symbol_facts(symbols, cycle.now),
            candles=self._good.usable(cycle.step, symbols, windows, self.account.account.holdings),
            instruments=chosen,
            limits=self.limits,
            market_time=cycle.now,
            trading_state=self._trust.state(self.state, cycle.step, held),
            may_enter=True,
        )

    def _may_enter(self, cycle: Moment, held: list[str]) -> bool:
        """Not without a price of everything that is held, nor once no further candle comes."""
        if cycle.now_ms == self.history.feed.end_ms:
            return False
        bids, places = self.history.bids_at(cycle.step), self.history.places
        return not any(math.isnan(bids[places[symbol]]) for symbol in held)

    def _allocate(
        self,
        cycle: Moment,
        desk: Desk,
        found: list[OrderIntent],
        quotes: dict[str, Quote],
        problems: dict[str, str],
        *,
        at_touch: bool,
    ) -> None:
        """Grant the budget once, and send what was granted."""
        if not found or desk.snapshot is None:
            return
        state, held = desk.trading_state, sorted(self.account.account.holdings)
        may_enter = desk.may_enter and state is TradingState.ACTIVE
        is_entry = any(not intent.is_exit for intent in found)
        if may_enter and is_entry and self._trust.is_lost(cycle.step, held):
            may_enter = False
        facts = self.account.memory.allocation_facts(tuple(found), state, cycle.now)
        made: Allocation = allocation.allocate(
            facts,
            snapshot=desk.snapshot,
            quotes=quotes,
            quote_problems=problems,
            instruments=desk.instruments,
            limits=self.limits,
            cycle=cycle,
            market_time=cycle.now,
            now=cycle.now,
            may_enter=may_enter,
        )
        self.record.decisions(cycle.now, made.decisions)
        for order in made.orders:
            picture = self.history.picture(order.symbol, quotes[order.symbol], cycle.now_ms)
            filled_in = (
                picture.candle_time
                if at_touch
                else self.history.filled_in(order.symbol, cycle.now_ms)
            )
            self.account.place(order, picture, filled_in)
            self._rewatch(order.symbol, cycle)

    def _rewatch(self, symbol: str, cycle: Moment) -> None:
        """What is held of the symbol has changed: so has what can happen to it."""
        held = self.account.account.holdings.get(symbol)
        if held is None:
            self._watch.drop(symbol)
            return
        facts = self.account.memory.levels(symbol)
        self._watch.keep(accounts.position_of(held), facts, cycle.step + 1)
