"""Faults of the product that the simulation must find, and the trouble in which they show.

`retry_post` is of the HTTP library, which is not in the simulation. `no_body_check` needs a second
body under one id: only another bug or a lost ledger makes one. The rig over processes has both.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from engine import failpoints
from tests.faults.simulation.faults import Faults
from tests.faults.simulation.world import World

MOST_SEEDS = 60
LOST_SUBMITS = {
    ("execution.submit", "lost_reply"): 0.4,
    ("execution.submit", "lost_request"): 0.3,
    ("execution.order", "refused"): 0.3,
}


@dataclass(frozen=True)
class Bias:
    """The trouble of a control's runs."""

    rates: dict[str, float] = field(default_factory=dict)
    focus: dict[tuple[str, str], float] = field(default_factory=dict)
    pace: float = 1.0
    freeze_s: tuple[float, float] = (5.0, 300.0)

    def faults(self, seed: int) -> Faults:
        """The same for each seed but for the dice."""
        dice = random.Random(f"control/{seed}")  # noqa: S311 - no secret
        return Faults(dice, dict(self.rates), dict(self.focus), self.pace, self.freeze_s)


CONTROLS: dict[str, Bias] = {
    "random_client_order_id": Bias(),
    "no_fence": Bias(rates={"fence_race": 1.0}, pace=20.0),
    "no_epoch_check": Bias(
        focus={("orders.begin_send", "freeze"): 0.97, ("execution.void", "refused"): 0.97},
        freeze_s=(90.0, 140.0),
    ),
    "no_void": Bias(focus=LOST_SUBMITS),
    "check_then_write": Bias(),
    "unfrozen_payload": Bias(),
    "release_on_timeout": Bias(focus=LOST_SUBMITS),
    "unsettled_sell_credit": Bias(),
    "snapshot_before_reconcile": Bias(),
    "no_state_recheck": Bias(
        rates={"halt": 1.0}, focus={("orders.begin_send", "slow"): 0.7}, pace=5.0
    ),
    "unbounded_tries": Bias(rates={"duplicate": 0.8}),
    "success_on_404": Bias(focus=LOST_SUBMITS),
    "no_valid_until": Bias(
        focus={
            ("execution.submit", "freeze"): 0.4,
            ("execution.void", "refused"): 0.95,
            ("execution.set_fence", "refused"): 0.95,
        },
        freeze_s=(90.0, 115.0),
    ),
}


@dataclass(frozen=True)
class Caught:
    """The first seed that found the bug, and how; `seeds` runs were needed."""

    seeds: int
    breach: str


def hunt(bug: str, most: int = MOST_SEEDS) -> Caught | None:
    """Run seeds with the bug switched on until an invariant is broken; None when none is.

    An exception alone does not count: it could be of the simulation itself.
    """
    bias = CONTROLS[bug]
    with failpoints.seeded(bug):
        for seed in range(most):
            breaches = World(seed, faults=bias.faults(seed)).run().breaches
            broken = [breach for breach in breaches if " raised " not in breach]
            if broken:
                return Caught(seed + 1, broken[0])
    return None
