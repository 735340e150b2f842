"""CPU of a cycle beside freqtrade's, in one run.

`./dev bench peer [--symbols 25 100 1000] [--runs 5] [--peer-python PYTHON]` makes a virtual
environment with freqtrade in `.venv-peer` unless PYTHON names one that has it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from bench.measure import Meter, Row, environment, median, options, table, tell, timed_cycles
from tests.integration.stack import ROOT, running

FREQTRADE = "freqtrade==2026.9"
SIDE = Path(__file__).with_name("freqtrade_side.py")
COLUMNS = ("symbols", "cpu_s", "ms_a_symbol", "peer_cpu_s", "peer_ms_a_symbol", "ratio", "runs")
COLUMNS_MB = (*COLUMNS, "peak_mb", "peer_mb")
NOTE = (
    "A cycle with one new candle a symbol, 500 candles each. The engine's side counts every "
    "process: workers, the five reference services, Redis, the API; candles and signals go over "
    "HTTP, five strategies are evaluated (SMA 20/50, RSI 14, MACD, Bollinger, Donchian), limits "
    "are applied, orders leave durably. freqtrade's side is one process: its real "
    "`FreqtradeBot.process()` in dry-run with SMA 20/50, RSI 14, MACD, ATR 14 and Bollinger; the "
    "exchange library's answers come ready-made from memory, so that its fetching costs no "
    "network and no parsing. `ratio` is freqtrade's CPU over the engine's."
)


def peer_python() -> Path:
    """The Python of an environment with freqtrade, made when it is not there yet."""
    folder = ROOT / ".venv-peer"
    python = folder / "bin" / "python"
    if not python.exists():
        sys.stderr.write(f"installing {FREQTRADE} into {folder.name} (about two minutes) ...\n")
        venv.create(folder, with_pip=True)
        command = [str(python), "-m", "pip", "install", "--quiet", FREQTRADE]
        subprocess.run(command, check=True)
    return python


def measure(symbols: int, runs: int, python: Path) -> Row:
    """Both sides, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        told = subprocess.run(
            [str(python), str(SIDE), str(symbols), str(runs)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        peer = json.loads(told.splitlines()[-1])
        with running(Path(folder), **environment(symbols)) as stack:
            timed_cycles(stack, 2, time.perf_counter)
            with Meter(stack.pid) as meter:
                found = timed_cycles(stack, runs, time.perf_counter)
    cpu_s = meter.total_cpu_s / runs
    peer_s = median(peer["cpu_s"])
    return {
        "bench": "peer",
        "case": "step",
        "symbols": symbols,
        "workers": int(stack.environ["WORKERS__PROCESSES"]),
        "wall_s": median(wall for _, wall in found),
        "cpu_s": round(cpu_s, 3),
        "ms_a_symbol": round(cpu_s / symbols * 1000, 2),
        "peer_cpu_s": peer_s,
        "peer_ms_a_symbol": round(peer_s / symbols * 1000, 2),
        "ratio": round(peer_s / cpu_s, 1),
        "peak_mb": meter.peak_mb,
        "peer_mb": round(peer["peak_mb"]),
        "redis_commands": round(meter.redis["redis_commands"] / runs),
        "runs": runs,
    }


def main() -> int:
    """Measure, print, write."""
    parser = options("peer", __doc__)
    parser.add_argument("--symbols", type=int, nargs="+", default=[25, 100, 1000])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peer-python", type=Path, help="one that has freqtrade")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.symbols, chosen.runs = [25], 1
    python = chosen.peer_python or peer_python()
    rows = []
    for symbols in chosen.symbols:
        sys.stderr.write(f"{symbols} symbols ...\n")
        rows.append(measure(symbols, chosen.runs, python))
    return tell("peer", "Beside freqtrade", [NOTE, table(rows, COLUMNS_MB)], rows, chosen)


if __name__ == "__main__":
    sys.exit(main())
