"""Each recipe of docs/extending.md is applied to a scratch copy and passes there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
RECIPE = re.compile(
    r"^## (.+?)\n.*?```diff\n(.*?)```\n\n```sh\npytest (.+?)\n```", re.MULTILINE | re.DOTALL
)
RECIPES = {name: (diff, tests.split()) for name, diff, tests in RECIPE.findall(TEXT)}
WANTED = {
    *("A strategy", "A feed", "A risk rule", "An option", "An endpoint", "A health check"),
    "A pipeline step",
}
LEFT_OUT = shutil.ignore_patterns(
    *(".git", ".venv", "data", "data-*", "__pycache__", ".hypothesis", ".*_cache", "node_modules")
)
TYPED = ("engine", "services", "tasks", "routes", "web")


def test_there_is_a_recipe_for_everything_that_is_asked_for() -> None:
    assert set(RECIPES) == WANTED


def changed(diff: str) -> list[str]:
    """The files that a patch leaves behind."""
    return re.findall(r"^\+\+\+ (\S+)$", diff, re.MULTILINE)


def run(folder: Path, *command: str, given: str | None = None) -> str:
    """What a command says against it; empty when it succeeds."""
    environ = {name: value for name, value in os.environ.items() if "__" not in name}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environ,
        input=given,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_fits_the_code_of_today(name: str) -> None:
    diff, _ = RECIPES[name]
    assert run(ROOT, "git", "apply", "--check", "-p0", "-C1", "-", given=diff) == ""


@pytest.fixture(scope="session")
def type_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What mypy knows, shared by all copies."""
    return tmp_path_factory.mktemp("types")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_applied_to_a_copy_passes(name: str, tmp_path: Path, type_cache: Path) -> None:
    """The patch applies, keeps the style and the types, and the tests that it names pass."""
    diff, tests = RECIPES[name]
    copy = tmp_path / "copy"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    assert run(copy, "git", "apply", "-p0", "-C1", "-", given=diff) == ""
    python = [file for file in changed(diff) if file.endswith(".py")]
    tool = (sys.executable, "-m")
    assert run(copy, *tool, "ruff", "format", "--check", *python) == ""
    assert run(copy, *tool, "ruff", "check", *python) == ""
    typed = [file for file in python if file.partition("/")[0] in TYPED]
    if typed:
        cache = ("--cache-dir", str(type_cache))
        assert run(copy, *tool, "mypy", "--no-error-summary", *cache, *typed) == ""
    assert run(copy, *tool, "pytest", "-p", "no:cacheprovider", "-m", "not slow", *tests) == ""
