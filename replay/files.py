"""What a replay writes: trades, equity, metrics, decisions and the report."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import msgspec

from replay.history import moment
from replay.record import Record
from replay.results import Results, TradeRow, metrics, shown

TRADES, EQUITY, METRICS = "trades.csv", "equity.csv", "metrics.json"
PLACES = 8  # of equity, which is a float beside the exact cash
DECISIONS, REPORT = "decisions.jsonl", "report.html"


def write_all(folder: Path, results: Results, record: Record, report: str) -> None:
    """Write the five files. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        TRADES: trades_csv(results),
        EQUITY: equity_csv(results),
        METRICS: metrics_json(results),
        DECISIONS: decisions_lines(record),
        REPORT: report,
    }
    for name, content in texts.items():
        (folder / name).write_text(content, encoding="utf-8", newline="")


def trades_csv(results: Results) -> str:
    """Every round trip, in the order they ended."""
    names = TradeRow.__struct_fields__
    rows = ([shown(getattr(trade, name)) for name in names] for trade in results.trades)
    return _table([list(names), *rows])


def equity_csv(results: Results) -> str:
    """The account after each decision."""
    curve = results.curve
    rows = (
        [shown(moment(round(time * 1000))), f"{equity:.{PLACES}f}", shown(cash)]
        for time, equity, cash in zip(
            curve.time.tolist(), curve.equity.tolist(), results.cash, strict=True
        )
    )
    return _table([["time", "equity", "cash"], *rows])


def metrics_json(results: Results) -> str:
    """The metrics, indented."""
    return json.dumps(metrics(results), indent=2) + "\n"


def decisions_lines(record: Record) -> str:
    """One JSON object a line."""
    return "".join(f"{msgspec.json.encode(line).decode()}\n" for line in record.lines)


def _table(rows: list[list[str]]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(rows)
    return written.getvalue()
