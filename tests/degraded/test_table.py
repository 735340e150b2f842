"""Every cell of the table: a cycle over real HTTP while one service, or two, go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.bootstrap import build_vitals
from engine.domain.degraded import effect_of
from engine.errors import ServiceError
from engine.service_settings import SERVICES, ServiceName
from engine.vitals import ServiceCheck
from tests.degraded import table
from tests.degraded.table import ALL, Row
from tests.degraded.world import Guarded, Made, Seen

SHORT_S = "0.4"
ROOT = Path(__file__).parents[2]
MANUAL = ROOT / "docs" / "degraded-modes.md"
ALWAYS = {
    ("market_data", "refused"),
    ("market_data", "stale"),
    ("market_data", "empty"),
    ("strategy", "wrong types"),
    ("strategy", "stale"),
    ("portfolio", "500"),
    ("portfolio", "future"),
    ("portfolio", "contradiction"),
    ("execution", "429"),
    ("execution", "stale"),
    ("monitoring", "down"),
}
ALWAYS_PAIRS = {("market_data", "portfolio"), ("portfolio", "execution")}


def cells() -> Iterator[Any]:
    """Each row with each of its faults; a selection runs always, the rest with --all."""
    for row in table.ROWS:
        for fault in row.faults:
            is_quick = (row.services[0], fault) in ALWAYS and not row.only
            is_quick = is_quick or (row.only != "" and fault == "half JSON")
            marks = [] if is_quick else [pytest.mark.slow]
            name = f"{row.services[0]} {fault}{' ' + row.only if row.only else ''}"
            yield pytest.param(row, fault, id=name, marks=marks)
    for row in table.pairs():
        marks = [] if row.services in ALWAYS_PAIRS else [pytest.mark.slow]
        yield pytest.param(row, "down", id=" and ".join(row.services), marks=marks)


def patience(row: Row, fault: str) -> dict[str, str]:
    """A service that does not answer in time is waited for shortly, every other one long."""
    if fault not in {"slow", "hangs"}:
        return {}
    return {f"SERVICES__{name.upper()}__TIMEOUT_S": SHORT_S for name in row.services}


def check_monitoring(world: Guarded) -> None:
    """Ask monitoring and write down what it said, as the upkeep worker does."""
    name: ServiceName = "monitoring"
    now = world.engine.clock.now()
    with pytest.raises(ServiceError) as failed:
        world.engine.probes[name]()
    check = ServiceCheck(status="down", detail=failed.value.detail, checked_at=now)
    build_vitals(world.engine.settings).write_check(name, check)


def agree(seen: Seen, row: Row) -> None:
    assert (seen.entries, seen.exits, seen.state) == (row.entries, row.exits, row.state)
    assert seen.steps == row.steps
    assert {entry.service for entry in seen.report.degraded} == set(row.lacking)
    for entry in seen.report.degraded:
        assert entry.effect == effect_of(entry.service)
        assert entry.since == seen.report.started_at
    told = {name: text for name, text in seen.lacking.items() if name != "monitoring"}
    assert told == {name: effect_of(name) for name in row.lacking}
    assert seen.latched == ([row.latched] if row.latched else [])


def test_a_healthy_cycle_sends_every_exit_and_every_entry(made: Made) -> None:
    with made() as world:
        agree(world.look(), Row(("none",), ("none",)))


@pytest.mark.parametrize(("row", "fault"), list(cells()))
def test_a_cell(row: Row, fault: str, made: Made) -> None:
    with made(**patience(row, fault)) as world:
        for service in row.services:
            world.spoil(service, fault, row.only)
        seen = world.look()
        agree(seen, row)
        assert world.were_unknown() == row.unknown
        assert seen.report.symbols.failed == 0
        if "monitoring" in row.services and fault not in {"NaN", "stale", "future", "empty"}:
            check_monitoring(world)
            told = {each["service"]: each["effect"] for each in world.status()["degraded"]}
            assert told["monitoring"] == effect_of("monitoring")


def test_every_service_meets_every_fault_and_every_other_service() -> None:
    kinds = {*table.SILENT, *table.GARBAGE, "stale", "future", "empty"}
    for service in SERVICES:
        met = [fault for row in table.ROWS if row.services == (service,) for fault in row.faults]
        assert kinds <= set(met), service
    assert len({frozenset(row.services) for row in table.pairs()}) == 10
    assert ALL == 3


def test_the_manual_shows_the_table_that_the_tests_run() -> None:
    text = MANUAL.read_text(encoding="utf-8")
    for lines in (table.markdown(), table.pair_lines(), table.effect_lines()):
        assert "\n".join(lines) in text
