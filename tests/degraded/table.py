"""What the engine does when a service fails: the one table that tests run and the manual shows.

A healthy cycle of the test world sends three exits and three entries. A row says what is left of
that under each of its faults. `python -m tests.degraded.table` prints the rows for the manual.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from engine.domain.degraded import EFFECTS

ALL = 3
STEPS = ("fetch", "evaluate", "risk", "execute", "finish")
SILENT = ("down", "refused", "slow", "hangs", "500", "503", "429")
GARBAGE = ("HTML", "half JSON", "wrong types", "NaN", "huge")


@dataclass(frozen=True)
class Row:
    """Under each fault: which steps have work, what is sent, the state, and who is lacking.

    `only` limits the fault to requests that begin so. `lacking` names the services that
    `/status` and the cycle's report say are degraded; `unknown` counts orders that had no proof
    for a while. `says` is what the manual adds.
    """

    services: tuple[str, ...]
    faults: tuple[str, ...]
    entries: int = ALL
    exits: int = ALL
    state: str = "ACTIVE"
    idle: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    latched: str = ""
    unknown: int = 0
    only: str = ""
    says: str = ""

    @property
    def steps(self) -> frozenset[str]:
        """Steps that have work."""
        return frozenset(STEPS) - frozenset(self.idle)


MARKET, STRATEGY, PORTFOLIO, EXECUTION, MONITORING = (
    ("market_data",),
    ("strategy",),
    ("portfolio",),
    ("execution",),
    ("monitoring",),
)
NO_MARKET = Row(
    MARKET,
    (*SILENT, *(fault for fault in GARBAGE if fault != "NaN")),
    entries=0,
    state="REDUCING",
    idle=("fetch", "evaluate"),
    lacking=MARKET,
    says="Symbols come from the cache, else `default_symbols`; an exit may use a price up to 1.5"
    " cycle intervals old. A symbol that comes late or as garbage is skipped alone; more than"
    " `quality.max_bad_share` of them count as the whole.",
)
NO_SIGNALS = Row(
    STRATEGY,
    (*SILENT, *GARBAGE, "future"),
    entries=0,
    idle=("evaluate",),
    lacking=STRATEGY,
    says="The whole answer of a batch counts or none of it. Protective exits need no signals.",
)
NO_ACCOUNT = Row(
    PORTFOLIO,
    (*SILENT, *GARBAGE),
    entries=0,
    state="REDUCING",
    lacking=PORTFOLIO,
    says="A call ends after 3 s; the account is asked for at the opening and again at the barrier."
    " Exits are decided on the last account, up to `risk.max_stale_snapshot_s` old; then HALTED.",
)
NO_VENUE = Row(
    EXECUTION,
    (*SILENT, *GARBAGE),
    entries=0,
    exits=0,
    idle=("execute",),
    lacking=EXECUTION,
    says="Everything runs for observation. Orders of unknown fate keep their budget.",
)
ROWS: tuple[Row, ...] = (
    NO_MARKET,
    replace(
        NO_MARKET,
        faults=("NaN",),
        idle=(),
        says="The list of symbols is garbage; candles without numbers are skipped.",
    ),
    Row(
        MARKET,
        ("stale",),
        entries=0,
        lacking=MARKET,
        says="Entries need the candle that should have closed, 90 s late at most, and a quote of at"
        " most 15 s. What is held and has no fresh price stops entries.",
    ),
    replace(
        NO_MARKET,
        faults=("future", "empty"),
        says="Candles that close later than now are refused. An empty answer leaves what is held.",
    ),
    NO_SIGNALS,
    Row(
        STRATEGY,
        ("stale",),
        entries=0,
        lacking=STRATEGY,
        says="A signal must be about the newest candle, which closed at most `risk.signal_ttl_s`"
        " ago. Signals are never cached.",
    ),
    Row(STRATEGY, ("empty",), entries=0, idle=("evaluate",), says="No signal is an answer."),
    NO_ACCOUNT,
    Row(
        PORTFOLIO,
        ("stale", "future"),
        entries=0,
        lacking=PORTFOLIO,
        says="Entries need an account of at most `risk.max_snapshot_age_s`.",
    ),
    Row(
        PORTFOLIO,
        ("contradiction", "empty"),
        entries=0,
        exits=0,
        state="HALTED",
        idle=("execute",),
        lacking=PORTFOLIO,
        latched="portfolio_contradiction",
        says="It parses and cannot be true: sums, a negative quantity, a sequence that goes back."
        " Held until `POST /resume`.",
    ),
    NO_VENUE,
    Row(
        EXECUTION,
        ("down", "slow", "hangs", "500", *GARBAGE),
        entries=2,
        state="ACTIVE",
        lacking=EXECUTION,
        unknown=6,
        only="POST /orders",
        says="Orders are taken and nothing proves it: UNKNOWN, looked up until it is proved, and an"
        " alert. Exits go first; after five failures the circuit holds the rest back.",
    ),
    Row(
        EXECUTION,
        ("stale",),
        entries=0,
        exits=0,
        state="HALTED",
        idle=("execute",),
        lacking=EXECUTION,
        latched="log_behind",
        says="Its log ends before what was read of it. Held until `POST /resume`.",
    ),
    Row(EXECUTION, ("future", "empty"), says="Nothing of it is decided on."),
    Row(
        MONITORING,
        (*SILENT, *GARBAGE, "stale", "future", "empty"),
        says="Never on the way of an order. Events wait in a bounded file and go out later, in"
        " order, once.",
    ),
)


def pairs() -> Iterator[Row]:
    """Two services down: the lower of both, and a strategy engine that is not even asked."""
    single = {row.services[0]: row for row in (NO_MARKET, NO_SIGNALS, NO_ACCOUNT, NO_VENUE)}
    single["monitoring"] = Row(MONITORING, ("down",))
    for one, two in itertools.combinations(single, 2):
        first, second = single[one], single[two]
        is_asked = {one, two} != {"market_data", "strategy"}
        yield Row(
            (one, two),
            ("down",),
            entries=min(first.entries, second.entries),
            exits=min(first.exits, second.exits),
            state="REDUCING" if "REDUCING" in {first.state, second.state} else "ACTIVE",
            idle=tuple(sorted({*first.idle, *second.idle})),
            lacking=(*first.lacking, *second.lacking) if is_asked else first.lacking,
        )


def markdown() -> list[str]:
    """The rows as the manual shows them."""
    lines = [
        "| service | when | entries | exits | state | what follows |",
        "|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        where = f" (only `{row.only}`)" if row.only else ""
        sent = ("some" if 0 < row.entries < ALL else "yes" if row.entries else "no",)
        lines.append(
            f"| {' + '.join(row.services)} | {', '.join(row.faults)}{where} | {sent[0]} |"
            f" {'yes' if row.exits else 'no'} | {row.state}{' (latched)' if row.latched else ''} |"
            f" {row.says} |"
        )
    return lines


def pair_lines() -> list[str]:
    """The pairs as the manual shows them."""
    lines = ["| both down | entries | exits | state |", "|---|---|---|---|"]
    for row in pairs():
        yes = ["yes" if count else "no" for count in (row.entries, row.exits)]
        lines.append(f"| {' + '.join(row.services)} | {yes[0]} | {yes[1]} | {row.state} |")
    return lines


def effect_lines() -> list[str]:
    """What `/status` and reports say of each part, word for word."""
    lines = ["| part | what is therefore not done |", "|---|---|"]
    return lines + [f"| {name} | {text} |" for name, text in EFFECTS.items()]


if __name__ == "__main__":
    print("\n".join([*markdown(), "", *pair_lines(), "", *effect_lines()]))  # noqa: T201
