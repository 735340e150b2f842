"""Replays beside the package backtesting 0.6.6 on its GOOG data, trade by trade.

Figures are compared with empyrical-reloaded's. Both packages bring pandas, so that they run in a
virtual environment of their own, made once and kept in the folder that BACKTESTING_VENV names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.domain import performance
from engine.domain.candles import Candles
from replay.__main__ import Replayed
from tests.replays import replayed, write

PINS = ("backtesting==0.6.6", "ta-lib==0.8.2", "empyrical-reloaded==0.7.1")
FOLDER = Path(tempfile.gettempdir()) / "trading-engine-backtesting-0.6.6"
SCRIPT = Path(__file__).with_name("backtesting_oracle.py")
NEAR = 1e-8

pytestmark = pytest.mark.slow


def _python() -> Path:
    """The package's own Python; skips with the reason where it cannot be had."""
    folder = Path(os.environ.get("BACKTESTING_VENV", FOLDER))
    python = folder / "bin" / "python"
    check = [
        str(python),
        "-c",
        "import backtesting, empyrical, talib; assert backtesting.__version__ == '0.6.6'",
    ]
    if python.exists() and subprocess.run(check, capture_output=True, check=False).returncode == 0:
        return python
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *PINS],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            pytest.skip(f"backtesting 0.6.6 cannot be installed: {reason}")
    return python


@pytest.fixture(scope="module")
def oracle() -> dict[str, Any]:
    """What the package says: its candles, and trades and final equity of each run."""
    done = subprocess.run(
        [str(_python()), str(SCRIPT)], capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def goog(oracle: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    columns = oracle["candles"]
    candles = Candles.of(
        np.asarray(columns["time"], dtype=np.int64),
        *(np.asarray(columns[name]) for name in ("Open", "High", "Low", "Close", "Volume")),
    )
    return write(tmp_path_factory.mktemp("goog") / "goog.parquet", {"GOOG": candles})


SMA = ("--strategy", "sma_cross", "--sizing", "fraction=1.0", "--cash", "10000")
RSI = (
    *("--strategy", "rsi_reversion", "--param", "overbought=100", "--sizing", "fraction=0.1"),
    *("--stop", "fraction=0.03", "--target", "fraction=0.05", "--cash", "100000"),
)
ATR = (
    *("--strategy", "sma_cross", "--sizing", "risk=0.01", "--stop", "atr=2"),
    *("--cash", "100000"),
)
RUNS = {
    "sma": ((*SMA, "--fee", "0.002"), 26065.60874),
    "sma_at_close": ((*SMA, "--fee", "0.002", "--fill", "close"), 26387.86292),
    "sma_free": ((*SMA, "--fee", "0"), 28168.15),
    "rsi": ((*RSI, "--fee", "0.001"), 98168.77857),
    "atr": ((*ATR, "--fee", "0.001"), 122270.42068),
}


@pytest.mark.parametrize("name", RUNS)
def test_every_trade_equals_the_package_s(name: str, oracle: dict[str, Any], goog: Path) -> None:
    """The package sells at the end where an order of the last decision fills: `--end quote`."""
    options, final = RUNS[name]
    done = replayed(goog, *options, "--lot", "1", "--limits", "none", "--end", "quote")
    theirs = oracle["runs"][name]
    assert theirs["final"] == pytest.approx(final, rel=NEAR)
    assert float(done.results.final_equity) == pytest.approx(theirs["final"], rel=NEAR)
    assert len(done.results.trades) == len(theirs["trades"])
    for ours, other in zip(_rows(done), theirs["trades"], strict=True):
        assert ours[:3] == other[:3]
        assert ours[3:] == pytest.approx(other[3:], rel=NEAR, abs=1e-6)


def test_at_the_last_close_only_the_open_trade_ends_otherwise(
    oracle: dict[str, Any], goog: Path
) -> None:
    """The default: 797.80, the last open, against 806.19, the last close."""
    options, _ = RUNS["sma"]
    done = replayed(goog, *options, "--lot", "1", "--limits", "none")
    theirs = oracle["runs"]["sma"]["trades"]
    assert len(done.results.trades) == len(theirs)
    for ours, other in zip(_rows(done)[:-1], theirs[:-1], strict=True):
        assert ours == pytest.approx(other, rel=NEAR, abs=1e-6)
    assert float(done.results.final_equity) == pytest.approx(26333.55178, rel=NEAR)


def test_figures_of_goog_equal_those_of_empyrical(oracle: dict[str, Any]) -> None:
    columns = oracle["candles"]
    times = np.asarray(columns["time"], dtype=np.float64) / 1000
    curve = performance.Curve(times, np.asarray(columns["Close"]))
    theirs = oracle["figures"]["goog"]
    assert _figures(curve, theirs) == pytest.approx(theirs, rel=NEAR)


def test_figures_of_a_strategy_equal_those_of_empyrical(oracle: dict[str, Any]) -> None:
    """On the package's own equity after each day."""
    times = np.asarray(oracle["candles"]["time"], dtype=np.float64) / 1000
    curve = performance.Curve(times, np.asarray(oracle["runs"]["sma"]["equity"]))
    theirs = oracle["figures"]["sma"]
    assert _figures(curve, theirs) == pytest.approx(theirs, rel=NEAR)


def _figures(curve: performance.Curve, names: Iterable[str]) -> dict[str, float]:
    found = performance.measure(curve, [], periods_per_year=252)
    return {name: getattr(found, name) for name in names}


def _rows(done: Replayed) -> list[list[float]]:
    """Size, times in ms, prices and profit net of fees of each trade."""
    return [
        [
            float(trade.quantity),
            trade.entry_time.timestamp() * 1000,
            trade.exit_time.timestamp() * 1000,
            float(trade.entry_price),
            float(trade.exit_price),
            float(trade.profit),
        ]
        for trade in done.results.trades
    ]
