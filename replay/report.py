"""The report of a replay: one HTML file that needs nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np

from engine.domain.performance import Curve
from engine.domain.trades import TradeFigures
from replay.charts import Marker, escaped, line_chart
from replay.history import moment
from replay.results import Results, TradeRow, shown
from replay.runner import Runner
from replay.summary import figure, shown_metrics, span_of

MOST_SYMBOLS = 8
MOST_TRADES = 500
MOST_GROUPS = 20
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
STYLE = """
:root{color-scheme:light dark;--ink:#1c2330;--paper:#fff;--faint:#667085;--edge:#d9dee7;
--line:#1f6feb;--up:#13804a;--down:#c2352b}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--paper:#12161e;--faint:#98a2b3;--edge:#2b3342;
--line:#6ea8fe;--up:#4cc38a;--down:#ff7b72}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1100px;padding:16px;background:var(--paper);color:var(--ink);
font:15px/1.45 system-ui,sans-serif}
h1{font-size:1.4rem;margin:.2rem 0}h2{font-size:1.05rem;margin:1.6rem 0 .4rem}
p{margin:.2rem 0;color:var(--faint)}
svg{width:100%;height:auto;display:block}
svg text{fill:var(--faint);font-size:12px}
.value{paint-order:stroke;stroke:var(--paper);stroke-width:4px}.grid{stroke:var(--edge)}
.line{fill:none;stroke:var(--line);stroke-width:1.5}.area{fill:var(--down);opacity:.2}
.entry{fill:var(--up)}.exit{fill:var(--down)}
.wide{overflow-x:auto}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:8px}
.figures div{border:1px solid var(--edge);border-radius:6px;padding:6px 10px}
.figures span{display:block;color:var(--faint);font-size:.8rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.85rem}
th,td{padding:3px 8px;text-align:right;border-bottom:1px solid var(--edge);white-space:nowrap}
th:first-child,td:first-child{text-align:left}
.gain{color:var(--up)}.loss{color:var(--down)}
@media(max-width:600px){svg text{font-size:26px}body{padding:10px}}
"""


def report_html(runner: Runner, results: Results) -> str:
    """The whole page."""
    strategies = ", ".join(sorted({row.strategy for row in results.trades})) or "no trade"
    first, last = span_of(results)
    symbols = sorted(runner.history.candles)
    title = f"Replay of {symbols[0] if len(symbols) == 1 else f'{len(symbols)} symbols'}"
    span = f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
    known = (strategies, runner.limits.timeframe, span, runner.limits.account_currency)
    about = " · ".join(part for part in known if part)
    parts = [
        f"<h1>{escaped(title)}</h1>",
        f"<p>{escaped(about)}</p>",
        *(
            f"<p>{latch.level.value}: {escaped(latch.detail)}</p>"
            for latch in runner.record.latches
        ),
        f'<div class="figures">{_figures(results)}</div>',
        "<h2>Equity</h2>",
        _equity(results.curve),
        "<h2>Drawdown</h2>",
        _drawdown(results.curve),
        f'<h2>Return by month</h2><div class="wide">{_months(results.curve)}</div>',
        "<h2>By strategy</h2>",
        _groups(results.performance.by_strategy, "strategy"),
        "<h2>By symbol</h2>",
        _groups(results.performance.by_symbol, "symbol"),
        "<h2>Trades on price</h2>",
        *_prices(runner, results.trades),
        f'<h2>Trades</h2><div class="wide">{_trades(results.trades)}</div>',
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escaped(title)}</title><style>{STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _figures(results: Results) -> str:
    return "".join(
        f"<div><span>{_label(name)}</span>{figure(name, value)}</div>"
        for name, value in shown_metrics(results).items()
    )


def _label(name: str) -> str:
    """A metric's name in words; of a duration that it is one."""
    words = name.replace("_", " ")
    return f"{words.removesuffix(' s')} length" if name.endswith("_s") else words


def _groups(groups: dict[str, TradeFigures], title: str) -> str:
    """How the trades of each strategy or symbol went, the most profitable first."""
    ranked = sorted(groups, key=lambda name: (-groups[name].profit, name))
    head = [title, "trades", "won", "profit", "profit factor", "mean", "best", "worst", "fees"]
    rows = [[escaped(name), *_group(groups[name])] for name in ranked[:MOST_GROUPS]]
    more = len(ranked) - MOST_GROUPS
    note = f"<p>{more} more in metrics.json</p>" if more > 0 else ""
    return f'<div class="wide">{_table([head, *rows])}</div>{note}'


