"""What is wrong with a configuration, one line a fault."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from engine.config_keys import (
    LEAVES,
    SECTIONS,
    Path,
    allowed,
    is_secret,
    keys_beside,
    nearest,
    types_of,
)
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


def one_line(text: str) -> str:
    """The text with line ends and other control characters written out."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


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
    found: dict[tuple[str | int, ...], list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False, include_context=True):
        location = detail["loc"]
        path = location if detail["type"] == "missing" else _within(data, location)
        found.setdefault(path, []).append(detail)
    return [_line(path, details, data, origins) for path, details in found.items()]


def _within(data: Any, location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """The part of a location that the data has: a union adds the types that it tried."""
    for depth, part in enumerate(location):
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return location[:depth]
    return location


def _line(
    path: tuple[str | int, ...],
    details: list[ErrorDetails],
    data: dict[str, Any],
    origins: Origins,
) -> str:
    name, first = named(path, origins), details[0]
    keys = tuple(str(part) for part in path)
    if first["type"] == "missing":
        return f"{name}: missing"
    value = _value_at(data, path)
    if first["type"] == "extra_forbidden":
        near = nearest(keys)
        # What was meant for a secret is one, however its key is spelt.
        was = MASK if near is not None and is_secret(near) else shown(path, value)
        return f"{name}: unknown key (was {was}); {_suggestion(path, near)}"
    reason = " or ".join(_reason(detail) for detail in details)
    if first["type"] == "value_error" and keys not in LEAVES:
        return f"{name}: {reason}"
    words = reason if first["type"] == "value_error" else allowed(keys) or reason
    return f"{name}: was {shown(path, value)}; allowed: {words}"


def _reason(detail: ErrorDetails) -> str:
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    return detail["msg"].removeprefix("Input should be ")


def _value_at(data: Any, path: tuple[str | int, ...]) -> object:
    for part in path:
        data = data[part]
    return data


def _suggestion(path: tuple[str | int, ...], near: Path | None) -> str:
    keys = tuple(str(part) for part in path)
    if near is not None:
        is_beside = near[:-1] == keys[:-1]
        return f"nearest known key: {dotted((*path[:-1], near[-1]) if is_beside else near)}"
    known = keys_beside(keys)
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
