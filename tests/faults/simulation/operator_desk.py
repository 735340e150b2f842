"""The operator: halts, resumes and cycles on request, through the product's own controls."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from engine import reconcile
from engine.control import cycles as cycle_control
from engine.control import halt as halt_control
from engine.control.desk import Desk, Switch
from engine.control.parallel import Outcome
from engine.domain.model import TradingState
from engine.errors import TradingError
from tests.faults.simulation.fleet import API
from tests.faults.simulation.scheduler import Process, Scheduler

if TYPE_CHECKING:
    from datetime import datetime

    from tests.faults.simulation.world import World

RESUME_EVERY_S = 12.0
WATCHED_S = 140.0  # the last late request has come
SIDE_BY_SIDE_S = 5.0
LOCK_POLL_S = 0.02


class StandingSchedule:
    """Beat's entry, which is always there: the world itself sends the cycles."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now

    def save(self, _interval_s: float) -> None:
        """It is there."""

    def remove(self) -> None:
        """It stays."""

    def next_run_at(self) -> datetime:
        """Now."""
        return self._now()


class TurnLock:
    """A lock that waits by giving its turn away."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._is_held = False

    def __enter__(self) -> None:
        while self._is_held:
            self._scheduler.pause(LOCK_POLL_S)
        self._is_held = True

    def __exit__(self, *_: object) -> None:
        self._is_held = False


class Operator:
    """One person at the API of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.desk = self._new_desk()

    def restart(self) -> None:
        """The API begins anew, with nothing in its memory."""
        self.desk = self._new_desk()

    def _new_desk(self) -> Desk:
        world = self._world
        switch = Switch()
        switch.writing = cast("Any", TurnLock(world.scheduler))
        return Desk(
            engine=world.engine_on(API),
            queries=cast("Any", world.ledger_steps.queries),
            account=cast("Any", None),
            operator=cast("Any", None),
            dispatcher=world.fleet,
            schedule=cast("Any", StandingSchedule(world.clock.true)),
            vitals=cast("Any", world.fleet),
            circuits=lambda _now: {},
            reconcile=reconcile.run,
            switch=switch,
        )

    def ask(self, name: str, work: Callable[[], object]) -> None:
        """One request to the API."""
        world = self._world
        if not world.fleet.nodes[API].is_up:
            world.gate.note(f"{name}: the API is down")
            return

        def ended(process: Process, error: BaseException | None) -> None:
            if world.fleet.stopping or process.killed:
                return
            if error is not None and not isinstance(error, TradingError):
                world.failed(process, error)
            elif error is not None:
                world.gate.note(f"{name}: {type(error).__name__} {error}")

        world.start(name, API, work, ended)

    def halt(self) -> None:
        """POST /halt."""
        answer = halt_control.halt(self.desk, "trial", "operator", cancel_open=True)
        self._world.history.halted(
            ledger=answer.ledger == "confirmed", execution=answer.execution == "confirmed"
        )
        self._world.gate.note(f"halted: ledger {answer.ledger}, execution {answer.execution}")

    def resume(self) -> None:
        """POST /resume."""
        self._world.history.resuming()
        halt_control.resume(self.desk, TradingState.ACTIVE, "trial", "operator")
        self._world.history.seen["resumed"] += 1
        self._world.gate.note("resumed")

    def ask_for_cycle(self) -> None:
        """POST /cycle."""
        request_id = f"r{self._world.scheduler.steps}"
        cycle_control.request_cycle(self.desk, request_id, None, dry_run=False)

    def keep_resuming(self, watched_s: float = 0.0) -> None:
        """Until nothing is latched or halted any more, and a while longer.

        The reconciler may be on its way still with news that latch something.
        """
        raw = self._world.connections.raw
        (operator,) = raw.execute("select operator from account").fetchone()
        latched = raw.execute("select cause from causes where kind='latched'").fetchall()
        needed = operator != TradingState.ACTIVE or self._world.venue.halted or latched
        if needed:
            self.ask("resume", self.resume)
        if needed or watched_s < WATCHED_S:
            again = functools.partial(self.keep_resuming, watched_s + RESUME_EVERY_S)
            self._world.scheduler.at(RESUME_EVERY_S, again)

    def side_by_side(
        self, calls: Mapping[str, Callable[[], object]], _timeout_s: float
    ) -> dict[str, Outcome]:
        """`in_parallel` under the schedule: each call is a process of its own."""
        scheduler = self._world.scheduler
        outcomes: dict[str, Outcome] = {}
        mine = scheduler.current
        assert mine is not None

        def run(name: str, call: Callable[[], object]) -> None:
            try:
                outcomes[name] = Outcome(value=call())
            except Exception as error:  # noqa: BLE001 - as the real one does
                outcomes[name] = Outcome(error=error)

        helpers = [
            self._world.start(f"{mine.name}/{name}", API, functools.partial(run, name, call), gone)
            for name, call in calls.items()
        ]
        give_up_at = scheduler.now_s + SIDE_BY_SIDE_S
        while any(helper.alive for helper in helpers) and scheduler.now_s < give_up_at:
            scheduler.pause(0.05)
        late = Outcome(error=TimeoutError("no answer in time"))
        return {name: outcomes.get(name, late) for name in calls}


def gone(_process: Process, _error: BaseException | None) -> None:
    """The one who waits looks for itself."""
