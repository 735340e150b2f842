"""`./dev` as a stranger meets it: what it says when the machine lacks something."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = (
    *("up", "test", "format", "lint", "types", "bench", "conform", "audit", "replay"),
    *("backup", "screenshots", "compose-env", "compose-check"),
)
VERBS = (
    *("status", "start", "stop", "cycle", "halt", "reduce", "resume", "orders", "explain"),
    *("positions", "close", "adopt", "enable", "alerts", "config"),
)


def _dev(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "dev"), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_alone_it_lists_what_it_can_do(command: str) -> None:
    done = _dev()
    assert done.returncode == 0
    assert f"./dev {command}" in done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_it_lists_each_verb_of_the_command_line(verb: str) -> None:
    listed = _dev().stdout.partition("./dev VERB")[2].partition("./dev backup")[0]
    assert verb in listed.replace("\n", " ").split()


def test_a_verb_is_passed_on_with_its_options_and_exit_status(tmp_path: Path) -> None:
    """A Python that only repeats what it was given stands in for the virtual environment's."""
    (tmp_path / "bin").mkdir()
    _program(tmp_path / "bin" / "python", '[ "$1" = -c ] || { echo "$@"; exit 4; }')
    wanted = subprocess.run(
        ["sh", "-c", "cat requirements*.txt | cksum"], cwd=ROOT, capture_output=True, check=True
    )
    (tmp_path / "stamp-requirements.txt").write_bytes(wanted.stdout)
    done = _dev("explain", "9b1f6c02", "--json", VENV=str(tmp_path))
    assert (done.returncode, done.stdout) == (4, "cli.py explain 9b1f6c02 --json\n")


def test_an_unknown_command_is_refused_by_name() -> None:
    done = _dev("tset")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "dev: there is no 'tset'"


def test_an_old_python_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    old = _program(tmp_path / "python", '[ "$1" = --version ] || exit 1; echo "Python 3.8.1"')
    done = _dev("up", VENV=str(tmp_path / "venv"), PYTHON=str(old))
    assert done.returncode == 1
    _, line = done.stderr.splitlines()
    assert "Python 3.11 or newer is needed, found Python 3.8.1" in line
    assert "PYTHON=" in line


def test_a_python_without_venv_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    """As Debian ships it when python3-venv is not installed."""
    bare = _program(
        tmp_path / "python",
        f'case "$2" in *ensurepip*) exit 1;; esac; exec {sys.executable} "$@"',
    )
    done = _dev("up", VENV=str(tmp_path / "venv"), PYTHON=str(bare))
    assert done.returncode == 1
    _, line = done.stderr.splitlines()
    assert "no venv module" in line
    assert "apt install python3-venv" in line


def test_no_network_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    """An index that does not answer: nothing listens on the discard port of this machine."""
    done = _dev(
        "up",
        VENV=str(tmp_path / "venv"),
        PYTHON=sys.executable,
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_NO_CACHE_DIR="1",
        PIP_RETRIES="0",
    )
    assert done.returncode == 1
    said, line = done.stderr.splitlines()
    assert "preparing the virtual environment" in said
    assert "the package index does not answer" in line


def test_a_folder_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("dear reader", encoding="utf-8")
    done = _dev("up", VENV=str(tmp_path), PYTHON=sys.executable)
    assert done.returncode == 1
    assert "is a folder of something else" in done.stderr.splitlines()[-1]
    assert (tmp_path / "letter").exists()


def test_an_unknown_benchmark_is_refused_with_the_known_ones() -> None:
    done = _dev("bench", "nothing")
    assert done.returncode == 1
    assert "cycle" in done.stderr
