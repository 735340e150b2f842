"""What changed, as small messages for streams: the lists themselves are read as ever.

One thread looks at the ledger while anybody listens. A message has an id of this process and a
count; who names an id that is not among the kept ones is told to read everything afresh.
"""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from engine.domain.operator_views import Marks
from engine.errors import TradingError
from engine.telemetry import get_logger

log = get_logger(__name__)

LOOK_S = 0.5
BEAT_S = 5.0
KEPT = 500


@dataclass(frozen=True)
class Message:
    """One event of the stream."""

    number: int
    kind: str


class EventFeed:
    """Looks for changes every `look_s` seconds while anybody listens."""

    def __init__(self, marks: Callable[[], Marks], look_s: float = LOOK_S) -> None:
        self._marks = marks
        self._look_s = look_s
        self._boot = uuid.uuid4().hex[:12]
        self._changed = threading.Condition()
        self._kept: deque[Message] = deque(maxlen=KEPT)
        self._number = 0
        self._listeners = 0
        self._closed = False
        self._seen: Marks | None = None
        self._looking: threading.Thread | None = None

    def close(self) -> None:
        """End every stream."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Count a listener; the first one starts the looks."""
        with self._changed:
            self._listeners += 1
            if self._looking is None and not self._closed:
                # What changed while nobody listened is not known: older ids lead to a resync.
                self._boot, self._number, self._seen = uuid.uuid4().hex[:12], 0, None
                self._kept.clear()
                self._looking = threading.Thread(target=self._look, name="events", daemon=True)
                self._looking.start()
        try:
            yield
        finally:
            with self._changed:
                self._listeners -= 1
                self._changed.notify_all()

    def stream(self, last_event_id: str, beat_s: float = BEAT_S) -> Iterator[bytes]:
        """Events from now on, or from after `last_event_id`; a beat at once and every `beat_s`."""
        with self.listening():
            number = self._place(last_event_id)
            if number is None:
                number = self._number
                yield self._event(number, "resync")
            yield self._event(number, "beat")
            while not self._closed:
                fresh = self._after(number, beat_s)
                for message in fresh:
                    number = message.number
                    yield self._event(number, message.kind)
                if not fresh and not self._closed:
                    yield self._event(number, "beat")

    def _place(self, last_event_id: str) -> int | None:
        """The count to go on from; None when something in between may be lost."""
        if not last_event_id:
            return self._number
        boot, _, count = last_event_id.partition("-")
        if boot != self._boot or not count.isascii() or not count.isdigit():
            return None
        number = int(count)
        with self._changed:
            oldest = self._number - len(self._kept)
        return number if oldest <= number <= self._number else None

    def _after(self, number: int, wait_s: float) -> list[Message]:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._number > number, wait_s)
            return [message for message in self._kept if message.number > number]

    def _event(self, number: int, kind: str) -> bytes:
        data = msgspec.json.encode({"kind": kind}).decode()
        return f"id: {self._boot}-{number}\nevent: {kind}\ndata: {data}\n\n".encode()

    def _look(self) -> None:
        while True:
            try:
                self._compare(self._marks())
            except TradingError as error:
                log.debug("changes_not_seen", detail=str(error))
            with self._changed:
                self._changed.wait_for(lambda: self._closed or not self._listeners, self._look_s)
                if self._closed or not self._listeners:
                    self._looking = None
                    return

    def _compare(self, marks: Marks) -> None:
        before, self._seen = self._seen, marks
        if before is None:
            return
        changed = [
            name
            for name in Marks.__struct_fields__
            if getattr(before, name) != getattr(marks, name)
        ]
        if not changed:
            return
        with self._changed:
            for kind in changed:
                self._number += 1
                self._kept.append(Message(self._number, kind))
            self._changed.notify_all()
