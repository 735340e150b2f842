"""The launcher's small parts, each alone."""

from __future__ import annotations

import io
import json
import os
import socket
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.settings import Settings
from launcher import components, options, ports, resolve, restarts, sessions
from launcher.child import ALLOCATOR, Child, Part
from launcher.cycles import describe
from launcher.data_folder import DataFolder
from launcher.log_file import LogTail, Sieve, open_log, rotate
from launcher.terminal import Terminal
from tests.integration.stack import wait_for

REPORT = {
    "cycle_id": "c1",
    "status": "COMPLETED",
    "finished_at": "2026-01-02T03:04:05Z",
    "duration_s": 1.94,
    "symbols": {"selected": 50},
    "signals": {"received": 12},
    "orders": {"filled": 5, "denied": 3},
    "degraded": [],
}


def test_a_busy_port_is_one_line_with_port_key_and_remedy() -> None:
    """And it is found before anything starts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            ports.check([ports.Claim("trading_engine.port", "127.0.0.1", port, "use --port")])
    (line,) = caught.value.faults
    assert f"port {port}" in line
    assert line.startswith("trading_engine.port: ")
    assert line.endswith("use --port")


def test_of_two_ports_only_the_busy_one_is_a_fault() -> None:
    free = ports.Claim("free", "127.0.0.1", ports.free_port(), "")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        busy = ports.Claim("busy", "127.0.0.1", listener.getsockname()[1], "")
        with pytest.raises(ConfigError) as caught:
            ports.check([free, busy])
    assert [fault.partition(":")[0] for fault in caught.value.faults] == ["busy"]


def test_free_ports_are_all_different() -> None:
    assert len(set(ports.free_ports(50))) == 50


def test_a_port_left_open_gets_a_free_one_for_every_part() -> None:
    settings = Settings.model_validate(
        {"trading_engine": {"port": 0}, "services": {"strategy": {"port": 0}}}
    )
    found = resolve.open_ports(settings)
    assert set(found) == {"TRADING_ENGINE__PORT", "SERVICES__STRATEGY__PORT"}
    assert "0" not in found.values()


def test_two_parts_on_one_port_are_a_fault() -> None:
    port = ports.free_port()
    claims = [ports.Claim(key, "127.0.0.1", port, "") for key in ("one", "two")]
    with pytest.raises(ConfigError, match=f"two: port {port} is also one"):
        ports.check(claims)


def test_every_listening_part_claims_its_port() -> None:
    keys = {claim.key for claim in components.claims(Settings())}
    assert keys == {
        "trading_engine.port",
        *(f"services.{name}.port" for name in components.SERVICES),
        "flower.port",
    }


def test_a_service_with_an_address_of_its_own_is_not_started() -> None:
    settings = Settings.model_validate({"services": {"strategy": {"url": "http://10.0.0.1:80"}}})
    assert "strategy" not in components.local_services(settings)
    assert "services.strategy.port" not in {claim.key for claim in components.claims(settings)}


def test_off_loopback_without_a_key_is_refused() -> None:
    settings = Settings.model_validate({"trading_engine": {"host": "0.0.0.0"}})  # noqa: S104
    with pytest.raises(ConfigError, match="TRADING_ENGINE_API_KEY"):
        components.check_exposure(settings)


def test_off_loopback_with_a_key_is_accepted() -> None:
    settings = Settings.model_validate(
        {"trading_engine": {"host": "0.0.0.0"}, "api": {"key": "k" * 43}}  # noqa: S104
    )
    components.check_exposure(settings)


def test_flower_off_loopback_needs_a_password() -> None:
    settings = Settings.model_validate({"flower": {"host": "0.0.0.0"}})  # noqa: S104
    with pytest.raises(ConfigError, match="basic_auth"):
        components.check_exposure(settings)


def test_options_become_environment() -> None:
    given_options = options.parse(["--interval", "10", "--port", "9001", "--symbols", "5"])
    assert given_options.environment == {
        "TRADING_ENGINE__CYCLE_INTERVAL": "10",
        "TRADING_ENGINE__PORT": "9001",
        "SERVICES__MARKET_DATA__SYMBOLS": "5",
    }


def test_the_data_folder_is_private(tmp_path: Path) -> None:
    with DataFolder(tmp_path / "data") as data:
        data.secret("key")
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "data" / "key").stat().st_mode) == 0o600


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    with DataFolder(tmp_path) as data:
        secret = data.secret("key")
        assert data.secret("key") == secret
        assert len(secret) >= 43


def test_a_data_folder_in_use_is_refused_in_one_line(tmp_path: Path) -> None:
    with DataFolder(tmp_path), pytest.raises(ConfigError) as caught, DataFolder(tmp_path):
        pass
    (line,) = caught.value.faults
    assert "in use by another launcher" in line
    assert "--data-dir" in line


def test_a_left_data_folder_can_be_used_again(tmp_path: Path) -> None:
    with DataFolder(tmp_path) as first:
        made = first.secret("key")
    with DataFolder(tmp_path) as again:
        assert again.secret("key") == made


@given(st.lists(st.floats(min_value=0, max_value=300), max_size=60))
def test_never_more_than_five_restarts_in_a_minute(gaps: list[float]) -> None:
    counter, now, granted = restarts.Restarts(), 0.0, []
    for gap in gaps:
        now += gap
        if counter.delay_after(now) is not None:
            granted.append(now)
    for index, first in enumerate(granted):
        inside = [at for at in granted[index:] if at - first < restarts.WINDOW_S]
        assert len(inside) <= restarts.MOST


def test_delays_between_restarts_double_and_then_it_is_given_up() -> None:
    counter = restarts.Restarts()
    assert [counter.delay_after(at) for at in range(6)] == [0.5, 1, 2, 4, 8, None]


def test_a_quiet_minute_forgives() -> None:
    counter = restarts.Restarts()
    for at in range(5):
        counter.delay_after(at)
    assert counter.delay_after(100.0) == 0.5


def test_a_log_above_the_limit_is_moved_aside(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    for content in ("first", "second", "third", "fourth", "fifth"):
        log.write_text(content, encoding="utf-8")
        rotate(log, max_bytes=3, kept=3)
    kept = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert kept == {"part.log.1": "fifth", "part.log.2": "fourth", "part.log.3": "third"}


def test_a_small_log_stays(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    log.write_text("x", encoding="utf-8")
    rotate(log, max_bytes=3)
    assert log.exists()


def test_a_tail_gives_whole_new_lines_once(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    log.write_text("old\n", encoding="utf-8")
    tail = LogTail(log)
    with log.open("a", encoding="utf-8") as stream:
        stream.write("one\ntw")
    assert tail.lines() == ["one"]
    with log.open("a", encoding="utf-8") as stream:
        stream.write("o\n")
    assert tail.lines() == ["two"]
    assert tail.lines() == []


def test_the_sieve_lets_warnings_and_errors_through() -> None:
    sieve = Sieve()
    event = json.dumps({"level": "warning", "event": "slow_step", "step": "fetch", "at": "now"})
    lines = ["2026 INFO fine", json.dumps({"level": "info", "event": "fine"}), event, "{broken"]
    shown = [sieve.loud(line) for line in lines]
    assert shown == [None, None, "WARNING slow_step step=fetch", None]


@pytest.mark.parametrize(
    ("line", "is_loud"),
    [
        ("[2026-01-01 00:00:00,000: WARNING/MainProcess] late", True),
        ("ERROR: no such thing", True),
        ("    . logfile -> [stderr]@%WARNING", False),
        ("no errors", False),
    ],
)
def test_a_plain_line_is_loud_by_its_level(line: str, *, is_loud: bool) -> None:
    assert (Sieve().loud(line) == line) is is_loud


def test_of_a_traceback_the_last_line_is_shown() -> None:
    sieve = Sieve()
    lines = ["Traceback (most recent call last):", '  File "x", line 1', "    f()", "OSError: no"]
    assert [sieve.loud(line) for line in lines] == [None, None, None, "OSError: no"]


def test_a_cycle_is_one_readable_line() -> None:
    status = {"simulated": True, "mode": "paper", "portfolio": {"equity": "100012.305"}}
    assert describe(REPORT, status, "USD") == (
        "03:04:05  SIMULATED  COMPLETED   50 symbols   12 signals    5 orders filled, 3 denied  "
        "equity 100,012.30 USD  1.9 s"
    )


def test_a_degraded_cycle_names_the_services() -> None:
    report = {**REPORT, "degraded": [{"service": "monitoring", "reason": "no answer"}]}
    line = describe(report, {"simulated": False, "mode": "paper", "portfolio": None}, "USD")
    assert "PAPER" in line
    assert "equity not known" in line
    assert line.endswith("degraded: monitoring")


def test_without_a_terminal_there_are_no_colours() -> None:
    stream = io.StringIO()
    Terminal(stream).said("worker", "slow", "warn")
    assert stream.getvalue() == "worker         | slow\n"


def test_a_process_number_that_another_process_has_got_is_left_alone() -> None:
    mine = sessions.Entry("other", os.getpid(), started_at=1.0)
    assert sessions.end([mine], 0.0, lambda: 0.0) == 0


def test_a_roster_survives_writing_and_reading(tmp_path: Path) -> None:
    entries = [sessions.entry("me", os.getpid())]
    sessions.write_roster(tmp_path / "roster", entries)
    assert sessions.read_roster(tmp_path / "roster") == entries


@pytest.mark.parametrize("content", ["", "{", '[{"pid": 1}]', "[1]"])
def test_a_broken_roster_is_an_empty_one(tmp_path: Path, content: str) -> None:
    (tmp_path / "roster").write_text(content, encoding="utf-8")
    assert sessions.read_roster(tmp_path / "roster") == []


def test_a_log_that_grows_while_it_is_written_is_rotated_once_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    with open_log(path) as log:
        tail = LogTail(path, max_bytes=20)
        log.write(b"a line\n")
        assert tail.lines() == ["a line"]
        log.write(b"a line that is longer\n")
        assert tail.lines() == ["a line that is longer"]
        assert path.stat().st_size == 0
        log.write(b"the next\n")
        assert tail.lines() == ["the next"]
    assert (tmp_path / "worker.log.1").read_bytes() == b"a line\na line that is longer\n"
    assert path.read_bytes() == b"the next\n"


@pytest.mark.parametrize("name", ALLOCATOR)
@pytest.mark.parametrize("given", [None, "5000000"])
def test_a_part_keeps_its_memory_together_unless_it_is_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, given: str | None
) -> None:
    monkeypatch.delenv(name, raising=False)
    program = f"import os; print(os.environ[{name!r}])"
    environ = {} if given is None else {name: given}
    child = Child(Part("part", (sys.executable, "-c", program), ()), tmp_path, environ)
    child.start()
    wait_for(lambda: child.exit_status is not None, 10, "the part ended")
    assert child.last_words() == (given or ALLOCATOR[name])
    child.sweep()
