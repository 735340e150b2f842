"""Monitoring that may be away: events wait in a bounded file and are delivered later, in order."""

from __future__ import annotations

import fcntl
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import IO

import msgspec

from engine.call_deadline import calls_within
from engine.domain.messages import MonitoringEvent
from engine.errors import ServiceRejected, ServiceUnavailable
from engine.ports import Monitoring
from engine.telemetry import get_logger

log = get_logger(__name__)

PAGE = 500
PATIENCE_S = 2.0
KEEP_ON = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})


class Spool:
    """Events in a file that all processes of a machine share; above `limit` the oldest go.

    The file is locked for moments only, never while a service is called.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._limit = limit

    def add(self, events: Sequence[MonitoringEvent]) -> None:
        """Keep events behind those that wait. Raises OSError."""
        with self._locked() as file:
            kept = _lines(file)
            kept += [msgspec.json.encode(event) + b"\n" for event in events]
            _write(file, kept[-self._limit :])

    def first(self, count: int) -> list[MonitoringEvent]:
        """The oldest events. A line cut short by a crash is passed over. Raises OSError."""
        with self._locked() as file:
            events = filter(None, map(_event, _lines(file)))
            return [event for event, _ in zip(events, range(count), strict=False)]

    def remove(self, events: Collection[MonitoringEvent]) -> None:
        """Forget events that need not wait any more. Raises OSError."""
        gone = {event.event_id for event in events}
        with self._locked() as file:
            kept = [line for line in _lines(file) if _identity(line) not in gone]
            _write(file, kept)

    @contextmanager
    def delivering(self) -> Iterator[bool]:
        """Whether nobody else delivers now: only one does at a time, so that order holds."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".delivery").open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    @contextmanager
    def _locked(self) -> Iterator[IO[bytes]]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file


class SpooledMonitoring:
    """Port Monitoring: what is new joins what waits, and as much is delivered as time allows.

    Events are unique by id at the service, so that a repeat after a crash does no harm. What the
    service refuses for its content is dropped: it would hold up the rest for ever.
    """

    def __init__(
        self, monitoring: Monitoring, spool: Spool, *, patience_s: float = PATIENCE_S
    ) -> None:
        self._monitoring = monitoring
        self._spool = spool
        self._patience_s = patience_s

    def publish(self, events: Sequence[MonitoringEvent]) -> None:
        """Keep and deliver, the waiting ones first; without events, what waits.

        Takes little more than `patience_s`. Raises ServiceError; the events are kept then.
        """
        try:
            if events:
                self._spool.add(events)
            with self._spool.delivering() as is_mine, calls_within(self._patience_s):
                while is_mine and (page := self._spool.first(PAGE)):
                    self._deliver(page)
                    self._spool.remove(page)
        except OSError as error:
            raise ServiceUnavailable("monitoring", f"the spool cannot be used: {error}") from error

    def _deliver(self, page: Sequence[MonitoringEvent]) -> None:
        try:
            self._monitoring.publish(page)
        except ServiceRejected as error:
            if error.status in KEEP_ON:
                raise
            log.warning("events_refused", count=len(page), detail=error.detail)


def _event(line: bytes) -> MonitoringEvent | None:
    try:
        return msgspec.json.decode(line, type=MonitoringEvent)
    except msgspec.MsgspecError:
        return None


def _identity(line: bytes) -> str:
    event = _event(line)
    return "" if event is None else event.event_id


def _lines(file: IO[bytes]) -> list[bytes]:
    file.seek(0)
    return file.readlines()


def _write(file: IO[bytes], lines: Sequence[bytes]) -> None:
    file.seek(0)
    file.truncate()
    file.writelines(lines)
    file.flush()
