"""Reconciliation against a ledger that others write to at the same time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import pytest

from engine import reconcile
from engine.domain.messages import EventPage, Fence
from engine.domain.model import PortfolioSnapshot
from engine.ledger.ledger import open_ledger
from engine.ports import Engine
from engine.settings import Settings
from tests.control_fakes import SteppingClock
from tests.factories import NOW, make_position, make_snapshot
from tests.ledger_world import World, entry, fill_event, sqlite_settings


@dataclass
class EmptyLog:
    """An execution service at whose log nothing new is found."""

    head: int

    def fence(self) -> Fence:
        return Fence(epoch=1, log_id="log")

    def events(self, _after: int, _limit: int) -> EventPage:
        return EventPage(log_id="log", events=(), head=self.head)


@dataclass
class Account:
    """A portfolio that shows one snapshot."""

    shown: PortfolioSnapshot

    def snapshot(self) -> PortfolioSnapshot:
        return self.shown


class Interrupted:
    """The ledger's orders, with somebody else's transaction before the positions are summed."""

    def __init__(self, orders: Any, before_sums: Callable[[], object]) -> None:
        self._orders = orders
        self._before_sums = before_sums

    def __getattr__(self, name: str) -> Any:
        return getattr(self._orders, name)

    def position_sums(self) -> dict[str, str]:
        self._before_sums()
        return cast("dict[str, str]", self._orders.position_sums())


def engine_of(
    settings: Settings, world: World, account: Account, before: Callable[[], object]
) -> Engine:
    @dataclass
    class Parts:
        cycles: Any
        orders: Any
        state: Any

    ledger = world.ledger
    parts = Parts(ledger.cycles, Interrupted(ledger.orders, before), ledger.state)
    nobody = cast("Any", None)
    return Engine(
        settings=settings,
        clock=SteppingClock(NOW),
        market_data=nobody,
        strategy=nobody,
        portfolio=cast("Any", account),
        execution=cast("Any", EmptyLog(world.seq)),
        monitoring=nobody,
        ledger=cast("Any", parts),
        cache=nobody,
        worker="test",
    )


@pytest.mark.parametrize("held", ["1", "2"])
def test_fills_stored_between_two_looks_are_no_mismatch(held: str) -> None:
    """A position that differs is a mismatch only where both sides stand at one seq."""
    with sqlite_settings() as settings:
        ledger = open_ledger(settings)
        world = World(ledger)
        order = world.trade(entry())
        position = make_position(quantity=held)
        account = Account(make_snapshot(position, applied_seq=ledger.orders.contiguous_seq()))

        def store_another() -> None:
            if held == "1":
                world.store(fill_event(world.next_seq(), order, "1", fill_id="another"))

        result = reconcile.run(engine_of(settings, world, account, store_another), wait_s=0)
        latched = {cause.cause for cause in ledger.state.read().latched}
        ledger.dispose()
    assert ("position_mismatch" in latched) is (held == "2")
    assert ("differ" in "".join(result.problems)) is (held == "2")


def test_a_reconciler_killed_with_the_lease_delays_the_next_by_less_than_twenty_seconds() -> None:
    """The watchdog looks each `reconcile_s`; what is uncertain is settled within thirty seconds."""
    with sqlite_settings() as settings:
        ledger = open_ledger(settings)
        account = Account(make_snapshot())
        engine = engine_of(settings, World(ledger), account, lambda: None)
        assert ledger.state.take_lease(reconcile.LEASE, "killed", NOW, reconcile.LEASE_S)
        refused = 0
        while reconcile.run_if_free(engine) is None:
            refused += 1
            engine.clock.sleep(settings.timing.reconcile_s)
            assert engine.clock.now() - NOW <= timedelta(seconds=20)
        ledger.dispose()
    assert refused, "a lease that nobody heeds makes no reconciliation rare"
