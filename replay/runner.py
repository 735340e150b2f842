"""One moment of decision after another, in the order of a cycle's steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from engine.domain import account as accounts
from engine.domain import allocation, batching, candidates, degraded, quality, signals
from engine.domain import risk as rules
from engine.domain.candidates import Desk
from engine.domain.cycle import CycleTimes
from engine.domain.ledger_values import Allocation
from engine.domain.limits import Limits
from engine.domain.matching import Terms
from engine.domain.model import (
    Candles,
    Instrument,
    OrderIntent,
    PortfolioSnapshot,
    Quote,
    Signal,
    TradingState,
)
from replay.account import ReplayAccount
from replay.history import History, moment
from replay.judging import due_symbols, judge
from replay.memory import Memory
from replay.options import Options
from replay.record import Record
from services.execution.limits import HardLimits
from services.strategy.evaluation import Asked

ACCOUNT_EPOCH = 1
SEVERITY = (TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED)


@dataclass(frozen=True)
class Moment:
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
    """A replay: history, account and strategies, and the trading state that losses latch."""

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
        self._options = options
        self._asked = asked
        self._stop_atr = services.strategy.default_stop_atr
        self._good: dict[str, Candles] = {}
        self._last_quotes: dict[str, Quote] = {}

    def run(self, progress: Callable[[int, int], None]) -> None:
        """Replay every now; `progress` is told how many of how many are done."""
        nows = self.history.nows.tolist()
        due = due_symbols(self.history, self._asked)
        self.account.note(moment(nows[0] - self.history.step_ms))
        for step, now_ms in enumerate(nows):
            cycle = moment_of(step, now_ms)
            self._leave_touched(cycle)
            self._cycle(cycle, due[step])
            self.account.note(cycle.now)
            progress(step + 1, len(nows))

    def finish(self) -> Moment:
        """The last candle closes: what it touches is left. Returns the moment after it."""
        cycle = moment_of(len(self.history.nows), self.history.end_ms)
        self._leave_touched(cycle)
        return cycle

    def last_quote(self, symbol: str) -> Quote | None:
        """The last quote that an order of this symbol could have met."""
        return self._last_quotes.get(symbol)

    def _leave_touched(self, cycle: Moment) -> None:
        """Positions whose exit level the new candle touched, sold where it was touched."""
        if not self._options.exits_at_touch or not self.account.account.holdings:
            return
        if not self._has_levels(self.account.account.holdings):
            return
        snapshot = self.account.snapshot(cycle.now)
        symbols = [position.symbol for position in snapshot.positions]
        desk = self._desk(cycle, snapshot, [], self._windows(cycle, symbols))
        found: list[OrderIntent] = []
        quotes: dict[str, Quote] = {}
        for position in snapshot.positions:
            cause = candidates.touched(desk, position)
            newest = self.history.newest(position.symbol, cycle.now_ms).time
            if cause is None or cause.candle_time != newest:
                continue
            intent = candidates.leave(desk, position, cause, None)
            price = cause.touch_price
            if intent is not None and price > 0:
                found.append(intent)
                quotes[position.symbol] = Quote(bid=price, ask=price, last=price, as_of=cycle.now)
        self._allocate(cycle, desk, found, quotes, {}, at_touch=True)

    def _has_levels(self, held: Iterable[str]) -> bool:
        """Whether anything that is held can be touched at all."""
        plan = self.limits.exits
        if plan.stop is not None or plan.target is not None or plan.trailing is not None:
            return True
        return any(self.account.memory.has_levels(symbol) for symbol in held)

    def _cycle(self, cycle: Moment, due: list[str]) -> None:
        held = sorted(self.account.account.holdings)
        quotes, problems = self._quotes(cycle, [*held, *due] if held or due else [])
        bids = {symbol: quotes[symbol].bid for symbol in held if symbol in quotes}
        self.account.mark(bids, cycle.now)
        if not held and not due:
            return
        snapshot = self.account.snapshot(cycle.now)
        self._latch(cycle, snapshot)
        chosen = self._select(cycle, held, due)
        windows = self._windows(cycle, sorted({*held, *due} & chosen.keys()))
        kept = self._signals(cycle, snapshot, [each for each in due if each in chosen], windows)
        if not held and not kept:
            return
        desk = self._desk(cycle, snapshot, kept, windows, chosen)
        if self.limits.risk.is_enforced and not self._may_enter(cycle, held, quotes):
            desk = replace(desk, may_enter=False)
        gathered = candidates.gather(desk, kept)
        self.record.dropped(cycle.now, gathered.dropped)
        self.record.decisions(cycle.now, gathered.denied)
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
        self._last_quotes |= good
        return good, problems

    def _latch(self, cycle: Moment, snapshot: PortfolioSnapshot) -> None:
        """Losses lower the trading state for the rest of the replay: nobody resumes it."""
        if not self.limits.risk.is_enforced:
            return
        for breach in rules.safety(snapshot, self.limits.risk):
            if SEVERITY.index(breach.level) > SEVERITY.index(self.state):
                self.state = breach.level
                self.record.latched(cycle.now, breach)

    def _select(self, cycle: Moment, held: list[str], due: list[str]) -> dict[str, Instrument]:
        """The symbols worked on, of those that matter; all are asked where a rank decides."""
        symbols = {*held, *due}
        if len(self.history.candles) > self.limits.selection.max_symbols:
            symbols = set(self.history.candles)
        listed = [
            self.history.instrument(symbol, cycle.now_ms)
            for symbol in symbols
            if self.history.first_close[symbol] <= cycle.now_ms
        ]
        chosen = batching.select(
            listed,
            held=held,
            requested=None,
            currency=self.limits.account_currency,
            limits=self.limits.selection,
        )
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
        snapshot: PortfolioSnapshot,
        due: list[str],
        windows: dict[str, Candles],
    ) -> tuple[Signal, ...]:
        held = {position.symbol: position for position in snapshot.positions}
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
        kept: Sequence[Signal],
        windows: dict[str, Candles],
        chosen: dict[str, Instrument] | None = None,
    ) -> Desk:
        held = [position.symbol for position in snapshot.positions]
        symbols = sorted({*held, *(signal.symbol for signal in kept)})
        # A held symbol whose candles turn bad is judged on its last good ones, as from the cache.
        self._good |= {symbol: windows[symbol] for symbol in symbols if symbol in windows}
        usable = {symbol: self._good[symbol] for symbol in held if symbol in self._good}
        if chosen is None:
            chosen = {each: self.history.instrument(each, cycle.now_ms) for each in symbols}
        return Desk(
            snapshot=snapshot,
            facts=self.account.memory.symbol_facts(symbols, cycle.now),
            candles={**usable, **windows},
            instruments=chosen,
            limits=self.limits,
            market_time=cycle.now,
            trading_state=self._state_of(cycle),
            may_enter=True,
        )

    def _may_enter(self, cycle: Moment, held: list[str], quotes: dict[str, Quote]) -> bool:
        """Not without a price of everything that is held, nor once no further candle comes."""
        is_last = cycle.now_ms == self.history.feed.end_ms
        return not is_last and all(symbol in quotes for symbol in held)

    def _state_of(self, cycle: Moment) -> TradingState:
        """REDUCING too where one of the two cycles before did not trust the market."""
        earlier = range(max(cycle.step - degraded.GOOD_CYCLES, 0), cycle.step)
        nows = self.history.nows
        if self.state is TradingState.ACTIVE and any(
            self.history.has_suspects(step)
            and self._is_distrusted(moment_of(step, int(nows[step])))
            for step in earlier
        ):
            return TradingState.REDUCING
        return self.state

    def _is_distrusted(self, cycle: Moment) -> bool:
        """Whether too many of the symbols a cycle would work on have unusable candles."""
        if not self.limits.risk.is_enforced or not self.history.has_suspects(cycle.step):
            return False
        held = sorted(self.account.account.holdings)
        chosen = self._select(cycle, held, sorted(self.history.candles))
        worked_on = sorted({*chosen, *held})
        bad = self.history.bad_symbols(cycle.step, cycle.now_ms, worked_on)
        return quality.is_distrusted(bad, len(worked_on), self.limits.quality)

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
        state = desk.trading_state
        may_enter = desk.may_enter and state is TradingState.ACTIVE
        is_entry = any(not intent.is_exit for intent in found)
        if may_enter and is_entry and self._is_distrusted(cycle):
            may_enter = False
        facts = self.account.memory.allocation_facts(
            tuple(found), state, cycle.now, self.account.account.holdings
        )
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
