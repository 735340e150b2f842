"""`python app.py` as an operator sees it: one whole run, and what stops it before it starts."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest

from launcher import sessions
from launcher.data_folder import DataFolder

ROOT = Path(__file__).parents[2]
START_LIMIT_S = 100
STOP_PROMISE_S = 15
FREE_PORTS = {
    "TRADING_ENGINE__PORT": "0",
    "FLOWER__PORT": "0",
    **{
        f"SERVICES__{name}__PORT": "0"
        for name in ("MARKET_DATA", "STRATEGY", "PORTFOLIO", "EXECUTION", "MONITORING")
    },
    "WORKERS__PROCESSES": "2",
}
FILLED = re.compile(r"SIMULATED  COMPLETED .* (\d+) orders? +filled")


def _app(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "app.py"), *options],
        env={**os.environ, **FREE_PORTS, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Run:
    """One run of the launcher with every part."""

    def __init__(self, data: Path, output: Path) -> None:
        self.data = data
        self._output = output
        with output.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "app.py"), "--interval", "5", "--data-dir", str(data)],
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, **FREE_PORTS},
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """All it printed so far."""
        return self._output.read_text(encoding="utf-8")

    def wait_for_fills(self) -> None:
        """Waits until a printed cycle has a filled order."""
        limit = time.monotonic() + START_LIMIT_S
        while not any(int(count) for count in FILLED.findall(self.output)):
            assert self.process.poll() is None, self.output
            assert time.monotonic() < limit, self.output
            time.sleep(0.1)

    def get(self, path: str) -> Any:
        """The API's answer."""
        found = re.search(r"^API +(http://\S+)", self.output, re.MULTILINE)
        assert found is not None
        with urlopen(found[1] + path, timeout=10) as reply:  # noqa: S310 (an address of ours)
            text = reply.read().decode()
        return json.loads(text) if path != "/metrics" else text

    def stop(self) -> float:
        """Ctrl-C; the seconds until everything ended."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        return time.monotonic() - begun

    def end(self) -> None:
        """Whatever a failed test left."""
        self.process.kill()
        self.process.wait()
        for entry in sessions.read_roster(self.data / "processes.json"):
            sessions.kill(entry.pid)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A run on an empty data folder that has filled an order."""
    made = Run(tmp_path / "data", tmp_path / "output")
    try:
        made.wait_for_fills()
        yield made
    finally:
        made.end()


@pytest.mark.timeout(240)
def test_one_command_trades_and_one_ctrl_c_ends_it(run: Run) -> None:
    """Parts in order, fills, the load of every part in /metrics; then nothing is left."""
    shown = re.findall(r"^(\w[\w ]*\w) +\| ready ", run.output, re.MULTILINE)
    services = ["market data", "strategy", "portfolio", "execution", "monitoring"]
    assert shown[:2] == ["redis", "ledger"]
    assert sorted(shown[2:7]) == sorted(services)
    assert shown[7:] == ["worker", "upkeep", "beat", "flower", "api"]

    metrics = run.get("/metrics")
    for part in ("redis", "services", "worker", "upkeep", "beat", "flower", "api"):
        assert re.search(rf'memory\w*{{[^}}]*"{part}[^}}]*}} [1-9]', metrics), part
    entries = sessions.read_roster(run.data / "processes.json")
    pids = [pid for entry in entries for pid in sessions.members(entry.pid)]
    assert len(pids) > len(entries)

    seconds = run.stop()
    assert run.process.returncode == 0
    assert seconds < STOP_PROMISE_S
    assert [pid for pid in pids if _runs(pid)] == []
    assert "Traceback" not in run.output
    assert run.output.endswith("stopped\n")


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_second_run_goes_on_with_the_same_account(run: Run, tmp_path: Path) -> None:
    """Orders, cycles and port of Redis are still there."""
    before = run.get("/cycles?limit=1")["items"][0]
    orders = {order["client_order_id"] for order in run.get("/orders?limit=500")["items"]}
    run.stop()
    again = Run(run.data, tmp_path / "again")
    try:
        again.wait_for_fills()
        after = {order["client_order_id"] for order in again.get("/orders?limit=500")["items"]}
        newest = again.get("/cycles?limit=1")["items"][0]
        assert orders < after
        assert newest["epoch"] > before["epoch"]
        again.stop()
        assert again.process.returncode == 0
    finally:
        again.end()


def test_a_busy_port_is_one_line_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        done = _app("--data-dir", str(tmp_path / "data"), "--port", port)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "trading_engine.port" in line
    assert port in line
    assert "--port PORT" in line
    assert "ready" not in done.stdout


def test_a_data_folder_in_use_is_refused_in_one_line(tmp_path: Path) -> None:
    with DataFolder(tmp_path / "data"):
        done = _app("--data-dir", str(tmp_path / "data"))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "in use by another launcher" in line


def test_an_unknown_key_is_one_line(tmp_path: Path) -> None:
    done = _app("--data-dir", str(tmp_path), TRADING_ENGINE__BATCH_SIZ="3")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "batch_siz" in line.lower()


def test_off_loopback_without_a_key_nothing_starts(tmp_path: Path) -> None:
    done = _app("--data-dir", str(tmp_path), "--host", "0.0.0.0")  # noqa: S104
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "--make-key" in line


def test_a_missing_package_is_one_line_with_the_remedy() -> None:
    """As after a clone, with a Python that has nothing installed."""
    done = subprocess.run(
        [sys.executable, "-S", str(ROOT / "app.py")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "pip install -r requirements.txt" in line
