"""Which ports are free, said before anything starts."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass

from engine.errors import ConfigError


@dataclass(frozen=True)
class Claim:
    """A port that a part is about to listen on; `key` is its setting."""

    key: str
    host: str
    port: int
    remedy: str


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """So many different ones: all are held until the last is found."""
    with ExitStack() as held:
        probes = [held.enter_context(_socket("127.0.0.1")) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def check(claims: Iterable[Claim]) -> None:
    """Raises ConfigError with one line for each claim that cannot be listened on."""
    faults = []
    taken: dict[int, str] = {}
    for claim in claims:
        if claim.port in taken:
            faults.append(f"{claim.key}: port {claim.port} is also {taken[claim.port]}")
            continue
        taken[claim.port] = claim.key
        try:
            with _socket(claim.host) as probe:
                probe.bind((claim.host, claim.port))
        except OSError as exc:
            faults.append(
                f"{claim.key}: port {claim.port} on {claim.host} cannot be used "
                f"({exc.strerror}); {claim.remedy}"
            )
    if faults:
        raise ConfigError(faults)


def _socket(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    probe = socket.socket(family, socket.SOCK_STREAM)
    # as servers do: a port in TIME_WAIT is free, one that is listened on is not
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return probe
