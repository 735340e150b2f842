"""The steps of a batch as Flower shows them, although they share one message.

A step looks like a task of its own, a child of the one that took it. The events of a batch leave
together at its end. They are for the eye alone: with Redis away they are dropped.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from celery import Task
from celery.events.event import Event, get_exchange

from engine.telemetry import get_logger

log = get_logger(__name__)


@dataclass
class StepEvents:
    """Events of the steps of one task; none where the workers send none."""

    task: Task
    events: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Received and started now; succeeded, or failed, when the block ends."""
        if self.task.request.called_directly or not self.task.app.conf.worker_send_task_events:
            yield
            return
        identity, began = str(uuid.uuid4()), time.perf_counter()
        self._received(identity, name)
        try:
            yield
        except Exception as error:
            self._add("task-failed", identity, exception=repr(error), traceback="")
            raise
        spent_s = time.perf_counter() - began
        self._add("task-succeeded", identity, result="None", runtime=spent_s)

    def _received(self, identity: str, name: str) -> None:
        request = self.task.request
        self._add(
            "task-received",
            identity,
            name=name,
            args=request.argsrepr,
            kwargs="{}",
            parent_id=request.id,
            root_id=request.root_id,
        )
        self._add("task-started", identity)

    def _add(self, kind: str, identity: str, **fields: Any) -> None:
        fields |= {"uuid": identity, "hostname": self.task.request.hostname}
        fields |= {"clock": self.task.app.clock.forward(), "pid": os.getpid(), "utcoffset": 0}
        self.events.append(Event(kind, **fields))

    def publish(self) -> None:
        """Send what was kept, in one message. Raises nothing."""
        if not self.events:
            return
        app = self.task.app
        try:
            with app.amqp.producer_pool.acquire(block=True, timeout=1) as producer:
                exchange = get_exchange(producer.connection, name=app.conf.event_exchange)
                producer.publish(
                    self.events,
                    routing_key="task.multi",
                    exchange=exchange.name,
                    declare=[exchange],
                    serializer=app.conf.event_serializer,
                    headers={"hostname": self.task.request.hostname},
                    delivery_mode="transient",
                    retry=False,
                )
        except Exception as error:  # noqa: BLE001 - whatever is wrong, the batch is not
            log.debug("step_events_dropped", detail=str(error))


@contextmanager
def telling(task: Task) -> Iterator[StepEvents]:
    """Tells of the steps of `task` when the block ends."""
    told = StepEvents(task)
    try:
        yield told
    finally:
        told.publish()
