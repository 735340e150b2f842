"""The product with eight batch processes: requests in an outage, a hanging service, no Redis."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from engine.config_source import load_settings
from tests.degraded.faulty_front import Front
from tests.deployment import APPS
from tests.integration.stack import Stack, free_ports, running, wait_for
from web import serve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

INTERVAL_S = 20.0
DEADLINE_SHARE = 100 / 120
FLOOR = 16
RESET_S, MAX_RESET_S = 4.0, 8.0
OUTAGE_CYCLES = 5  # ten minutes of 120 s cycles
LATE_S = 2.5


class Doors:
    """The five services in this process, each behind a front."""

    def __init__(self, folder: Path) -> None:
        ports = dict(zip(APPS, free_ports(len(APPS)), strict=True))
        environ = {f"SERVICES__{name.upper()}__PORT": str(port) for name, port in ports.items()}
        (folder / "services").mkdir()
        market = {"SERVICES__MARKET_DATA__SYMBOLS": "25"}
        self.settings = load_settings({"DATA_DIR": str(folder / "services"), **environ, **market})
        self._open = ExitStack()
        self.fronts: dict[str, Front] = {}
        for name, app in APPS.items():
            server = serve(app(self.settings), "127.0.0.1", ports[name], 8)
            self._open.callback(server.close)
            self.fronts[name] = self._open.enter_context(Front(ports[name]))

    @property
    def urls(self) -> dict[str, str]:
        return {f"SERVICES__{name.upper()}__URL": front.url for name, front in self.fronts.items()}

    def close(self) -> None:
        self._open.close()


@contextmanager
def fleet(folder: Path, **environ: str) -> Iterator[tuple[Stack, Doors]]:
    """The product over the doors, on a schedule."""
    doors = Doors(folder)
    breaker = f'{{"failures": 5, "reset_s": {RESET_S}, "max_reset_s": {MAX_RESET_S}}}'
    breakers = {f"SERVICES__{name.upper()}__BREAKER": breaker for name in APPS}
    config = {
        "TRADING_ENGINE__CYCLE_INTERVAL": str(INTERVAL_S),
        "TRADING_ENGINE__AUTOSTART": "true",
        "WORKERS__PROCESSES": "8",
        "TIMING__CHECK_S": "10",
        **breakers,
        **environ,
    }
    try:
        with running(folder, **doors.urls, **config) as stack:
            yield stack, doors
    finally:
        doors.close()


def closed(stack: Stack) -> list[dict[str, Any]]:
    """Cycles that ended, the oldest first."""
    items = stack.get("/cycles?limit=100")["items"]
    return [each for each in reversed(items) if each["finished_at"] is not None]


def wait_for_cycles(stack: Stack, count: int) -> list[dict[str, Any]]:
    """Wait until so many more have ended; those."""
    known = len(closed(stack))
    wait_for(lambda: len(closed(stack)) >= known + count, (count + 4) * INTERVAL_S, "more cycles")
    return closed(stack)[known : known + count]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize("service", ["strategy", "portfolio"])
def test_an_outage_is_met_with_no_more_requests_and_then_with_probes_alone(
    service: str, tmp_path: Path
) -> None:
    with fleet(tmp_path) as (stack, doors):
        front = doors.fronts[service]
        wait_for_cycles(stack, 2)
        before, began = len(front.asked), time.monotonic()
        wait_for_cycles(stack, 3)
        healthy = (len(front.asked) - before) / ((time.monotonic() - began) / INTERVAL_S)
        front.fault, down_at, first = "500", time.monotonic(), len(front.asked)
        wait_for_cycles(stack, OUTAGE_CYCLES)
        asked = front.asked[first:]
        seconds = time.monotonic() - down_at
        opened = next(
            index for index, one in enumerate(asked) if index >= 5 and _probing(asked, index)
        )
        most = max(1.2 * healthy, FLOOR)
        told = (
            f"{service}: healthy {healthy:.1f} an interval, {opened} until open, then "
            f"{len(asked) - opened} probes in {seconds:.0f} s"
        )
        print(told)  # noqa: T201
        assert opened <= most
        probes = asked[opened:]
        assert {one.path for one in probes} == {"/health"}
        gaps = [later.at - one.at for one, later in itertools.pairwise(probes)]
        assert all(gap > 0.9 * RESET_S for gap in gaps)
        assert all(gap > 0.9 * MAX_RESET_S for gap in gaps[2:])
        status = stack.get("/status")
        assert service in {each["service"] for each in status["degraded"]}
        front.heal()
        wait_for(
            lambda: stack.get("/status")["services"][service]["breaker"] == "closed", 60, "closed"
        )


def _probing(asked: list[Any], index: int) -> bool:
    """Whether from here on there is nothing but probes, each alone."""
    return all(one.path == "/health" for one in asked[index:])


def test_a_hanging_service_costs_no_cycle_its_deadline_nor_the_next_its_start(
    tmp_path: Path,
) -> None:
    with fleet(tmp_path) as (stack, doors):
        wait_for_cycles(stack, 1)
        for service in APPS:
            doors.fronts[service].fault = "hangs"
            hung = wait_for_cycles(stack, 2)
            doors.fronts[service].heal()
            after = wait_for_cycles(stack, 1)[0]
            starts = [at(each["started_at"]) for each in (*hung, after)]
            ends = [at(each["finished_at"]) for each in hung]
            took = [(end - start).total_seconds() for start, end in zip(starts, ends, strict=False)]
            gaps = [(later - one).total_seconds() for one, later in itertools.pairwise(starts)]
            told = f"{service} hangs: cycles took {took}, {gaps} from start to start"
            print(told)  # noqa: T201
            assert max(took) <= DEADLINE_SHARE * INTERVAL_S + LATE_S, told
            assert all(abs(gap - INTERVAL_S) <= LATE_S for gap in gaps), told
            assert "SKIPPED" not in {each["status"] for each in (*hung, after)}, told
            assert after["symbols"]["selected"] >= 20, told
            wait_for(lambda: stack.get("/health")["status"] == "ok", 60, f"{service} is back")


def test_after_redis_lost_everything_the_schedule_comes_back_by_itself(tmp_path: Path) -> None:
    [port] = free_ports(1)
    with fleet(tmp_path, REDIS__PORT=str(port)) as (stack, _):
        wait_for_cycles(stack, 1)
        password = (stack.folder / "data" / "redis" / "password").read_text().strip()
        with redis.Redis(port=port, password=password) as client:
            client.flushall()
        began = datetime.now().astimezone()
        found = wait_for_cycles(stack, 2)
        assert stack.get("/status")["schedule"] == "running"
        assert at(found[-1]["started_at"]) - began < timedelta(seconds=3 * INTERVAL_S)
        assert found[-1]["status"] in {"COMPLETED", "DEGRADED"}