def _group(figures: TradeFigures) -> list[str]:
    won = "" if figures.win_rate is None else f"{figures.win_rate:.0%}"
    factor = "-" if figures.profit_factor is None else f"{figures.profit_factor:.4g}"
    amounts = (figures.expectancy, figures.best, figures.worst, figures.fees)
    told = ["" if amount is None else f"{amount:,.2f}" for amount in amounts]
    return [str(figures.trades), won, f"{figures.profit:,.2f}", factor, *told]


def _equity(curve: Curve) -> str:
    return line_chart(_times(curve), curve.equity.tolist(), label="Equity over time")


def _drawdown(curve: Curve) -> str:
    fall = curve.equity / np.maximum.accumulate(curve.equity) - 1.0
    return line_chart(_times(curve), fall.tolist(), label="Drawdown", percent=True, filled=True)


def _times(curve: Curve) -> list[datetime]:
    return [moment(round(time * 1000)) for time in curve.time.tolist()]


def _months(curve: Curve) -> str:
    """Return of each month, from the last point of the month before."""
    last: dict[tuple[int, int], float] = {}
    for time, equity in zip(_times(curve), curve.equity.tolist(), strict=True):
        last[time.year, time.month] = equity
    before = float(curve.equity[0])
    returns: dict[tuple[int, int], float] = {}
    for month in sorted(last):
        returns[month], before = last[month] / before - 1.0, last[month]
    years = sorted({year for year, _ in last})
    rows = [["Year", *MONTHS, "All"]]
    for year in years:
        known = [returns.get((year, month)) for month in range(1, 13)]
        total = float(np.prod([1.0 + value for value in known if value is not None]) - 1.0)
        rows.append([str(year), *(_signed(value) for value in [*known, total])])
    return _table(rows)


def _signed(value: float | None) -> str:
    if value is None:
        return ""
    name = "gain" if value > 0 else "loss" if value < 0 else "none"
    return f'<span class="{name}">{value:.1%}</span>'


def _prices(runner: Runner, trades: Sequence[TradeRow]) -> Iterable[str]:
    """The symbols that traded most, each with its entries and exits."""
    counted = Counter(trade.symbol for trade in trades)
    ranked = sorted(counted, key=lambda symbol: (-counted[symbol], symbol))
    if len(ranked) > MOST_SYMBOLS:
        yield f"<p>The {MOST_SYMBOLS} symbols with most trades, of {len(ranked)}.</p>"
    for symbol in ranked[:MOST_SYMBOLS]:
        rows = runner.history.candles[symbol]
        known = np.isfinite(rows.close)
        times = [moment(int(time)) for time in rows.time[known]]
        own = [trade for trade in trades if trade.symbol == symbol]
        chart = line_chart(
            times,
            rows.close[known].tolist(),
            label=f"{symbol} with its trades",
            markers=_marks(own),
        )
        yield f"<p>{escaped(symbol)}: {counted[symbol]} trades</p>{chart}"


def _marks(trades: Iterable[TradeRow]) -> list[Marker]:
    marks = []
    for trade in trades:
        bought = f"bought {shown(trade.quantity)} at {shown(trade.entry_price)}"
        sold = f"sold at {shown(trade.exit_price)}: {trade.exit_reason}, {trade.profit:+.2f}"
        marks.append(Marker(trade.entry_time, float(trade.entry_price), True, bought))
        marks.append(Marker(trade.exit_time, float(trade.exit_price), False, sold))
    return marks


def _trades(trades: Sequence[TradeRow]) -> str:
    names = TradeRow.__struct_fields__
    head = [[escaped(name.replace("_", " ")) for name in names]]
    rows = [[escaped(_cell(trade, name)) for name in names] for trade in trades[:MOST_TRADES]]
    more = len(trades) - MOST_TRADES
    note = f"<p>{more} more in trades.csv</p>" if more > 0 else ""
    return _table(head + rows) + note


def _cell(trade: TradeRow, name: str) -> str:
    value = getattr(trade, name)
    if name in {"fees", "profit"}:
        return f"{value:,.2f}"
    return shown(value).replace("T", " ") if name.endswith("_time") else shown(value)


def _table(rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{cell}</th>" for cell in rows[0])
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows[1:])
    return f"<table><tr>{head}</tr>{body}</table>"
