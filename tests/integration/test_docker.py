"""Image and compose file run for real. Skipped where no Docker engine answers."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from launcher import compose_env
from tests.promtool import RULES

ROOT = Path(__file__).parents[2]
START_LIMIT_S = 300
CYCLE_LIMIT_S = 180
PROMETHEUS = "http://127.0.0.1:9090/api/v1"
DASHBOARD = "deploy/grafana/dashboards/trading-engine.json"
CURL = re.compile(
    r'^curl -H "Authorization: Bearer (\S+)" (?:-X POST )?http://127\.0\.0\.1:8001(\S+)$'
)


def _has_engine() -> bool:
    if shutil.which("docker") is None:
        return False
    done = subprocess.run(["docker", "info"], capture_output=True, timeout=30, check=False)
    return done.returncode == 0


pytestmark = [
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not _has_engine(), reason="no Docker engine answers"),
]


def _done(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", *arguments],
        cwd=ROOT,
        env={**os.environ, "TRADING_ENGINE__CYCLE_INTERVAL": "10"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def _exists(image: str) -> bool:
    return _done("image", "inspect", image).returncode == 0


def _docker(*arguments: str) -> str:
    done = _done(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def _wait_for(condition: Callable[[], Any], limit_s: float, evidence: Callable[[], str]) -> Any:
    limit = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < limit, evidence()
        time.sleep(0.5)
    return found


def _ask(base: str, path: str, key: str, *, method: str = "GET") -> Any:
    request = Request(base + path, method=method, headers={"Authorization": f"Bearer {key}"})  # noqa: S310
    with urlopen(request, timeout=15) as reply:  # noqa: S310 (a container of this test)
        return json.loads(reply.read())


def _filled_cycle(base: str, key: str) -> Callable[[], Any]:
    """A completed cycle with a filled order, or None."""

    def look() -> Any:
        try:
            reports = _ask(base, "/cycles?limit=50", key)["items"]
        except (URLError, OSError, ValueError):
            return None
        done = (one for one in reports if one["status"] == "COMPLETED" and one["orders"]["filled"])
        return next(done, None)

    return look


@pytest.fixture(scope="module")
def image() -> str:
    """The image, built."""
    _docker("build", "-t", "trading-engine", ".")
    return "trading-engine"


@pytest.fixture
def container(image: str) -> Iterator[str]:
    """The image run alone, as the README says, on a port of its own."""
    interval = ("-e", "TRADING_ENGINE__CYCLE_INTERVAL=10")
    name = f"trading-engine-test-{secrets.token_hex(4)}"
    _docker("run", "--detach", "--name", name, "-p", "127.0.0.1::8001", *interval, image)
    yield name
    _docker("rm", "--force", "--volumes", name)


def test_the_image_alone_trades_and_its_curl_lines_work(container: str) -> None:
    """Health, status and start, with the key that was made; then a filled cycle; then exit 0."""

    def calls() -> list[re.Match[str]]:
        lines = _docker("logs", container).splitlines()
        return [found for line in lines if (found := CURL.match(line)) is not None]

    found = _wait_for(
        lambda: (lines := calls())[2:] and lines, START_LIMIT_S, lambda: _docker("logs", container)
    )
    base = "http://" + _docker("port", container, "8001").splitlines()[0]
    key = found[0][1]
    assert [match[2] for match in found] == ["/health", "/status", "/start"]
    assert _ask(base, "/health", key)["status"] in ("ok", "degraded")
    assert _ask(base, "/status", key)["mode"] == "paper"
    assert _ask(base, "/start", key, method="POST")["schedule"] == "running"
    evidence = lambda: _docker("logs", container)  # noqa: E731 (the log of the moment)
    _wait_for(_filled_cycle(base, key), CYCLE_LIMIT_S, evidence)
    _docker("stop", "--time", "20", container)
    state = json.loads(_docker("inspect", container))[0]["State"]
    assert state["ExitCode"] == 0
    assert "Traceback" not in _docker("logs", container)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """The arguments of `docker compose` for a project of the test's own, with its own keys."""
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    environment = tmp_path / "env"
    environment.write_text(compose_env.complete(compose, "")[0], encoding="utf-8")
    faster = tmp_path / "faster.yml"
    setting = {"environment": {"TRADING_ENGINE__CYCLE_INTERVAL": "10"}}
    names = ("trading-engine", "worker", "upkeep", "beat", "flower", "migrate")
    faster.write_text(json.dumps({"services": dict.fromkeys(names, setting)}), encoding="utf-8")
    files = ("-f", str(ROOT / "docker-compose.yml"), "-f", str(faster))
    name = f"trading-test-{secrets.token_hex(4)}"
    arguments = ("compose", "-p", name, "--env-file", str(environment), *files)
    yield arguments
    _docker(*arguments, "down", "--volumes", "--timeout", "5")


