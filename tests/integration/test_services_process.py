"""`python -m services`: what it prints, what it serves, how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from engine.service_settings import SERVICES

ROOT = Path(__file__).parents[2]
READY = re.compile(r"ready (\w+) (http://127\.0\.0\.1:\d+)\n")


def environment(folder: Path, **more: str) -> dict[str, str]:
    ports = {f"SERVICES__{name.upper()}__PORT": "0" for name in SERVICES}
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | ports | {"DATA_DIR": str(folder), **more}


def command(*names: str) -> list[str]:
    return [sys.executable, "-m", "services", *names]


@contextmanager
def running(*names: str, env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command(*names),
        cwd=ROOT,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ready(process: subprocess.Popen[str], count: int) -> dict[str, str]:
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(count)]
    found = [READY.fullmatch(line) for line in lines]
    return {match[1]: match[2] for match in found if match is not None}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_named_services_say_when_they_are_ready_and_end_with_status_0(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running("monitoring", "market_data", env=environment(tmp_path)) as process:
        urls = ready(process, 2)
        assert list(urls) == ["market_data", "monitoring"]
        for url in urls.values():
            assert requests.get(f"{url}/health", timeout=5).json()["status"] == "ok"
        began = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
        assert time.monotonic() - began < 5
        assert (process.returncode, out) == (0, "")
        assert "Traceback" not in err


def test_without_names_it_serves_all_that_are_not_elsewhere(tmp_path: Path) -> None:
    elsewhere = {"SERVICES__EXECUTION__URL": "http://127.0.0.1:1"}
    with running(env=environment(tmp_path, **elsewhere)) as process:
        urls = ready(process, 4)
        assert list(urls) == ["market_data", "strategy", "portfolio", "monitoring"]
        for name, url in urls.items():
            answer = requests.get(f"{url}/openapi.json", timeout=5)
            assert answer.json()["openapi"].startswith("3.1"), name
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def failed(*names: str, env: dict[str, str]) -> tuple[int, list[str]]:
    done = subprocess.run(
        command(*names), cwd=ROOT, env=env, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout == ""
    return done.returncode, done.stderr.splitlines()


def test_a_busy_port_is_one_line_with_the_remedy_and_status_1(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        env = environment(tmp_path, SERVICES__MONITORING__PORT=port)
        status, lines = failed("monitoring", env=env)
    assert status == 1
    assert len(lines) == 1
    assert f"services.monitoring.port: cannot listen on 127.0.0.1:{port}" in lines[0]
    assert "set services.monitoring.port to another one" in lines[0]


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"SERVICES__MONITORING__PROT": "1"}, "nearest known key: services.monitoring.port"),
        ({"SERVICES__MONITORING__HOST": "0.0.0.0"}, "set SERVICES__MONITORING__KEY"),  # noqa: S104
        ({"DATA_DIR": "/dev/null/x"}, "services.monitoring: cannot start: Not a directory"),
    ],
)
def test_what_cannot_start_is_one_line_and_status_1(
    tmp_path: Path, more: dict[str, str], line: str
) -> None:
    status, lines = failed("monitoring", env=environment(tmp_path) | more)
    assert status == 1
    assert len(lines) == 1
    assert line in lines[0]


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    status, lines = failed("monitor", env=environment(tmp_path))
    assert status == 2
    assert "unknown service monitor; one of market_data strategy" in lines[-1]
