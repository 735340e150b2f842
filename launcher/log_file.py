"""A part's log: rotated by size, and read along for what the operator must see."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import BinaryIO

MAX_BYTES = 20_000_000
KEPT = 3
LINE_BYTES = 2_000
LOUD = ("warning", "error", "critical", "fatal")
LOUD_WORD = re.compile(r"(?:^|[\s\[(])(?:WARNING|ERROR|CRITICAL|FATAL)(?:[\s:/\])]|$)")
HIDDEN_FIELDS = frozenset({"level", "event", "at", "logger", "component", "exception"})
TRACE = "Traceback (most recent call last):"


def rotate(path: Path, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> None:
    """Moves a log above `max_bytes` to `.1`, the older ones up by one, the oldest away."""
    if not path.exists() or path.stat().st_size <= max_bytes:
        return
    _make_room(path, kept)
    path.replace(path.with_name(f"{path.name}.1"))


def rotate_open(path: Path, read_to: int, kept: int = KEPT) -> bool:
    """The same for a log that is being appended to: copied, then emptied in place.

    Only while nothing was appended after `read_to`, so that no line is lost unseen; False then.
    """
    if path.stat().st_size != read_to:
        return False
    _make_room(path, kept)
    newest = path.with_name(f"{path.name}.1")
    shutil.copy2(path, newest)
    if path.stat().st_size != read_to:
        newest.unlink()
        return False
    os.truncate(path, 0)
    return True


def _make_room(path: Path, kept: int) -> None:
    for number in range(kept, 1, -1):
        older = path.with_name(f"{path.name}.{number - 1}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number}"))


def open_log(path: Path) -> BinaryIO:
    """The log for appending, readable by its owner only."""
    path.touch(mode=0o600)
    return path.open("ab", buffering=0)


class LogTail:
    """Reads what was appended to a log since it was made, whole lines at a time.

    A log that grew beyond `max_bytes` is rotated once it has been read.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._offset = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def lines(self) -> list[str]:
        """The lines that became whole since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as stream:
            stream.seek(self._offset)
            data = stream.read(MAX_BYTES)
        self._offset += len(data)
        if self._offset > self._max_bytes and rotate_open(self._path, self._offset):
            self._offset = 0
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [line[:LINE_BYTES].decode("utf-8", "replace").rstrip() for line in whole]


class Sieve:
    """Lets warnings and errors through, each as one line; of a traceback, its last line."""

    def __init__(self) -> None:
        self._in_trace = False

    def loud(self, line: str) -> str | None:
        """What to show of `line`, or None."""
        if line == TRACE:
            self._in_trace = True
            return None
        if self._in_trace:
            if not line or line.startswith((" ", "\t")):
                return None
            self._in_trace = False
            return line
        if line.startswith("{"):
            return _loud_event(line)
        return line if LOUD_WORD.search(line) else None


def _loud_event(line: str) -> str | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    level = str(event.get("level", "")).lower()
    if level not in LOUD:
        return None
    fields = " ".join(f"{key}={event[key]}" for key in event if key not in HIDDEN_FIELDS)
    cause = str(event.get("exception", "")).strip().rsplit("\n", 1)[-1]
    return " ".join(
        part for part in (level.upper(), str(event.get("event")), fields, cause) if part
    )
