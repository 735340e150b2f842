"""Monitoring that may be away: events wait in a bounded file and are delivered later, in order."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from engine.domain.messages import MonitoringEvent
from engine.errors import ServiceError
from engine.ports import Monitoring

PAGE = 500


class SpooledMonitoring:
    """Publishes what waits and what is new; keeps both when nobody takes them.

    The file is shared by all processes of a machine under a lock. Above `limit` events the
    oldest go. Events are unique by id at the service, so that a repeat does no harm.
    """

    def __init__(self, monitoring: Monitoring, path: Path, limit: int) -> None:
        self._monitoring = monitoring
        self._path = path
        self._limit = limit

    def publish(self, events: Sequence[MonitoringEvent]) -> None:
        """Deliver, the waiting ones first. Raises ServiceError after keeping the events."""
        with self._locked() as file:
            waiting = [*_read(file), *events][-self._limit :]
            delivered = 0
            try:
                for start in range(0, len(waiting), PAGE):
                    self._monitoring.publish(waiting[start : start + PAGE])
                    delivered = start + PAGE
            except ServiceError:
                _write(file, waiting[delivered:])
                raise
            _write(file, [])

    @contextmanager
    def _locked(self) -> Iterator[IO[bytes]]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file


def _read(file: IO[bytes]) -> list[MonitoringEvent]:
    """Events of the file; a line cut short by a crash is passed over."""
    file.seek(0)
    events = []
    for line in file:
        try:
            events.append(msgspec.json.decode(line, type=MonitoringEvent))
        except msgspec.MsgspecError:
            continue
    return events


def _write(file: IO[bytes], events: Sequence[MonitoringEvent]) -> None:
    file.seek(0)
    file.truncate()
    file.writelines(msgspec.json.encode(event) + b"\n" for event in events)
    file.flush()
