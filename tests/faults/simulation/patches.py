"""The places where the product reaches for Celery, threads, chance and the machine's clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

import structlog

from engine import failpoints, ports, reconcile, watch
from engine.control import cycles as cycle_control
from engine.control import halt as halt_control
from engine.pipeline import steps
from engine.watch import Repair
from tasks import batch as batch_tasks
from tasks import cycle as cycle_tasks
from tasks import upkeep as upkeep_tasks
from tests.faults.simulation.history import VARYING

if TYPE_CHECKING:
    from tests.faults.simulation.world import World

POLL_S = 0.7  # of whoever waits for the reconciler's lease: fewer looks, the same wait


class SimulatedTime:
    """What `time` is to the product's stopwatches."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.perf_counter = now


class CountedIds:
    """What `uuid` is to a repeated request: numbers that the seed decides."""

    def __init__(self, number: Callable[[], int]) -> None:
        self.uuid4 = number


@contextmanager
def patched(world: World) -> Iterator[None]:
    """The product's own modules, driven by this world until the block ends."""
    scheduler, fleet = world.scheduler, world.fleet
    with ExitStack() as stack:
        for where, name, stand_in in (
            (cycle_tasks, "engine", world.engine_of_turn),
            (batch_tasks, "engine", world.engine_of_turn),
            (cycle_tasks, "publish_batches", fleet.publish_batches),
            (cycle_tasks, "publish_orders", fleet.publish_orders),
            (upkeep_tasks, "flow", fleet),
            (upkeep_tasks, "repairs", _counted(world)),
            (halt_control, "in_parallel", world.operator.side_by_side),
            (steps, "time", SimulatedTime(lambda: scheduler.now_s)),
            (cycle_control, "uuid", CountedIds(lambda: scheduler.steps)),
            (reconcile, "POLL_S", POLL_S),
            (ports, "config_hash", _same_hash),
        ):
            stack.enter_context(mock.patch.object(where, name, stand_in))
        stack.enter_context(failpoints.observed(world.reached))
        stack.enter_context(logging_to(world.note if world.is_traced else None))
        yield


def _counted(world: World) -> Callable[..., tuple[Repair, ...]]:
    """`watch.repairs`, with each repair counted."""

    def repairs(*given: Any) -> tuple[Repair, ...]:
        found = watch.repairs(*given)
        for repair in found:
            world.history.seen[f"repair {repair.kind}: {VARYING.sub('#', repair.why)}"] += 1
        return found

    return repairs


def _same_hash(_settings: object) -> str:
    """Settings do not change within a run."""
    return "simulated"


@contextmanager
def logging_to(note: Callable[[str], None] | None) -> Iterator[None]:
    """No log lines, or all of them in the trace."""
    before = structlog.get_config()

    def trace(_logger: object, _method: str, event: Any) -> str:
        assert note is not None
        fields = [f"{name}={str(value)[:160]}" for name, value in event.items() if name != "event"]
        note(f"  log {event['event']} {' '.join(fields)}")
        raise structlog.DropEvent

    structlog.configure(
        wrapper_class=Silent if note is None else structlog.make_filtering_bound_logger(0),
        processors=[] if note is None else [trace],
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)


class Silent(structlog.BoundLoggerBase):
    """Says nothing, at no cost."""

    def _nothing(self, *_args: object, **_fields: object) -> None: ...

    debug = info = warning = error = exception = critical = _nothing
