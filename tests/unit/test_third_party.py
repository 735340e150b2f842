"""THIRD_PARTY.md names every direct dependency in the version that is pinned."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==(\S+)", re.MULTILINE)
ROW = re.compile(r"^\| ([A-Za-z0-9_.-]+)(?: \([^|]*\))? \| (\S+) \| \S[^|]* \|$", re.MULTILINE)


@pytest.mark.parametrize("name", sorted(path.name for path in ROOT.glob("requirements*.txt")))
def test_every_pinned_package_is_listed_with_its_version(name: str) -> None:
    listed = set(ROW.findall((ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")))
    pinned = set(PIN.findall((ROOT / name).read_text(encoding="utf-8")))
    assert pinned - listed == set()


def test_nothing_is_listed_that_is_not_pinned() -> None:
    texts = [path.read_text(encoding="utf-8") for path in ROOT.glob("requirements*.txt")]
    pinned = {pin for text in texts for pin in PIN.findall(text)}
    listed = set(ROW.findall((ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")))
    assert listed - pinned == {("package", "version")}
