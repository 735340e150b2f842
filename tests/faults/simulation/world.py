"""One run: a few cycles under fault, healing, two clean cycles, and what was left behind."""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from engine.ports import Engine
from engine.settings import Settings
from tests.faults.simulation.account_book import AccountBook
from tests.faults.simulation.checks import (
    check,
    check_healed,
    check_returned,
    check_settled,
    occurred,
)
from tests.faults.simulation.faults import Faults
from tests.faults.simulation.fleet import API, NODES, RESTART_S, Fleet, Node
from tests.faults.simulation.history import History
from tests.faults.simulation.market import NAMES, Market, MarketCache
from tests.faults.simulation.memory_ledger import fresh_ledger, shared_connections
from tests.faults.simulation.operator_desk import Operator
from tests.faults.simulation.patches import patched
from tests.faults.simulation.ports import (
    ExecutionCalls,
    Gate,
    LedgerSteps,
    MarketCalls,
    PortfolioCalls,
    Silence,
    StrategyCalls,
)
from tests.faults.simulation.scheduler import (
    START,
    Job,
    Killed,
    Pool,
    Process,
    Scheduler,
    SimulatedClock,
)
from tests.faults.simulation.trouble import INTERVAL_S, Trouble
from tests.faults.simulation.upkeep_loops import UpkeepLoops
from tests.faults.simulation.venue import Venue

GRACE_S = 30.0
CLEAN_CYCLES = 2
SETTLED_S = 80.0  # after the healing: a restart, the lease of a frozen reconciler, two rounds
RESTING_SHARE = 0.35
MOST_SKEW_S = 20.0
PROFILES: tuple[dict[str, Any], ...] = (
    {"min_cash": "0.05", "max_order_notional": "25000", "max_open_positions": 20},
    {"min_cash": "0.60", "max_order_notional": "25000", "max_open_positions": 20},
    {"min_cash": "0.05", "max_order_notional": "9000", "max_open_positions": 2},
    {"min_cash": "0.05", "max_gross_exposure": "0.3", "max_orders_per_cycle": 2},
    {"max_portfolio_risk": "0.02", "cooldown_candles": 0, "max_orders_per_symbol_per_hour": 9},
)
POOL = Pool()


@functools.cache
def settings_of(profile: int, batch_size: int) -> Settings:
    """The limits of a run; no loss latches anything, since prices are not what is tried here."""
    losses = {"max_daily_loss_soft": "0.9", "max_daily_loss_hard": "0.9", "max_drawdown": "0.9"}
    strategies = [{"id": name, "name": name} for name in ("first", "second")]
    engine = {"batch_size": batch_size, "candles": 24, "default_symbols": list(NAMES[:2])}
    return Settings.model_validate(
        {
            "trading_engine": engine,
            "risk": {"cooldown_candles": 1, **losses, **PROFILES[profile]},
            "sizing": {"method": "fraction", "fraction": "0.3"},
            "exits": {"stop": "0.02"},
            "services": {"strategy": {"strategies": strategies}},
        }
    )


@dataclass(frozen=True)
class Result:
    """What one run came to. `breaches` is empty where it was clean."""

    seed: int
    breaches: tuple[str, ...]
    seen: Counter[str]
    steps: int
    transactions: int
    fills: int
    limits_bound: bool


