"""Negative controls: each seeded bug switched on alone must be caught."""

from __future__ import annotations

import sys
from pathlib import Path

from engine.failpoints import BUGS
from tests.faults.rig.rounds import Life

ROUNDS = 8
UNHEALTHY = ("unclean", "unhealed")  # a machine under load may be just slow
FAULT_S = 20.0
THEME_OF = {
    "release_on_timeout": "network",
    "retry_post": "network",
    "success_on_404": "network",
    "snapshot_before_reconcile": "all",
}
# The service alone is asked, at a world's end: one round is as good as ten.
ROUNDS_OF = {"no_valid_until": 1}


def run_controls(base: Path, names: list[str], seed: int) -> int:
    """Run each; exit status 1 when one was not caught."""
    missed = []
    for name in names or BUGS:
        themes = (THEME_OF.get(name, "workers"),)
        life = Life(
            base / f"bug-{name}",
            seed,
            bug=name,
            slow=False,
            themes=themes,
            drills_each_round=name == "no_state_recheck",
        )
        counts = life.run(ROUNDS_OF.get(name, ROUNDS), FAULT_S)
        caught = [line for line in counts.breaches if not line.startswith(UNHEALTHY)]
        first = caught[0] if caught else f"NOT CAUGHT {counts.breaches}"
        sys.stdout.write(f"{name}: round {counts.rounds + 1}, {counts.seconds:.0f} s: {first}\n")
        sys.stdout.flush()
        if not caught:
            missed.append(name)
    return 1 if missed else 0
