"""Rows that go to the driver as they are, on every database."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from engine.ledger.ledger import SqlLedger
from engine.ledger.records import insert_all, upsert_all
from engine.ledger.schema_inputs import candle_series

SERIES: dict[str, Any] = {
    "symbol": "A/USD",
    "timeframe": "1h",
    "edition": 0,
    "newest": 1,
    "digest": "a",
    "tail_digest": None,
}


def rows(ledger: SqlLedger) -> list[dict[str, Any]]:
    with ledger.reading() as connection:
        found = connection.execute(select(candle_series).order_by(candle_series.c.symbol))
        return [dict(row._mapping) for row in found]


def test_rows_are_inserted_and_overwritten_by_their_keys(ledger: SqlLedger) -> None:
    other = {**SERIES, "symbol": "B/USD", "tail_digest": "b"}
    with ledger._connections.write() as connection:
        insert_all(connection, candle_series, [SERIES, other])
    assert rows(ledger) == [SERIES, other]
    newer = [{**SERIES, "newest": 2}, {**SERIES, "symbol": "C/USD"}]
    with ledger._connections.write() as connection:
        upsert_all(connection, candle_series, newer, "symbol", "timeframe")
    assert rows(ledger) == [newer[0], other, newer[1]]


@pytest.mark.parametrize("name", ["tail_digest", "digest"])
def test_rows_of_different_columns_are_refused(ledger: SqlLedger, name: str) -> None:
    less = {key: value for key, value in SERIES.items() if key != name}
    for unequal in ([less, SERIES], [SERIES, less]):
        refused = pytest.raises(ValueError, match="different columns")
        with refused, ledger._connections.write() as connection:
            insert_all(connection, candle_series, unequal)
    assert rows(ledger) == []
