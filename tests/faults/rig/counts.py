"""What a run counted, and the table that is made of it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from engine.failpoints import PLACES

Times = list[float]
# Rules of the engine, and answers of the execution service, that a long run must have seen.
RULES = frozenset(
    {
        *("degraded", "min_notional", "owned", "quote", "service", "strategy_disabled"),
        *("cooldown_candles", "max_gross_exposure", "max_open_positions", "max_order_notional"),
        *("max_orders_per_cycle", "max_orders_per_minute", "max_portfolio_risk", "min_cash"),
        *("max_position_size_pct", "trading_state"),
    }
)
ANSWERS = frozenset({"tombstone", "valid_until has passed", "intruder fenced", "intruder body"})
AGAIN = "`./dev faults --seed N --worlds 1`"


@dataclass
class Counts:
    """Counts of one or of many worlds."""

    seeds: list[int] = field(default_factory=list)
    seconds: float = 0.0
    rounds: int = 0
    cycles: Counter[str] = field(default_factory=Counter)
    orders: int = 0
    fills: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    freezes: Counter[str] = field(default_factory=Counter)
    redis: Counter[str] = field(default_factory=Counter)
    network: Counter[str] = field(default_factory=Counter)
    deliveries: Counter[str] = field(default_factory=Counter)
    thawed: int = 0
    tried: int = 0
    recovery: Times = field(default_factory=list)
    unrecovered: int = 0
    resolved: Times = field(default_factory=list)
    halts: Times = field(default_factory=list)
    halt_answers: Times = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    venue: Counter[str] = field(default_factory=Counter)
    decided: int = 0
    bound: int = 0
    breaches: list[str] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        """Take in another world's counts."""
        for name, value in vars(other).items():
            mine = getattr(self, name)
            if isinstance(mine, Counter):
                mine.update(value)
            else:
                setattr(self, name, mine + value)

    @property
    def sigkills(self) -> int:
        """Processes ended by SIGKILL."""
        return sum(self.kills.values()) + sum(self.hits.values())

    def save(self, path: Path) -> None:
        """Keep the counts, so that a run can go on after its end."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(vars(self), indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Counts:
        """What `save` kept."""
        counts = cls()
        for name, value in json.loads(path.read_text(encoding="utf-8")).items():
            mine = getattr(counts, name)
            setattr(counts, name, Counter(value) if isinstance(mine, Counter) else value)
        return counts


def shortfalls(counts: Counts) -> list[str]:
    """What a long run must have met and did not: then it proves less than it says."""
    never = [f"failpoint {place} never hit" for place in PLACES if not counts.hits[place]]
    never += [f"rule {rule} never refused" for rule in sorted(RULES - counts.refusals.keys())]
    never += [f"answer {name!r} never given" for name in sorted(ANSWERS - counts.venue.keys())]
    if counts.bound * 2 < counts.decided:
        never.append(f"limits bound in {counts.bound} of {counts.decided} cycles only")
    return never


def quantile(times: Times, share: float) -> str:
    """The nearest-rank quantile with its unit, or a dash."""
    if not times:
        return "-"
    ranked = sorted(times)
    return f"{ranked[min(int(share * len(ranked)), len(ranked) - 1)]:.2f} s"


def table(counts: Counts) -> str:
    """The report as Markdown."""
    kinds = Counter(line.partition(":")[0] for line in counts.breaches)

    def found(*names: str) -> int:
        return sum(kinds[name] for name in names)

    rows = [
        ("SIGKILLs in all", counts.sigkills),
        *((f"killed: {name}", count) for name, count in sorted(counts.kills.items())),
        *((f"hits at {name} ({what})", counts.hits[name]) for name, what in PLACES.items()),
        *((f"Redis: {name}", count) for name, count in sorted(counts.redis.items())),
        *((f"frozen: {name}", count) for name, count in sorted(counts.freezes.items())),
        *((f"network: {name}", count) for name, count in sorted(counts.network.items())),
        ("extra deliveries", sum(counts.deliveries.values())),
        ("zombies thawed", counts.thawed),
        ("zombies whose request reached the service too late", counts.tried),
        *((f"cycles {name}", count) for name, count in sorted(counts.cycles.items())),
        ("orders at the execution service", counts.orders),
        ("fills", counts.fills),
        ("cycles that decided / with a limit that bound", f"{counts.decided} / {counts.bound}"),
        (
            "recovery of a batch p50 / p99",
            f"{_both(counts.recovery, 0.99)} ({len(counts.recovery)} batches)",
        ),
        ("batches whose cycle ended before they reported", counts.unrecovered),
        (
            "orders resolved after healing p50 / max",
            _both(counts.resolved, 1),
        ),
        (
            "halt to the last accepted order p50 / p99",
            f"{_both(counts.halts, 0.99)} ({len(counts.halts)} halts)",
        ),
        ("halt to its answer p99", quantile(counts.halt_answers, 0.99)),
        ("**lost orders or fills**", found("lost")),
        ("**duplicate orders**", found("duplicate")),
        ("**limit breaches**", found("limit", "fill")),
        ("**oversells**", found("oversell")),
        ("**budget drift**", found("budget", "end")),
        ("**unfinished cycles, unresolved orders**", found("unfinished", "unresolved")),
        ("**orders accepted after the answer to a halt**", found("halt")),
        ("**all breaches**", len(counts.breaches)),
    ]
    made = f"Seeds {_span(counts.seeds)}, {counts.rounds} rounds, {counts.seconds / 60:.0f} min."
    lines = [
        "# Faults",
        "",
        f"{made} Made by `./dev faults`; a seed runs again with {AGAIN}.",
        "",
        "| what | count |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows),
        "",
        f"Refusals of the engine by rule: {_listed(counts.refusals)}.",
        "",
        f"Refusals of the execution service: {_listed(counts.venue)}.",
        "",
    ]
    missing = shortfalls(counts)
    lines += ["Not met so far: " + (", ".join(missing) or "nothing") + ".", ""]
    if counts.breaches:
        lines += ["## Breaches", "", *(f"- {line}" for line in counts.breaches[:100]), ""]
    return "\n".join(lines)


def _both(times: Times, share: float) -> str:
    return f"{quantile(times, 0.5)} / {quantile(times, share)}"


def _span(seeds: list[int]) -> str:
    return f"{min(seeds)} to {max(seeds)}" if seeds else "none"


def _listed(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common()) or "none"
