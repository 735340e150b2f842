"""The launcher over real processes: order, readiness, restarts, and ends that leave nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from launcher import restarts, sessions
from launcher.stop_request import StopRequest
from launcher.supervisor import STOP_LIMIT_S, StartFailed, Supervisor
from launcher.terminal import Terminal
from tests.integration.launcher_harness import dummy

HARNESS = Path(__file__).with_name("launcher_harness.py")
ROOT = HARNESS.parents[2]
PATIENCE_S = 20
STOP_PROMISE_S = 15


class Run:
    """One launcher process over dummy parts, its output in a file."""

    def __init__(self, folder: Path, parts: tuple[str, ...], stop_limit_s: float) -> None:
        self.folder = folder
        self._output = folder / "output"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(HARNESS), str(folder), *parts],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "STOP_LIMIT_S": str(stop_limit_s)},
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """All it printed so far."""
        return self._output.read_text(encoding="utf-8")

    @property
    def order(self) -> list[str]:
        """The dummies' own record of starts and stops."""
        path = self.folder / "order"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Waits for `condition` with a bound."""
        limit = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < limit, f"{what} did not come:\n{self.output}"
            time.sleep(0.02)

    def wait_up(self) -> None:
        """Waits until every part answered."""
        self.wait_for(lambda: "everything is up" in self.output, "the start of all parts")

    def pids(self) -> list[int]:
        """Every process of every part."""
        entries = sessions.read_roster(self.folder / "processes.json")
        return [pid for entry in entries for pid in sessions.members(entry.pid)]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Starts launchers over dummies; whatever a failed test leaves is killed."""
    runs: list[Run] = []

    def start(*parts: str, stop_limit_s: float = 2) -> Run:
        folder = tmp_path / f"run{len(runs)}"
        folder.mkdir()
        runs.append(Run(folder, parts, stop_limit_s))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
        run.process.wait()
        for entry in sessions.read_roster(run.folder / "processes.json"):
            sessions.kill(entry.pid)


def _gone(pids: list[int]) -> bool:
    return not any(
        psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        for pid in pids
    )


def test_parts_start_in_order_and_stop_in_reverse(launch: Callable[..., Run]) -> None:
    """Each part is started after the one before answered; the last one is stopped first."""
    run = launch("first=good", "second=good", "third=good")
    run.wait_up()
    run.process.send_signal(signal.SIGTERM)
    assert run.process.wait(PATIENCE_S) == 0
    assert run.order == [
        *("start first", "start second", "start third"),
        *("stop third", "stop second", "stop first"),
    ]


def test_a_ready_part_gets_one_line_with_its_address(launch: Callable[..., Run]) -> None:
    """Name, address and seconds."""
    run = launch("first=good")
    run.wait_up()
    assert re.search(r"^first +\| ready +\S+first\.ready +\d+\.\d s$", run.output, re.MULTILINE)


def test_only_warnings_reach_the_terminal_prefixed_with_the_name(
    launch: Callable[..., Run],
) -> None:
    """What a part logs at lower levels stays in its log."""
    run = launch("talker=loud")
    run.wait_for(lambda: "slow" in run.output, "the warning")
    assert re.search(r"^talker +\| 2026 WARNING slow$", run.output, re.MULTILINE)
    assert "info" not in run.output
    assert "info" in (run.folder / "talker.log").read_text(encoding="utf-8")


def test_a_part_that_cannot_start_brings_all_down_with_the_reason(
    launch: Callable[..., Run],
) -> None:
    """Exit status 1, the part's last words, and the parts before it are stopped."""
    run = launch("first=good", "broken=failing", "never=good")
    assert run.process.wait(PATIENCE_S) == 1
    assert "failed: broken ended with exit status 3: the disk is full" in run.output
    assert run.order == ["start first", "stop first"]


def test_a_part_that_dies_is_started_again(launch: Callable[..., Run]) -> None:
    """A killed part gets a new process, and says ready again."""
    run = launch("first=good")
    run.wait_up()
    (entry,) = sessions.read_roster(run.folder / "processes.json")
    os.kill(entry.pid, signal.SIGKILL)
    run.wait_for(lambda: run.order.count("start first") == 2, "the second start")
    assert "first was ended by SIGKILL: all is well" in run.output
    assert "starting it again in 0.5 s" in run.output


