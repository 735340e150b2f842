"""What is wrong with a configuration, one line a fault."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from engine.config_keys import LEAVES, SECTIONS, Path, allowed, is_secret, nearest, types_of
from engine.telemetry import MASK, is_secret_name, redact

Origins = Mapping[Path, str]
"""The environment variable that a key's value came from."""

_SHOWN_CHARACTERS = 80


def dotted(path: tuple[str | int, ...]) -> str:
    """`("a", 0, "b")` -> `a[0].b`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def named(path: tuple[str | int, ...], origins: Origins) -> str:
    """A key's full path, and the environment variable that set it, if one did."""
    for length in range(len(path), 0, -1):
        origin = origins.get(tuple(str(part) for part in path[:length]))
        if origin:
            return f"{dotted(path)} (from {origin})"
    return dotted(path)


def shown(path: tuple[str | int, ...], value: object) -> str:
    """A value as it may be shown: short, on one line, no secret."""
    keys = tuple(str(part) for part in path)
    if is_secret(keys) or (keys and is_secret_name(keys[-1])):
        return MASK
    text = json.dumps(redact(value), default=str, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."


def fault_lines(error: ValidationError, data: dict[str, Any], origins: Origins) -> list[str]:
    """The models' errors, each key once."""
    lines: dict[tuple[str | int, ...], str] = {}
    for detail in error.errors(include_url=False, include_context=True):
        kind = detail["type"]
        path = detail["loc"] if kind == "missing" else _within(data, detail["loc"])
        lines.setdefault(path, _line(kind, path, detail, origins))
    return list(lines.values())


def _within(data: Any, location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """The part of a location that the data has: a union adds the types that it tried."""
    for depth, part in enumerate(location):
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return location[:depth]
    return location


def _line(kind: str, path: tuple[str | int, ...], detail: Any, origins: Origins) -> str:
    name, value = named(path, origins), shown(path, detail["input"])
    if kind == "extra_forbidden":
        return f"{name}: unknown key (was {value}); {_suggestion(path)}"
    keys = tuple(str(part) for part in path)
    if kind == "missing":
        return f"{name}: missing"
    if kind == "value_error":
        reason = str(detail["ctx"]["error"])
        is_leaf = keys in LEAVES
        return f"{name}: was {value}; allowed: {reason}" if is_leaf else f"{name}: {reason}"
    words = allowed(keys) or str(detail["msg"]).removeprefix("Input should be ")
    return f"{name}: was {value}; allowed: {words}"


def _suggestion(path: tuple[str | int, ...]) -> str:
    keys = tuple(str(part) for part in path)
    near = nearest(keys)
    if near is not None:
        return f"nearest known key: {dotted(near)}"
    known = SECTIONS.get(keys[:-1], ())
    return f"known keys here: {' '.join(known)}" if known else "no such key is known"


def boolean_faults(data: dict[str, Any], origins: Origins) -> list[str]:
    """`batch_size: true` is no number, though Python takes it for 1."""
    return [
        f"{named(path, origins)}: was {shown(path, value)}; allowed: {allowed(path)}"
        for path, value in _values(data, ())
        if isinstance(value, bool) and bool not in types_of(LEAVES[path].annotation)
    ]


def _values(data: dict[str, Any], above: Path) -> Iterator[tuple[Path, object]]:
    for name, value in data.items():
        path = (*above, str(name))
        if path in LEAVES:
            yield path, value
        elif isinstance(value, dict) and path in SECTIONS:
            yield from _values(value, path)
