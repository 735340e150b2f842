"""The upkeep worker's loops: the product's own watchdog, again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

from engine.domain.model import TradingState
from engine.errors import TradingError
from tasks import upkeep as upkeep_tasks
from tests.faults.simulation.fleet import RESTART_S, UPKEEP
from tests.faults.simulation.operator_desk import StandingSchedule
from tests.faults.simulation.scheduler import Process

if TYPE_CHECKING:
    from tests.faults.simulation.world import World

OPEN_ORDER = "status in ('RESERVED','SENDING','UNKNOWN','ACCEPTED','PARTIAL')"


class UpkeepLoops:
    """Each kind of work has a thread of its own, in one process that may die as a whole."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._upkeep: Any = None

    def begin(self, watch_s: float, reconcile_s: float) -> None:
        """Start both loops, each at a moment of its own."""
        self._loop("watch", watch_s, lambda: self._worker().watch())
        self._loop("reconcile", reconcile_s, lambda: self._worker().reconcile())

    def _worker(self) -> Any:
        """The worker of this moment; a new one after a death."""
        world = self._world
        if self._upkeep is None:
            fresh = cast("Any", upkeep_tasks.Upkeep.__new__(upkeep_tasks.Upkeep))
            desk, fleet = world.operator.desk, world.fleet
            with mock.patch.multiple(
                upkeep_tasks,
                build_desk=lambda *_: desk,
                build_vitals=lambda _: fleet,
            ):
                fresh.__init__(world.engine_on(UPKEEP))
            fresh._schedule = StandingSchedule(world.clock.true)
            self._upkeep = fresh
        return self._upkeep

    def _loop(self, name: str, every_s: float, work: Callable[[], object]) -> None:
        world = self._world

        def ended(process: Process, error: BaseException | None) -> None:
            if world.fleet.stopping:
                return
            if process.killed:  # the whole worker is gone, and starts again
                self._upkeep = None
                world.scheduler.at(world.faults.between(*RESTART_S), tick)
                return
            if error is not None and not isinstance(error, TradingError):
                world.failed(process, error)
            world.scheduler.at(every_s, tick)

        def tick() -> None:
            if world.fleet.stopping:
                return
            if not self._has_work(name):
                world.scheduler.at(every_s, tick)
                return
            world.start(name, UPKEEP, work, ended)

        world.scheduler.at(every_s * world.scheduler.random.random(), tick)

    def _has_work(self, name: str) -> bool:
        """A round that could change nothing is not run: it would only take time."""
        world, raw = self._world, self._world.connections.raw
        if name == "watch":
            return bool(raw.execute("select 1 from cycles where status='RUNNING'").fetchone())
        (operator,) = raw.execute("select operator from account").fetchone()
        return bool(
            world.book.applied_seq < len(world.venue.log)
            or (operator == TradingState.HALTED) != world.venue.halted
            or raw.execute(f"select 1 from orders where {OPEN_ORDER}").fetchone()  # noqa: S608
            or raw.execute("select 1 from causes").fetchone()
        )
