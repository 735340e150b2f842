"""The protocol under a seeded scheduler: a quick selection.

`python -m tests.faults.simulation` runs as many seeds as wanted; a seed that fails runs again
alone with `--seed N --trace`.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.faults.simulation.campaign import Campaign, run_some
from tests.faults.simulation.controls import CONTROLS, hunt
from tests.faults.simulation.expected import QUICKLY
from tests.faults.simulation.quick_statements import QuickConnection
from tests.faults.simulation.world import World

SEEDS = range(19)
ADDRESS = re.compile(r"\d{6,}")  # of objects in this process
QUICK_CONTROLS = (
    "check_then_write",
    "no_epoch_check",
    "no_fence",
    "random_client_order_id",
    "release_on_timeout",
    "snapshot_before_reconcile",
    "success_on_404",
    "unbounded_tries",
    "unfrozen_payload",
)


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    return run_some(SEEDS)


def test_no_seed_of_the_selection_breaks_an_invariant(campaign: Campaign) -> None:
    assert campaign.seeds == len(SEEDS)
    assert campaign.failures == []


def test_the_selection_trades_and_meets_what_it_should(campaign: Campaign) -> None:
    assert campaign.fills > len(SEEDS)
    assert campaign.bound * 2 >= campaign.seeds
    assert sorted(name for name in QUICKLY if campaign.seen[name] == 0) == []


def test_a_seed_runs_the_same_each_time() -> None:
    traces: list[list[str]] = [[], []]
    for trace in traces:
        World(SEEDS[3], trace=trace.append).run()
    first, second = ([ADDRESS.sub("#", line) for line in trace] for trace in traces)
    assert len(first) > 100
    assert first == second


def test_a_run_is_the_same_when_sqlalchemy_executes_every_statement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The simulation's short way to SQLite leaves out what makes no difference."""

    def execute_in_full(self: QuickConnection, statement: Any, parameters: Any = None) -> Any:
        return self.real.execute(statement, parameters)

    quick = World(SEEDS[5]).run()
    monkeypatch.setattr(QuickConnection, "execute", execute_in_full)
    full = World(SEEDS[5]).run()
    assert quick == full
    assert quick.transactions > 100


@pytest.mark.parametrize("bug", QUICK_CONTROLS)
def test_a_bug_of_the_product_is_found(bug: str) -> None:
    """Within a bounded number of seeds, some invariant is broken."""
    assert hunt(bug) is not None


@pytest.mark.parametrize("bug", sorted(CONTROLS))
def test_the_trouble_of_a_control_breaks_nothing_without_its_bug(bug: str) -> None:
    """So that it is the bug that is found."""
    found = World(1, faults=CONTROLS[bug].faults(1)).run().breaches
    assert found == ()


@pytest.mark.slow
@pytest.mark.parametrize("bug", sorted(CONTROLS.keys() - set(QUICK_CONTROLS)))
def test_a_bug_that_needs_rare_trouble_is_found(bug: str) -> None:
    """As above, with more seeds than a quick selection has time for."""
    assert hunt(bug) is not None
