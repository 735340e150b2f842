"""The whole product as a user starts it: `python app.py` in a process of its own, on free ports."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.ledger_database import ledger_environment

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("MARKET_DATA", "STRATEGY", "PORTFOLIO", "EXECUTION", "MONITORING")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def wait_for(claim: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first truthy answer of `claim`, asked again and again for `seconds` at most."""
    give_up_at = time.monotonic() + seconds
    while True:
        answer = claim()
        if answer:
            return answer
        if time.monotonic() > give_up_at:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


class Stack:
    """A running `app.py`. Its settings come from the environment alone."""

    def __init__(self, folder: Path, **environ: str) -> None:
        ports = free_ports(len(SERVICES) + 2)
        self.url = f"http://127.0.0.1:{ports[0]}"
        self.flower_url = f"http://127.0.0.1:{ports[1]}"
        self.service_urls = {
            name.lower(): f"http://127.0.0.1:{port}"
            for name, port in zip(SERVICES, ports[2:], strict=True)
        }
        self.folder = folder
        self.environ = {
            **{key: value for key, value in os.environ.items() if "__" not in key},
            "TRADING_ENGINE__PORT": str(ports[0]),
            "FLOWER__PORT": str(ports[1]),
            "DATA_DIR": str(folder / "data"),
            **{
                f"SERVICES__{name}__PORT": str(port)
                for name, port in zip(SERVICES, ports[2:], strict=True)
            },
            "FLOWER__ENABLED": "false",
            "TRADING_ENGINE__AUTOSTART": "false",
            "WORKERS__PROCESSES": "2",
            **ledger_environment(folder / "data"),
            **environ,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.output = folder / "output.txt"

    @property
    def pid(self) -> int:
        """The process that was started."""
        assert self.process is not None
        return self.process.pid

    def start(self, seconds: float = 60) -> None:
        """Start and wait until the API answers and a worker lives."""
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "app.py"],
                cwd=ROOT,
                env=self.environ,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_for(self._is_ready, seconds, f"ready; so far:\n{self.text()}")

    def _is_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"app.py ended with {self.process.returncode}:\n{self.text()}")
        try:
            checks = requests.get(f"{self.url}/health", timeout=2).json()["checks"]
        except (requests.RequestException, ValueError, KeyError):
            return False
        return all(check["status"] == "ok" for name, check in checks.items() if self._runs(name))

    def _runs(self, name: str) -> bool:
        """Whether a component is this stack's own; a service with an address is somebody else's."""
        return f"SERVICES__{name.upper()}__URL" not in self.environ

    def stop(self, seconds: float = 20) -> int:
        """Ctrl-C; the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"not ended within {seconds} s:\n{self.text()}") from None

    def text(self) -> str:
        """What it printed."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def get(self, path: str) -> Any:
        """The JSON of a GET."""
        answer = requests.get(f"{self.url}{path}", timeout=20)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, body: dict[str, Any] | None = None) -> requests.Response:
        """A POST's answer, whatever its status."""
        return requests.post(f"{self.url}{path}", json=body or {}, timeout=130)

    def cycle(self, **body: Any) -> dict[str, Any]:
        """One cycle, waited for; its report."""
        answer = self.post("/cycle?wait=100", body)
        assert answer.status_code == 200, answer.text
        report: dict[str, Any] = answer.json()
        return report

    def processes(self, name: str) -> list[psutil.Process]:
        """A part of the engine and its children, by the name that the launcher gives it."""
        roster = json.loads((self.folder / "data" / "processes.json").read_text())
        main = next(psutil.Process(each["pid"]) for each in roster if each["name"] == name)
        return [main, *main.children(recursive=True)]

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """A part that does nothing until let go."""
        held = self.processes(name)
        for process in held:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in held:
                process.send_signal(signal.SIGCONT)

    def service(self, name: str, path: str) -> Any:
        """The JSON of a GET at one of the services."""
        return requests.get(f"{self.service_urls[name]}{path}", timeout=20).json()


@contextmanager
def running(folder: Path, **environ: str) -> Iterator[Stack]:
    """A started stack that is stopped at the end, whatever happens."""
    stack = Stack(folder, **environ)
    try:
        stack.start()
        yield stack
    finally:
        if stack.process is not None and stack.process.poll() is None:
            stack.stop()
