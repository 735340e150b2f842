"""Fixed bad answers through the whole pipeline: no order, no crash, a reason for each symbol."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.domain.cycle import OutcomeStatus
from engine.domain.model import Verdict
from tests.degraded.bad_inputs import INPUTS, NEW, Change
from tests.degraded.world import Guarded, Made, sent_bodies
from tests.faulty_server import HUGE, FaultyServer, Reply

ALWAYS = {"NaN close", "a spike", "crossed", "confidence above one"}
MEGABYTE = 1024 * 1024
ROOT = Path(__file__).parents[2]


def cases() -> list[Any]:
    found = []
    for service, name, change in INPUTS:
        marks = [] if name in ALWAYS else [pytest.mark.slow]
        found.append(pytest.param(service, change, id=f"{service} {name}", marks=marks))
    return found


def test_there_are_at_least_sixty() -> None:
    assert len(INPUTS) >= 60
    assert len({(service, name) for service, name, _ in INPUTS}) == len(INPUTS)


@pytest.mark.parametrize(("service", "change"), cases())
def test_nothing_is_bought_on_it_and_every_symbol_has_its_reason(
    service: str, change: Change, made: Made
) -> None:
    with made() as world:
        world.fronts[service].spoil = change
        seen = world.look()
        bought = {body["symbol"] for body in sent_bodies(world.fronts["execution"].reached)}
        assert not bought & set(NEW)
        assert seen.report.symbols.failed == 0
        assert seen.report.batches.failed == 0
        explain(world, seen.report.cycle_id)


def explain(world: Guarded, cycle_id: str) -> None:
    """Every symbol without an order has a reason: skipped, dropped, denied, or a service's."""
    facts = world.ledger.cycles.facts(cycle_id)
    detail = world.ledger.queries.cycle(cycle_id)
    told = {entry.symbol for entry in facts.outcomes if entry.reason}
    told |= {entry.signal.symbol for entry in detail.signal_list if entry.reason}
    told |= {each.intent.symbol for each in facts.decisions if each.verdict is Verdict.DENIED}
    lacking = {entry.service for entry in facts.report.degraded}
    for symbol in NEW:
        assert symbol in told or lacking, symbol
    for entry in facts.outcomes:
        assert entry.reason or entry.status is OutcomeStatus.OK


@pytest.mark.slow
def test_memory_stays_bounded_whatever_a_service_answers() -> None:
    kinds = replies()
    calls_each = 7
    with FaultyServer([kind for kind in kinds for _ in range(calls_each)]) as server:
        command = [sys.executable, "-m", "tests.degraded.memory_probe", server.url]
        done = subprocess.run(
            [*command, str(len(kinds))], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert len(server.asked) == calls_each * len(kinds)
    assert float(done.stdout) < 200


def replies() -> list[Reply]:
    """Fifty megabytes of several kinds, and just below the cap."""
    size, below = 50 * MEGABYTE, 31 * MEGABYTE
    rows = b'{"as_of": "2025-11-22T12:00:00Z", "clock": "replay", "timeframe": "1h", '
    return [
        HUGE,
        Reply(body=b"[" + b"0," * (size // 2) + b"0]"),
        Reply(body=rows + b'"symbols": [' + b"0," * (below // 2) + b"0]}"),
        Reply(body=rows + b'"symbols": [' + b"{}," * (900_000) + b"{}]}"),
        Reply(body=rows + b'"candles": {"S1/USD": {"time": [' + b"1," * 900_000 + b"1]}}}"),
        Reply(body=rows + b'"candles": {"S1/USD": [' + b"NaN," * 900_000 + b"1]}}"),
        Reply(body=b'{"as_of": "' + b"x" * below + b'"}'),
        Reply(body=b'{"a": ' + b"[" * below),
        Reply(body=b'{"type": "' + b"x" * below + b'"}', status=500),
        Reply(body=b"[" + b"{}," * (below // 3) + b"{}]", status=500),
    ]
