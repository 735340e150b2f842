"""Running it for days: a service dies and comes back, the operator stops, the machine restarts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.integration.stack import ROOT, Stack, free_ports, running, wait_for

pytestmark = pytest.mark.timeout(240)

ONE_CYCLE = (
    "cycle_opened",
    "batch_reported",
    "cycle_allocated",
    "order_sent",
    "order_recorded",
    "orders_executed",
    "fills_relayed",
    "cycle_finished",
)


@contextmanager
def own_service(name: str, port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A service that a user runs on their own, beside the engine."""
    environ = {
        **{key: value for key, value in os.environ.items() if "__" not in key},
        f"SERVICES__{name.upper()}__PORT": str(port),
        "DATA_DIR": str(folder / name),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "services", name],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def documented_fields() -> dict[str, set[str]]:
    """Events of docs/logging.md with their fields."""
    rows = re.findall(
        r"^\| `(\w+)` \| \w[\w, ]* \| ?([\w, ]*?) ?\|",
        (ROOT / "docs" / "logging.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    return {event: {word.strip() for word in fields.split(",")} for event, fields in rows}


def lines_of(stack: Stack, cycle_id: str) -> list[dict[str, Any]]:
    text = (stack.folder / "data" / "logs" / "worker.log").read_text(errors="replace")
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return sorted(
        (line for line in lines if line.get("cycle_id") == cycle_id), key=lambda line: line["at"]
    )


def test_health_follows_a_services_death_and_return_and_trading_goes_on(tmp_path: Path) -> None:
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with running(tmp_path, SERVICES__MONITORING__URL=url, TIMING__CHECK_S="2") as stack:
        wait_for(
            lambda: stack.get("/health")["checks"]["monitoring"]["status"] == "down",
            15,
            "a service that was never there is down",
        )
        with own_service("monitoring", port, tmp_path) as process:
            wait_for(lambda: stack.get("/health")["status"] == "ok", 30, "all is well")
            died_at = time.monotonic()
            process.kill()
            wait_for(
                lambda: stack.get("/health")["status"] == "degraded", 15, "the death is noticed"
            )
            assert time.monotonic() - died_at < 15
            assert [entry["service"] for entry in stack.get("/status")["degraded"]] == [
                "monitoring"
            ]
            assert stack.cycle()["orders"]["filled"] >= 3
        with own_service("monitoring", port, tmp_path):
            wait_for(lambda: stack.get("/health")["status"] == "ok", 60, "its return is noticed")
            stack.cycle()
            wait_for(lambda: cycles_told(url) >= 2, 60, "it hears of the cycle that it missed")


def cycles_told(url: str) -> int:
    """The cycles that the monitoring service has heard of."""
    answer = requests.get(f"{url}/events", {"type": "cycle"}, timeout=10)
    return len(answer.json()["events"])


@pytest.mark.slow
def test_a_restart_goes_on_with_the_account_and_leaves_a_stopped_schedule_stopped(
    tmp_path: Path,
) -> None:
    stack = Stack(tmp_path, TRADING_ENGINE__AUTOSTART="true")
    stack.start()
    wait_for(lambda: stack.get("/cycles")["items"], 60, "the schedule starts by itself")
    assert stack.post("/stop").json()["schedule"] == "stopped"
    wait_for(lambda: stack.get("/status")["current_cycle"] is None, 60, "no cycle is open")
    stack.cycle()
    before = stack.service("portfolio", "/portfolio")
    cycles = [cycle["cycle_id"] for cycle in stack.get("/cycles")["items"]]
    members = psutil.Process(stack.pid).children(recursive=True)
    assert stack.stop() == 0
    assert not psutil.wait_procs(members, timeout=5)[1]
    assert "Traceback" not in stack.text()

    with running(tmp_path, TRADING_ENGINE__AUTOSTART="true") as again:
        assert again.get("/status")["schedule"] == "stopped"
        after = again.service("portfolio", "/portfolio")
        assert after["positions"] == before["positions"]
        assert after["cash"] == before["cash"]
        assert [cycle["cycle_id"] for cycle in again.get("/cycles")["items"]] == cycles
        events = [line["event"] for line in lines_of(again, cycles[-1])]
        check_log(lines_of(again, cycles[-1]), events)


def check_log(lines: list[dict[str, Any]], events: list[str]) -> None:
    """The log of one cycle is what docs/logging.md says: events, their order, their fields."""
    fields = documented_fields()
    assert set(ONE_CYCLE) - {"fills_relayed"} <= set(events)
    firsts = [events.index(event) for event in ONE_CYCLE if event in events]
    assert firsts == sorted(firsts)
    always = {"event", "level", "logger", "at", "component", "cycle_id", "batch"}
    for line in lines:
        extra = set(line) - always - {"client_order_id", "request_id"}
        assert extra <= fields[line["event"]], line


def test_a_halt_survives_a_restart_and_holds_every_order_back(tmp_path: Path) -> None:
    with running(tmp_path) as stack:
        stack.cycle()
        halted = stack.post("/halt", {"reason": "a drill"}).json()
        assert halted["trading_state"] == "HALTED"
        assert (halted["ledger"], halted["execution"]) == ("confirmed", "confirmed")
    with running(tmp_path) as again:
        assert again.get("/status")["trading_state"] == "HALTED"
        report = again.cycle()
        assert report["orders"]["submitted"] == 0
        assert (
            again.post("/resume", {"state": "ACTIVE", "reason": "the drill is over"}).json()[
                "trading_state"
            ]
            == "ACTIVE"
        )


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"TRADING_ENGINE__BATCH_SIZE": "0"}, ("trading_engine.batch_size", "0")),
        ({"TRADING_ENGINE__BATCHSIZE": "5"}, ("trading_engine.batchsize", "batch_size")),
        (
            {"SERVICES__MARKET_DATA__FEED": "files", "SERVICES__MARKET_DATA__PATH": "none.csv"},
            ("none.csv",),
        ),
    ],
)
def test_what_cannot_be_started_with_is_said_in_one_line(
    tmp_path: Path, environ: dict[str, str], words: tuple[str, ...]
) -> None:
    stack = Stack(tmp_path, **environ)
    ended = subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=stack.environ,
        capture_output=True,
        timeout=60,
        check=False,
    )
    text = ended.stdout.decode() + ended.stderr.decode()
    assert ended.returncode == 1
    assert "Traceback" not in text
    assert any(all(word in line for word in words) for line in text.splitlines()), text


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_at_least_eight_positions_are_open_at_once_within_two_hundred_cycles(
    tmp_path: Path,
) -> None:
    most = 0
    with running(tmp_path) as stack:
        for _ in range(200):
            stack.cycle()
            most = max(most, len(stack.service("portfolio", "/portfolio")["positions"]))
    assert most >= 8


@pytest.mark.slow
def test_sigterm_ends_it_like_ctrl_c(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    stack.start()
    assert stack.process is not None
    members = psutil.Process(stack.pid).children(recursive=True)
    stack.process.send_signal(signal.SIGTERM)
    assert stack.process.wait(20) == 0
    assert not psutil.wait_procs(members, timeout=5)[1]
