"""What a cycle, the watchdog and the page read does not grow with what was ever done.

SQLite says of each statement how it would find its rows. Tables of a row for each order, candle,
cycle and so on are never read whole: a year of them would be read in every cycle.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from engine.alarms import Alarms
from engine.ledger.ledger import FILE_NAME
from tests.control_fakes import make_bench
from tests.deployment import Deployment, deployed
from tests.ledger_database import needs_ledger_file

pytestmark = needs_ledger_file

GROWING = (
    *("cycles", "batches", "cycle_steps", "outcomes", "step_inputs", "candle_blocks", "signals"),
    *("candidates", "decisions", "allocations", "orders", "transitions", "events", "fills"),
    *("state_changes", "audit_log", "idempotent_requests"),
)
READ_WHOLE = re.compile(rf"SCAN ({'|'.join(GROWING)})\b")
# Everything of a symbol, however long ago.
OF_A_SYMBOL = re.compile(r"SEARCH (orders|fills) USING INDEX \w+_by_\w+ \(symbol=\?\)$")
# These hold the few orders that are open or whose fills are not all stored.
SMALL_INDEXES = ("orders_unsettled", "orders_one_open_attempt")
# Nearly all cycles are closed: by their status is as good as all of them.
MOST_CYCLES = re.compile(r"cycles\.status IN ")
SO_MANY = re.compile(r"\bLIMIT \?|SELECT EXISTS \(SELECT \* FROM \w+\)")
SEEN_ALL = re.compile(rf"SCAN ({'|'.join(GROWING)})$")
OF_A_SPAN = re.compile(r"WHERE .* (>=|<=|=|<|>) \?")
SORTED_FIRST = "USE TEMP B-TREE FOR ORDER BY"
# What Prometheus is told of all time, from an index of the states alone.
OF_ALL_TIME = "FROM orders GROUP BY orders.status"


@contextmanager
def recorded() -> Iterator[set[str]]:
    """The statements that are sent meanwhile."""
    found: set[str] = set()

    def take(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if Path(connection.engine.url.database or "").name == FILE_NAME:
            found.add(" ".join(statement.split()))

    event.listen(Engine, "before_cursor_execute", take)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", take)


def long_reads(ledger: Path, statements: set[str]) -> list[str]:
    """The statements that go through all rows of a table that grows, with SQLite's words."""
    found = []
    with closing(sqlite3.connect(ledger)) as connection:
        for statement in sorted(statements):
            if not re.match("SELECT|UPDATE|DELETE|WITH", statement) or OF_ALL_TIME in statement:
                continue
            nothing = [None] * statement.count("?")
            plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", nothing)
            found += [f"{step}: {statement}" for *_, step in plan if is_long(step, statement)]
    return found


def is_long(step: str, statement: str) -> bool:
    """Whether this step of a statement's plan takes longer with every cycle that ever ran."""
    if SO_MANY.search(statement):
        # SQLite stops when it has them, unless it sorts first, or few of them are meant.
        return step == SORTED_FIRST or bool(SEEN_ALL.match(step) and OF_A_SPAN.search(statement))
    by_status = bool(MOST_CYCLES.search(statement)) and "cycles_by_status" in step
    whole = bool(READ_WHOLE.match(step)) and not step.endswith(SMALL_INDEXES)
    return by_status or whole or bool(OF_A_SYMBOL.match(step))


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployment, set[str]]]:
    """A deployment after some cycles, and what they and its watchdog asked of the ledger."""
    with deployed(tmp_path_factory.mktemp("plans")) as deployment, recorded() as statements:
        for _ in range(3):
            deployment.cycle()
            deployment.reconcile()
        yield deployment, set(statements)


def test_a_cycle_reads_no_growing_table_whole(traded: tuple[Deployment, set[str]]) -> None:
    deployment, statements = traded
    with closing(sqlite3.connect(deployment.ledger_file)) as ledger:
        assert ledger.execute("select count(*) from fills").fetchone()[0] > 0
    assert len(statements) > 50
    assert long_reads(deployment.ledger_file, statements) == []


def test_the_alarms_read_no_growing_table_whole(traded: tuple[Deployment, set[str]]) -> None:
    deployment, _ = traded
    bench = make_bench(deployment.settings)
    with recorded() as statements:
        Alarms(bench.desk).look()
    bench.ledger.dispose()
    assert len(statements) > 5
    assert long_reads(deployment.ledger_file, statements) == []


def test_the_api_reads_no_growing_table_whole(traded: tuple[Deployment, set[str]]) -> None:
    deployment, _ = traded
    bench = make_bench(deployment.settings)
    client = bench.app.test_client()
    with recorded() as statements:
        for rule in bench.app.url_map.iter_rules():
            if "GET" in (rule.methods or ()) and not rule.arguments and rule.rule != "/events":
                assert client.get(rule.rule).status_code < 400, rule.rule
    bench.ledger.dispose()
    assert len(statements) > 20
    assert long_reads(deployment.ledger_file, statements) == []
