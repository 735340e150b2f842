"""The API as a process of its own: `python api.py`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A folder of its own, a free port, and a Redis that nobody runs."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {
        **kept,
        "DATA_DIR": str(tmp_path),
        "TRADING_ENGINE__PORT": "0",
        "LOG__FORMAT": "json",
        "REDIS_URL": "redis://127.0.0.1:1/0",
    }


@pytest.fixture
def api(environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its address, once it is ready."""
    process = subprocess.Popen(
        [sys.executable, "api.py"], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if '"api_ready"' in line:
                yield process, json.loads(line)["url"]
                break
        else:
            pytest.fail("it never became ready")
    finally:
        process.kill()
        process.wait(timeout=10)
        process.stderr.close()


def test_it_answers_without_redis_and_ends_cleanly(
    api: tuple[subprocess.Popen[str], str],
) -> None:
    """Ready, alive, halting; then SIGTERM ends it with status 0 and without a traceback."""
    process, url = api
    with urllib.request.urlopen(f"{url}/health/live", timeout=10) as answer:  # noqa: S310
        assert json.load(answer) == {"status": "ok"}
    request = urllib.request.Request(f"{url}/halt", b'{"reason": "test"}', method="POST")  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        assert json.load(answer)["ledger"] == "confirmed"
    process.send_signal(signal.SIGTERM)
    _, written = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "api_stopped" in written
    assert "Traceback" not in written
    assert "development server" not in written


def test_a_fault_of_the_configuration_is_one_line(environment: dict[str, str]) -> None:
    environment["TRADING_ENGINE__HOST"] = "0.0.0.0"  # noqa: S104
    ended = subprocess.run(
        [sys.executable, "api.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "TRADING_ENGINE_API_KEY" in ended.stderr
