"""A minute of the fault rig: a few rounds of kills, then nothing may be lost, doubled or open."""

from __future__ import annotations

from pathlib import Path

from engine.failpoints import PLACES
from tests.faults.rig.rounds import Life


def test_a_world_under_kills_loses_and_doubles_nothing(tmp_path: Path) -> None:
    life = Life(tmp_path / "world", seed=2, slow=False, themes=("workers",))
    counts = life.run(rounds=1, fault_s=16)
    assert counts.breaches == []
    assert counts.rounds == 1
    assert counts.sigkills >= 8
    assert sum(counts.hits[place] for place in PLACES) >= 4
    assert counts.cycles["COMPLETED"] >= 2  # the clean ones; orders are counted by the long runs