def test_the_fleet_becomes_healthy_trades_and_survives_kills(
    image: str, project: tuple[str, ...]
) -> None:
    """Three workers over PostgreSQL; a worker is killed again and again, no order is lost."""
    _docker(*project, "up", "--wait", "--wait-timeout", str(START_LIMIT_S), "--scale", "worker=3")
    environment = Path(project[4]).read_text(encoding="utf-8")
    key = dict(line.split("=", 1) for line in environment.splitlines())["TRADING_ENGINE_API_KEY"]
    base = "http://127.0.0.1:8001"

    def evidence() -> str:
        return _docker(*project, "ps") + _docker(*project, "logs", "--tail", "50")

    _wait_for(_filled_cycle(base, key), CYCLE_LIMIT_S, evidence)
    before = _ask(base, "/cycles?limit=1", key)["items"][0]["epoch"]
    for _ in range(20):
        workers = _docker(*project, "ps", "--quiet", "worker").split()
        victim = secrets.choice(workers)
        _docker("kill", victim)
        _docker("start", victim)

    def has_gone_on() -> bool:
        newest = _ask(base, "/cycles?limit=5", key)["items"]
        closed = [one for one in newest if one["epoch"] > before and one["finished_at"]]
        return any(one["status"] == "COMPLETED" for one in closed)

    _wait_for(has_gone_on, CYCLE_LIMIT_S, evidence)
    audit = _docker(*project, "exec", "-T", "upkeep", "python", "-m", "launcher.audit")
    assert audit.count(" ok  ") == 12, audit


def _environment(project: tuple[str, ...]) -> dict[str, str]:
    lines = Path(project[4]).read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_prometheus_scrapes_loads_every_rule_and_answers_the_dashboard(
    image: str, project: tuple[str, ...]
) -> None:
    """The engine is scraped with its key; a panel without data is one of faults alone."""
    limit = ("--wait-timeout", str(START_LIMIT_S))
    _docker(*project, "up", "--wait", *limit)
    _docker(*project, "--profile", "observability", "up", "--wait", *limit, "prometheus")

    def is_scraped() -> bool:
        targets = _ask(PROMETHEUS, "/targets", "none")["data"]["activeTargets"]
        return {target["labels"]["job"] for target in targets if target["health"] == "up"} == {
            *("trading-engine", "flower")
        }

    _wait_for(is_scraped, START_LIMIT_S, lambda: _docker(*project, "logs", "prometheus"))
    groups = _ask(PROMETHEUS, "/rules", "none")["data"]["groups"]
    rules = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
    assert set(rules) == set(RULES)
    key = _environment(project)["TRADING_ENGINE_API_KEY"]
    _wait_for(_filled_cycle("http://127.0.0.1:8001", key), CYCLE_LIMIT_S, lambda: str(rules))
    _wait_for(lambda: not _unanswered() - {"Circuits not closed"}, 120, lambda: str(_unanswered()))


def _unanswered() -> set[str]:
    """Titles of the dashboard's panels for which Prometheus has no data now."""
    dashboard = json.loads((ROOT / DASHBOARD).read_text(encoding="utf-8"))
    found = set()
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"].replace("$__rate_interval", "1m")
            answer = _ask(PROMETHEUS, f"/query?query={quote(query)}", "none")
            if not answer["data"]["result"]:
                found.add(panel["title"])
    return found


def test_grafana_shows_the_dashboard_over_prometheus(project: tuple[str, ...]) -> None:
    """Both are provisioned; skipped where the image cannot be had."""
    image = _docker(*project, "--profile", "observability", "config", "--images")
    [wanted] = [name for name in image.splitlines() if name.startswith("grafana/")]
    if not (_exists(wanted) or _done("pull", wanted).returncode == 0):
        pytest.skip(f"{wanted} is not here and cannot be pulled")
    limit = ("--wait-timeout", str(START_LIMIT_S))
    _docker(*project, "--profile", "observability", "up", "--wait", *limit, "grafana")
    login = f"admin:{_environment(project)['GRAFANA_PASSWORD']}".encode()
    headers = {"Authorization": f"Basic {base64.b64encode(login).decode()}"}

    def asked(path: str) -> Any:
        request = Request(f"http://127.0.0.1:3000/api{path}", headers=headers)
        with urlopen(request, timeout=15) as reply:  # noqa: S310 (a container of this test)
            return json.loads(reply.read())

    assert asked("/dashboards/uid/trading-engine")["dashboard"]["title"] == "Trading engine"
    assert asked("/datasources/uid/prometheus/health")["status"] == "OK"


def test_without_keys_compose_says_what_to_do(tmp_path: Path) -> None:
    """One clear line instead of containers without passwords."""
    empty = tmp_path / "env"
    empty.touch()
    done = subprocess.run(
        ["docker", "compose", "--env-file", str(empty), "config", "--quiet"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "run ./dev compose-env first" in done.stderr
