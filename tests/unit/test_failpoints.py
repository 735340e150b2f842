"""Failpoints: inert by default, exact when armed, refused where money is real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine import failpoints
from engine.config_source import load_settings
from engine.errors import ConfigError
from engine.failpoints import Arm, parse

REACH = """
from engine import failpoints
for _ in range({}):
    failpoints.reach("B3", "order-1")
print("lived")
"""


def _run(arming: str | None, reaches: int = 1) -> subprocess.Popen[bytes]:
    environ = {key: value for key, value in os.environ.items() if key != failpoints.VARIABLE}
    if arming is not None:
        environ[failpoints.VARIABLE] = arming
    return subprocess.Popen(
        [sys.executable, "-c", REACH.format(reaches)], env=environ, stdout=subprocess.PIPE
    )


def test_without_the_variable_nothing_happens() -> None:
    process = _run(None)
    assert process.communicate()[0] == b"lived\n"
    assert process.returncode == 0


def test_an_armed_place_ends_the_process_by_sigkill_and_leaves_a_line(tmp_path: Path) -> None:
    process = _run(f"B3:1;dir={tmp_path}")
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    place, action, pid, at, subject = (tmp_path / failpoints.HITS).read_text().split()
    assert (place, action, int(pid)) == ("B3", "kill", process.pid)
    assert subject == "order-1"
    assert float(at) > 0


def test_a_stopped_process_goes_on_when_it_is_continued(tmp_path: Path) -> None:
    process = _run(f"B3:1:stop;dir={tmp_path}")
    assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
    process.send_signal(signal.SIGCONT)
    assert process.communicate()[0] == b"lived\n"


def test_another_place_than_the_armed_one_does_nothing(tmp_path: Path) -> None:
    process = _run(f"B4:1;dir={tmp_path}")
    assert process.communicate()[0] == b"lived\n"
    assert not (tmp_path / failpoints.HITS).exists()


def test_nothing_happens_while_paused(tmp_path: Path) -> None:
    (tmp_path / failpoints.PAUSED).touch()
    assert _run(f"B3:1;dir={tmp_path}").communicate()[0] == b"lived\n"


def test_the_probability_is_of_each_reach(tmp_path: Path) -> None:
    never = _run(f"B3:0;dir={tmp_path}", reaches=1000)
    seldom = _run(f"B3:0.05;seed=3;dir={tmp_path}", reaches=1000)
    assert never.communicate()[0] == b"lived\n"
    seldom.communicate()
    assert seldom.returncode == -signal.SIGKILL


def test_the_whole_form_is_read() -> None:
    arming = parse("B3:0.5,B4:0.25:stop;seed=7;bug=no_fence+no_void;dir=/folder")
    assert arming.arms == (Arm("B3", 0.5), Arm("B4", 0.25, "stop"))
    assert arming.bugs == {"no_fence", "no_void"}
    assert (arming.seed, arming.folder) == (7, Path("/folder"))


@pytest.mark.parametrize(
    "text",
    [
        "B3;dir=/x",
        "B3:2;dir=/x",
        "B3:0.1:burn;dir=/x",
        "Q9:0.1;dir=/x",
        "B3:0.1",
        "seed=x",
        "bug=nosuch",
        "colour=red",
        "B3:0.1:kill:kill;dir=/x",
    ],
)
def test_a_wrong_form_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=failpoints.VARIABLE):
        parse(text)


def test_a_bug_is_on_only_where_it_is_switched_on() -> None:
    assert not failpoints.bug("no_fence")
    with failpoints.seeded("no_fence"):
        assert failpoints.bug("no_fence")
        assert not failpoints.bug("no_void")
    assert not failpoints.bug("no_fence")


def test_an_unknown_bug_cannot_be_switched_on() -> None:
    with pytest.raises(KeyError), failpoints.seeded("nosuch"):
        pass


def test_an_observer_is_told_of_each_place_for_as_long_as_it_looks() -> None:
    seen: list[str] = []
    with failpoints.observed(seen.append):
        failpoints.reach("B2")
    failpoints.reach("B3")
    assert seen == ["B2"]


def test_live_mode_refuses_failpoints() -> None:
    environ = {"TRADING_ENGINE__MODE": "live", failpoints.VARIABLE: "bug=no_fence"}
    with pytest.raises(ConfigError) as refused:
        load_settings(environ)
    assert any(failpoints.VARIABLE in fault for fault in refused.value.faults)
    with pytest.raises(ConfigError) as other:
        load_settings({"TRADING_ENGINE__MODE": "live"})
    assert not any(failpoints.VARIABLE in fault for fault in other.value.faults)


def test_ten_thousand_reaches_cost_next_to_nothing_when_unarmed() -> None:
    started = time.perf_counter()
    for _ in range(10_000):
        failpoints.reach("B3")
        failpoints.bug("no_fence")
    assert time.perf_counter() - started < 0.5
