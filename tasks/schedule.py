"""The beat entry that starts cycles, and the slot that each of its messages carries."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from celery import Task, schedules
from celery.signals import before_task_publish
from redbeat import RedBeatSchedulerEntry
from redis.exceptions import RedisError

from engine.control.lifecycle import slot
from engine.errors import ServiceUnavailable
from tasks.app import app, settings

ENTRY = "trading-cycle"
SLOT_HEADER = "cycle_slot"


@before_task_publish.connect(sender="cycle.start")
def _stamp_slot(headers: dict[str, Any] | None = None, **_: Any) -> None:
    """The slot is fixed when the message is made, so that a redelivery finds its own cycle."""
    if headers is not None:
        interval = settings.trading_engine.cycle_interval
        headers.setdefault(SLOT_HEADER, slot(datetime.now(UTC), interval))


def slot_of(task: Task, now: datetime) -> str:
    """The slot in the message's header; the current one for a message made by hand."""
    stamped = getattr(task.request, SLOT_HEADER, None)
    if isinstance(stamped, str):
        return stamped
    return slot(now, settings.trading_engine.cycle_interval)


class RedBeatSchedule:
    """The schedule that beat reads, kept in Redis; the ledger knows whether it is wanted."""

    def save(self, interval_s: float) -> None:
        """Write the entry; its first run comes one interval later."""
        entry = RedBeatSchedulerEntry(
            ENTRY,
            "cycle.start",
            schedules.schedule(run_every=interval_s),
            app=app,
            options={"queue": "cycle", "expires": interval_s},
        )
        try:
            entry.save()
        except RedisError as error:
            raise ServiceUnavailable("redis", str(error)) from error

    def remove(self) -> None:
        """Delete the entry; no-op when there is none."""
        try:
            self._entry().delete()
        except KeyError:
            return
        except RedisError as error:
            raise ServiceUnavailable("redis", str(error)) from error

    def next_run_at(self) -> datetime | None:
        """When beat will send the next cycle, or None without an entry.

        RedBeat's own `due_at` counts the time since the last run twice once some has passed.
        """
        try:
            entry = self._entry()
        except KeyError:
            return None
        except RedisError as error:
            raise ServiceUnavailable("redis", str(error)) from error
        if entry.last_run_at is None:
            return datetime.now(UTC)
        due_at: datetime = entry.last_run_at + entry.schedule.run_every
        return due_at.astimezone(UTC)

    def _entry(self) -> RedBeatSchedulerEntry:
        key = f"{app.conf.redbeat_key_prefix}{ENTRY}"
        return RedBeatSchedulerEntry.from_key(key, app=app)
