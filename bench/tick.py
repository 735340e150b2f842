"""From the tick to the first order of its cycle, for two symbols.

`./dev bench tick [--orders 30]`: cycles are asked for one after another until so many of them have
sent an order. `sent_ms` is from the instant that a cycle was asked for, which publishes the same
message as a tick of beat, until the first order's bytes leave.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from bench.measure import Row, environment, median, options, table, tell
from tests.integration.stack import Stack, running

SYMBOLS = 2
WARM = 2
LONGEST_S = 420.0
COLUMNS = ("case", "symbols", "sent_ms", "slowest_ms", "cycles", "runs")
FIRST_ORDERS = """
    select min(t.at) - c.scheduled_at
    from cycles c
    join orders o on o.cycle_id = c.cycle_id
    join transitions t on t.client_order_id = o.client_order_id and t.to_status = 'SENDING'
    group by c.cycle_id
"""
NOTE = (
    "One candle a cycle. Milliseconds from the request of a cycle; the median over the cycles that "
    "sent an order."
)


def first_orders(stack: Stack) -> list[float]:
    """Milliseconds to the first order, of each cycle that sent one."""
    [path] = (stack.folder / "data").rglob("ledger.sqlite")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        found = connection.execute(FIRST_ORDERS).fetchall()
    return [spent / 1000 for (spent,) in found]


def measure(wanted: int) -> Row:
    """Cycles until enough of them have sent an order."""
    settings = {
        **environment(SYMBOLS),
        "RISK__COOLDOWN_CANDLES": "0",
        "RISK__MAX_ORDERS_PER_SYMBOL_PER_HOUR": "1000",
        "EXITS__STOP": "0.01",
    }
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), **settings) as stack:
        until, cycles = time.monotonic() + LONGEST_S, 0
        while len(found := first_orders(stack)[WARM:]) < wanted and time.monotonic() < until:
            stack.cycle()
            cycles += 1
    return {
        "bench": "tick",
        "case": "step",
        "symbols": SYMBOLS,
        "sent_ms": median(found, 0),
        "slowest_ms": round(max(found)),
        "cycles": cycles,
        "runs": len(found),
    }


def main() -> int:
    """Measure, print, write."""
    parser = options("tick", __doc__)
    parser.add_argument("--orders", type=int, default=30)
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.orders = 3
    row = measure(chosen.orders)
    return tell(
        "tick", "From the tick to the first order", [NOTE, table([row], COLUMNS)], [row], chosen
    )


if __name__ == "__main__":
    sys.exit(main())