def test_a_part_that_dies_too_often_brings_all_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sixth end within a minute is the last one (with delays taken out)."""
    monkeypatch.setattr(restarts, "FIRST_DELAY_S", 0.0)
    with (tmp_path / "output").open("w", encoding="utf-8") as output:
        supervisor = Supervisor(
            terminal=Terminal(output),
            logs=tmp_path,
            roster=tmp_path / "processes.json",
            environment={},
            stop=StopRequest(),
        )
        (tmp_path / "weak.ready").touch()
        supervisor.start(dummy(tmp_path, "weak", "mortal"))
        with pytest.raises(StartFailed, match="too often within a minute"):
            _watch_until_it_fails(supervisor.watch)
        supervisor.stop()
    starts = (tmp_path / "order").read_text(encoding="utf-8").count("start weak")
    assert starts == restarts.MOST + 1


def _watch_until_it_fails(watch: Callable[[], None]) -> None:
    limit = time.monotonic() + PATIENCE_S
    while time.monotonic() < limit:
        watch()
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_leaves_no_process(launch: Callable[..., Run], number: signal.Signals) -> None:
    """Within the limit, with exit status 0 and no traceback, children of children included."""
    run = launch("stubborn=stubborn", "family=family", "good=good")
    run.wait_up()
    pids = run.pids()
    assert len(pids) == 4
    run.process.send_signal(number)
    assert run.process.wait(PATIENCE_S) == 0
    assert _gone(pids)
    assert "Traceback" not in run.output


@pytest.mark.slow
def test_a_stop_ends_in_time_whatever_the_parts_do(launch: Callable[..., Run]) -> None:
    """Parts that ignore SIGTERM cost no more than the limit of a stop."""
    run = launch("one=stubborn", "two=stubborn", "three=stubborn", stop_limit_s=STOP_LIMIT_S)
    run.wait_up()
    begun = time.monotonic()
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(PATIENCE_S) == 0
    assert time.monotonic() - begun < STOP_PROMISE_S


def test_parts_of_one_stage_are_stopped_together(launch: Callable[..., Run]) -> None:
    """A stubborn one keeps the others of its stage from nothing, and earlier stages wait."""
    run = launch("first=good", "second=good=last", "third=stubborn=last")
    run.wait_up()
    run.process.send_signal(signal.SIGTERM)
    run.wait_for(lambda: "stop second" in run.order, "the stop of the second part")
    assert "stop first" not in run.order
    assert run.process.wait(PATIENCE_S) == 0
    assert run.order[-1] == "stop first"


def test_a_second_request_kills_at_once(launch: Callable[..., Run]) -> None:
    """Nobody waits for a stubborn part twice."""
    run = launch("stubborn=stubborn", "more=stubborn", stop_limit_s=STOP_LIMIT_S)
    run.wait_up()
    pids = run.pids()
    run.process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        run.process.wait(0.5)
    begun = time.monotonic()
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(PATIENCE_S) == 0
    assert time.monotonic() - begun < 3
    assert _gone(pids)


def test_a_stop_is_heard_while_parts_still_start(launch: Callable[..., Run]) -> None:
    """Ctrl-C does not wait for the start to complete."""
    run = launch("first=good", "slow=silent")
    run.wait_for(lambda: len(run.pids()) == 2, "the second part")
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(PATIENCE_S) == 0
    # The second part may have come far enough to say that it was stopped, or not.
    told = [line for line in run.order if line != "stop slow"]
    assert told == ["start first", "stop first"]


def test_a_killed_launcher_leaves_no_orphans(launch: Callable[..., Run]) -> None:
    """SIGKILL to the launcher ends the parts too, stubborn children of children included."""
    run = launch("family=family", "good=good")
    run.wait_up()
    pids = run.pids()
    run.process.kill()
    run.process.wait(PATIENCE_S)
    assert len(pids) > len(("family", "good"))
    run.wait_for(lambda: _gone(pids), "the end of the orphans")
    assert _gone(pids)
