"""E1: what was answered is there after a restart and after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import requests

from tests.contract.execution.local import LocalService, make_venue
from tests.contract.execution.market import FakeMarket
from tests.contract.execution.venue import Venue, at_once

ROOT = Path(__file__).resolve().parents[3]


def test_everything_survives_a_restart(local: LocalService) -> None:
    venue = local.start()
    filled, resting, voided = venue.body(), venue.resting(), venue.body()
    venue.post(filled)
    venue.post(resting)
    venue.void(voided["client_order_id"])
    venue.set_fence(41)
    before = venue.fence(), venue.events(), venue.open_ids()
    venue = local.restart()
    assert (venue.fence(), venue.events(), venue.open_ids()) == before
    assert venue.post(filled).status_code == 200
    assert venue.post(voided).json()["state"] == "VOIDED"
    assert venue.post(filled | {"quantity": "0.3"}).status_code == 409
    assert venue.post(venue.body(epoch=40)).status_code == 409


def test_the_kill_switch_survives_a_restart(local: LocalService) -> None:
    local.start().halt(cancel_open=True)
    venue = local.restart()
    assert venue.fence()["halted"] is True
    assert venue.post(venue.body()).status_code == 409


def test_the_log_goes_on_without_a_gap_after_a_restart(local: LocalService) -> None:
    venue = local.start()
    venue.post(venue.body())
    head = venue.head()
    venue = local.restart()
    venue.post(venue.body())
    assert [each["seq"] for each in venue.events(head)] == [head + 1, head + 2]


def test_an_answered_order_survives_a_kill(local: LocalService, market: FakeMarket) -> None:
    """SIGKILL while four threads send: every answered order is there, and each only once."""
    process, venue = _start_process(local.folder, market)
    answered: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def send() -> None:
        while True:
            body = venue.body()
            answered.append((body, venue.post(body).json()))

    def send_until_gone() -> None:
        try:
            send()
        except (requests.RequestException, ValueError):
            return

    threads = [threading.Thread(target=send_until_gone) for _ in range(4)]
    for each in threads:
        each.start()
    _wait(lambda: len(answered) >= 30)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    for each in threads:
        each.join(timeout=20)
    again = local.start()
    for body, order in answered:
        replay = again.post(body)
        assert (replay.status_code, replay.json()) == (200, order)
    events = again.events()
    assert [each["seq"] for each in events] == list(range(1, len(events) + 1))


def test_two_services_on_one_file_keep_one_log(local: LocalService, market: FakeMarket) -> None:
    """Writers that share nothing but the file: each id once, no seq twice, no error."""
    other = LocalService(local.folder, market)
    venues = [local.start(), other.start()]
    bodies = [venues[0].body() for _ in range(8)]
    calls = [partial(venue.post, body) for body in bodies for venue in venues]
    answers = at_once(*calls)
    other.close()
    assert sorted(each.status_code for each in answers) == [200] * 8 + [201] * 8
    events = venues[0].events()
    assert [each["seq"] for each in events] == list(range(1, 17))


def _start_process(folder: Path, market: FakeMarket) -> tuple[subprocess.Popen[bytes], Venue]:
    environ = {
        **os.environ,
        "DATA_DIR": str(folder),
        "SERVICES__EXECUTION__PORT": "0",
        "SERVICES__EXECUTION__LIMITS__ORDERS_PER_MINUTE": "100000",
        "SERVICES__MARKET_DATA__URL": market.url,
    }
    said = folder / "service.log"
    with said.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services", "execution"],
            env=environ,
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    _wait(lambda: "ready execution " in said.read_text())
    line = next(line for line in said.read_text().splitlines() if "ready execution " in line)
    return process, make_venue(line.split()[-1])


def _wait(claim: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 20
    while not claim():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
