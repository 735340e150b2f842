"""docs/logging.md and the code name the same events, levels and fields."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ("engine", "tasks", "web", "services", "launcher", "routes")
LEVELS = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
}
ROW = re.compile(r"\| `(\w+)` \| ([a-z, ]+) \| ?([a-z_, ]*) ?\|")
EVENT = re.compile(r"[a-z]+(_[a-z]+)*")


@dataclass
class Event:
    """What is said of one event, over all places."""

    levels: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)


def words(text: str) -> set[str]:
    return {word.strip() for word in text.split(",") if word.strip()}


def documented() -> dict[str, Event]:
    text = (ROOT / "docs" / "logging.md").read_text(encoding="utf-8")
    rows = (match.groups() for match in map(ROW.fullmatch, text.splitlines()) if match)
    return {
        name: Event(words(levels), words(fields))
        for name, levels, fields in rows
        if words(levels) <= set(LEVELS)
    }


def calls() -> Iterator[ast.Call]:
    files = [
        *ROOT.glob("*.py"),
        *(file for name in SOURCES for file in ROOT.glob(f"{name}/**/*.py")),
    ]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                yield node


def logged() -> dict[str, Event]:
    found: dict[str, Event] = {}
    for call in calls():
        assert isinstance(call.func, ast.Attribute)
        is_log = ast.unparse(call.func.value).rpartition(".")[2] in {"log", "_log"}
        if call.func.attr not in LEVELS or not is_log:
            continue
        name = call.args[0]
        assert isinstance(name, ast.Constant), ast.unparse(call)
        assert EVENT.fullmatch(name.value), name.value
        event = found.setdefault(name.value, Event())
        event.levels.add(LEVELS[call.func.attr])
        event.fields |= {each.arg for each in call.keywords if each.arg} - {"exc_info"}
    return found


def test_every_event_of_the_code_is_documented_and_no_other() -> None:
    assert set(documented()) == set(logged())


def test_levels_and_fields_are_those_of_the_code() -> None:
    told = documented()
    differing = {
        name: (event.levels ^ told[name].levels, event.fields ^ told[name].fields)
        for name, event in logged().items()
        if name in told and event != told[name]
    }
    assert differing == {}


def test_no_field_is_called_key_because_its_value_would_be_masked() -> None:
    assert [name for name, event in logged().items() if "key" in event.fields] == []