class World:
    """Everything of one run. `trace` is told every step; `faults` replaces the seed's own."""

    def __init__(
        self,
        seed: int,
        trace: Callable[[str], None] | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.seed = seed
        self.faults = Faults.of(seed) if faults is None else faults
        shape = random.Random(f"shape/{seed}")  # noqa: S311 - no secret
        self.scheduler = Scheduler(seed, POOL)
        self.clock = SimulatedClock(self.scheduler)
        self.settings = settings_of(shape.randrange(len(PROFILES)), shape.choice((1, 4, 4, 4)))
        self.ledger = fresh_ledger(self.settings)
        self.ledger.state.set_schedule(running=True, actor="test", now=self.clock.true())
        self.connections = shared_connections()
        self._make_services(shape)
        self._make_engine(trace)
        self.operator = Operator(self)
        self.loops = UpkeepLoops(self)
        self.healed_at = START
        self._cycles = shape.choice((1, 2, 2, 3))
        self._watch_s = shape.choice((5.0, 5.0, 9.0))
        self._reconcile_s = shape.choice((10.0, 20.0))

    def _make_services(self, shape: random.Random) -> None:
        now = self.clock.true
        self.market = Market(self.seed, shape.choice((2, 3, 4)), now)
        self.book = AccountBook(now)
        self.venue = Venue(
            self.seed,
            rests=shape.random() < RESTING_SHARE,
            now=now,
            quote=self.market.quote,
            market_time=self.market.time,
            step=lambda: self.scheduler.steps,
            later=self.scheduler.at,
        )

    def _make_engine(self, trace: Callable[[str], None] | None) -> None:
        self._trace = trace
        self.history = History(
            self.settings,
            self.venue,
            self.connections.raw,
            lambda: self.scheduler.steps,
            lambda: self.scheduler.now_s,
        )
        self.gate = Gate(
            self.scheduler,
            self.faults,
            self.history.watch,
            trace=self.note if self.is_traced else None,
            on_kill=self._killed,
            seen=self.history.seen,
        )
        self.fleet = Fleet(self.gate, self.start, self.failed, self.clock.true)
        self.cache = MarketCache(lambda: not self.fleet.redis_up)
        self.ledger_steps = LedgerSteps(self.gate, self.ledger)

    @property
    def is_traced(self) -> bool:
        """Whether anybody listens."""
        return self._trace is not None

    def note(self, text: str) -> None:
        """One line of the trace: when, who, what."""
        if self._trace is not None:
            process = self.scheduler.current
            who = "-" if process is None else f"{process.name}#{process.number}"
            self._trace(f"{self.scheduler.now_s:9.3f} {who:16} {text}")

    def engine_on(self, node: str) -> Engine:
        """A new process' engine."""
        gate = self.gate
        return Engine(
            settings=self.settings,
            clock=self.clock,
            market_data=cast("Any", MarketCalls(gate, self.market)),
            strategy=cast("Any", StrategyCalls(gate, self.market)),
            portfolio=cast("Any", PortfolioCalls(gate, self.book)),
            execution=cast("Any", ExecutionCalls(gate, self.venue)),
            monitoring=cast("Any", Silence()),
            ledger=cast("Any", self.ledger_steps),
            cache=self.cache,
            worker=self.fleet.nodes[node].identity,
        )

    def engine_of_turn(self) -> Engine:
        """What `tasks.process.engine()` gives to whoever runs."""
        process = self.scheduler.current
        assert process is not None
        return cast("Engine", process.memory["engine"])

    def start(
        self,
        name: str,
        node: str,
        job: Job,
        ended: Callable[[Process, BaseException | None], None],
    ) -> Process:
        """A new process on a node, with a clock and an engine of its own."""
        process = self.scheduler.spawn(name, node, job, ended)
        process.memory["engine"] = self.engine_on(node)
        if self.faults.has("clock_skew"):
            process.clock_skew_s = self.faults.dice.uniform(-MOST_SKEW_S, MOST_SKEW_S)
        return process

    def failed(self, process: Process, error: BaseException) -> None:
        """A process ended by an error that no product code raises on purpose."""
        frames = []
        at = error.__traceback__
        while at is not None:
            frames.append(f"{at.tb_frame.f_code.co_filename}:{at.tb_lineno}")
            at = at.tb_next
        where = " < ".join(frames[-4:][::-1])
        kind = type(error).__name__
        self.history.breaches.append(f"{process.name} raised {kind}: {str(error)[:300]} at {where}")

    def reached(self, place: str) -> None:
        """A named failpoint of the product."""
        process = self.scheduler.current
        if process is None or process.killed:
            return
        self.history.seen[f"place {place}"] += 1
        try:
            self.gate.danger("at", place, "kill_at_place")
        except Killed:
            self.history.seen[f"killed at {place}"] += 1
            raise

    def _killed(self, process: Process) -> None:
        """A pool's child dies alone, and sometimes with its node; the others are one process."""
        self.history.seen["killed"] += 1
        if process.node not in NODES or self.faults.has("node"):
            self.kill_node(self.fleet.nodes[process.node])

    def kill_node(self, node: Node) -> None:
        """Everything on it dies; it comes back as another one."""
        self.gate.note(f"node {node.name} dies")
        self.history.seen["node killed"] += 1
        node.is_up = False
        for process in list(self.scheduler.processes.values()):
            if process.node == node.name and process is not self.scheduler.current:
                self.scheduler.kill(process)

        def restart() -> None:
            node.starts += 1
            node.is_up = True
            if node.name == API:
                self.operator.restart()

        self.scheduler.at(self.faults.between(*RESTART_S), restart)

    def run(self) -> Result:
        """The whole run; it ends with every process gone."""
        before = self.connections.transactions
        trouble = Trouble(self, self._cycles)
        with patched(self):
            self.loops.begin(self._watch_s, self._reconcile_s)
            trouble.plan()
            end_s = self._plan_course(trouble)
            try:
                self.scheduler.run(lambda: self.scheduler.now_s >= end_s)
            finally:
                self.fleet.stopping = True
                self.scheduler.stop()
        return self._result(self.connections.transactions - before)

    def _plan_course(self, trouble: Trouble) -> float:
        """Faulty cycles, healing, quiet, clean cycles; when all of it is over."""
        at = self.scheduler.at
        for number in range(self._cycles):
            at(number * INTERVAL_S, trouble.beat)
        heal_s = self._cycles * INTERVAL_S - 5.0
        at(heal_s, trouble.heal)
        calm_s = heal_s + INTERVAL_S + GRACE_S
        at(heal_s + SETTLED_S, self._check_settled)
        at(calm_s - 1.0, self._check_healed)
        for number in range(CLEAN_CYCLES):
            at(calm_s + number * INTERVAL_S, trouble.beat)
        end_s = calm_s + CLEAN_CYCLES * INTERVAL_S + GRACE_S
        at(end_s - 1.0, self._check_returned)
        return end_s

    def _check_settled(self) -> None:
        self.history.breaches += check_settled(self)

    def _check_returned(self) -> None:
        self.history.breaches += check_returned(self, CLEAN_CYCLES)

    def _check_healed(self) -> None:
        self.history.breaches += check_healed(self)

    def _result(self, transactions: int) -> Result:
        breaches = [*self.history.breaches, *check(self, CLEAN_CYCLES)]
        occurred(self)
        troubles = Counter({f"fault {kind}": n for kind, n in self.faults.counts.items()})
        return Result(
            seed=self.seed,
            breaches=tuple(dict.fromkeys(breaches)),
            seen=self.history.seen + troubles,
            steps=self.scheduler.steps,
            transactions=transactions,
            fills=len(self.book.fills),
            limits_bound=self.history.limits_bound,
        )
