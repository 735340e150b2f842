"""What goes wrong in a run: which kinds, how often, and when. One seed decides all of it."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

# Chance of each kind at one opportunity, where a run has it at all.
KINDS: dict[str, float] = {
    "kill": 0.0015,  # at any call of a service or any transaction, before it or just after it
    "kill_sender": 0.03,  # the same where an order is reserved, sent, recorded, voided or relayed
    "kill_at_place": 0.03,  # at a named failpoint
    "freeze": 0.0015,  # a process stops for a while and goes on, past leases and deadlines
    "freeze_sender": 0.03,
    "lost_request": 0.03,  # the call times out and had no effect
    "late_request": 0.02,  # the call times out, and takes effect later
    "lost_reply": 0.04,  # the call took effect and its caller times out
    "refused": 0.03,  # nobody listened; certain to have had no effect
    "slow": 0.02,  # a call or a transaction takes seconds
    "ledger_busy": 0.006,  # the ledger does not answer
    "lost_message": 0.06,  # of Celery: a batch, a barrier, an execute, a finish
    "duplicate": 0.10,  # of a message, up to five in all
    "late_message": 0.06,
    "outage": 0.5,  # of one service for a while, once or twice a run
    "redis": 0.35,  # Redis is away and loses every message
    "node": 0.3,  # a worker node dies with everything in it
    "halt": 0.45,  # the operator halts at a random moment, and resumes some time later
    "clock_jump": 0.3,  # all clocks move at once
    "clock_skew": 0.5,  # each process' clock is wrong by some seconds
    "double_start": 0.3,  # a slot's message comes twice at once
    "second_schedule": 0.3,  # another cycle is asked for while one is open
    "fence_race": 0.25,  # somebody else raises the fence
    "foreign_order": 0.1,  # an order that no cycle made
    "throttled": 0.04,  # the execution service has no room for another order: 429
    "no_price": 0.03,  # the execution service has no price: 503, not accepted
}
# Steps of which a run picks a few, to be hit there again and again.
FOCUS_STEPS = (
    "cycles.open",
    "cycles.claim",
    "cycles.report",
    "orders.allocate",
    "orders.begin_send",
    "orders.record",
    "orders.mark_unknown",
    "orders.store_events",
    "orders.unresolved",
    "execution.submit",
    "execution.order",
    "execution.void",
    "execution.set_fence",
    "execution.events",
    "execution.halt",
    "portfolio.apply_fills",
    "portfolio.snapshot",
    "state.set_operator",
)
ANYWHERE = ("kill", "freeze", "slow")
CALLS = (*ANYWHERE, "lost_request", "late_request", "lost_reply", "lost_reply", "refused")
SERVICE_NAMES = ("execution", "portfolio")
FOCUS_RATE = 0.35
FOCUS_MOST = 3
PACES = (1.0, 1.0, 1.0, 20.0, 100.0)
USUAL_SHARE = 0.45  # of the kinds that one run has


@dataclass
class Faults:
    """The kinds that this run has, and the dice. Nothing happens once `healed`."""

    dice: random.Random
    rates: dict[str, float] = field(default_factory=dict)
    focus: dict[tuple[str, str], float] = field(default_factory=dict)  # (step, kind) -> chance
    pace: float = 1.0  # how slow the services of this run are
    freeze_s: tuple[float, float] = (5.0, 300.0)
    healed: bool = False
    counts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, seed: int) -> Faults:
        """Each run has some of the kinds, so that rare mixtures come up too."""
        dice = random.Random(f"faults/{seed}")  # noqa: S311 - no secret
        share = dice.choice((0.0, 0.2, USUAL_SHARE, USUAL_SHARE, 0.8))
        scale = dice.choice((0.5, 1.0, 1.0, 2.5))
        rates = {
            kind: min(rate * scale, 0.9) for kind, rate in KINDS.items() if dice.random() < share
        }
        focus = {
            _focus(dice): FOCUS_RATE
            for _ in range(dice.randrange(FOCUS_MOST + 1) if share > 0 else 0)
        }
        return cls(dice=dice, rates=rates, focus=focus, pace=dice.choice(PACES))

    def has(self, kind: str, step: str = "") -> bool:
        """Whether it happens this time, at this step."""
        if self.healed:
            return False
        rate = self.focus.get((step, kind), self.rates.get(kind))
        if rate is None or self.dice.random() >= rate:
            return False
        self.counts[kind] += 1
        return True

    def between(self, low: float, high: float) -> float:
        """A number of seconds, the smaller the likelier."""
        return float(low * (high / low) ** self.dice.random())


def _focus(dice: random.Random) -> tuple[str, str]:
    step = dice.choice(FOCUS_STEPS)
    is_call = step.partition(".")[0] in SERVICE_NAMES
    return step, dice.choice(CALLS if is_call else ANYWHERE)
