"""A replay's outcome in a few lines."""

from __future__ import annotations

from datetime import datetime

from replay.history import moment
from replay.options import Options
from replay.results import Results, metrics
from replay.runner import Runner

PERCENT = ("total_return", "cagr", "volatility", "max_drawdown", "win_rate", "exposure")


def summary(runner: Runner, results: Results, options: Options) -> str:
    """The metrics, what stopped the trading, and where the files are."""
    first, last = span_of(results)
    limits = runner.limits
    about = (
        f"{len(runner.history.candles)} symbols, {limits.timeframe}, "
        f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC, "
        f"{len(runner.history.nows)} decisions"
    )
    lines = [
        about,
        *(f"{name:18} {figure(name, value)}" for name, value in shown_metrics(results).items()),
    ]
    lines += [f"{latch.level.value}: {latch.detail}" for latch in runner.record.latches]
    skips = ", ".join(f"{word} {count}" for word, count in runner.record.skips.most_common(5))
    if skips:
        lines.append(f"not traded on: {skips} (symbol-moments)")
    return "\n".join([*lines, f"written to {options.out}", ""])


def span_of(results: Results) -> tuple[datetime, datetime]:
    """The first and the last moment of the equity curve."""
    first, last = results.curve.time[[0, -1]].tolist()
    return moment(round(first * 1000)), moment(round(last * 1000))


def shown_metrics(results: Results) -> dict[str, object]:
    """The metrics without their groups."""
    named = metrics(results).items()
    return {name: value for name, value in named if not isinstance(value, dict)}


def figure(name: str, value: object) -> str:
    """A metric in words; a dash for one without meaning."""
    if value is None:
        return "-"
    if name.endswith("drawdown_s") and isinstance(value, float):
        return f"{value / 86400:,.1f} days"
    if name in PERCENT and isinstance(value, float):
        return f"{value:.2%}"
    return f"{value:,.4f}" if isinstance(value, float) else str(value)
