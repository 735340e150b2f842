"""Celery without Celery: messages that are lost, late and repeated, and the tasks that they start.

The tasks themselves are the product's own; only the publishing and the heartbeats are stood in
for. A chord counts its parts, repeated ones too, as the Redis backend does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from engine.domain.cycle import Batch, BatchRef, CycleRequest
from engine.errors import ServiceUnavailable, TradingError
from engine.vitals import WorkerVitals
from tasks import batch as batch_tasks
from tasks import cycle as cycle_tasks
from tests.faults.simulation.ports import Gate
from tests.faults.simulation.scheduler import Killed, Process

MOST_COPIES = 5
VISIBILITY_S = 75.0
RESTART_S = (0.5, 8.0)
NODES = ("node-1", "node-2", "node-3")
UPKEEP = "upkeep"
API = "api"


@dataclass
class Message:
    """A task's name and arguments; `chord` is what counts its end."""

    name: str
    arguments: dict[str, Any]
    chord: Chord | None = None
    deliveries: int = 0


@dataclass
class Chord:
    """Parts still to come, and what follows them."""

    waiting: int
    body: Message
    is_broken: bool = False


@dataclass
class Node:
    """A worker node; a restart gives it another identity."""

    name: str
    starts: int = 1
    is_up: bool = True
    restarts: list[Callable[[], None]] = field(default_factory=list)

    @property
    def identity(self) -> str:
        """Of this start alone."""
        return f"{self.name}.{self.starts}"


class Fleet:
    """Queues, workers and chords of one run."""

    def __init__(
        self,
        gate: Gate,
        start: Callable[[str, str, Callable[[], object], Callable[..., None]], Process],
        failed: Callable[[Process, BaseException], None],
        now: Callable[[], datetime],
    ) -> None:
        self._gate, self._start, self._failed, self._now = gate, start, failed, now
        self.nodes = {name: Node(name) for name in (*NODES, UPKEEP, API)}
        self.in_queue: dict[str, int] = {"cycle": 0, "batch": 0}
        self.redis_up = True
        self.epoch = 0  # of Redis: what it lost is of an older one
        self.stopping = False

    # -- what tasks publish -------------------------------------------------------------------

    def publish_start(self, key: str) -> None:
        """`cycle.start` for a request that the ledger knows by its key."""
        kind, _, identity = key.partition("|")
        argument = "slot" if kind == "schedule" else "request_id"
        self.send(Message("start", {argument: identity}))

    def start_cycle(self, request: CycleRequest) -> None:
        """The API's dispatcher."""
        if not self.redis_up:
            raise ServiceUnavailable("redis", "connection refused")
        self.publish_start(request.key)

    def publish_batches(self, cycle_id: str, batches: Sequence[Batch]) -> None:
        """Chord 1."""
        refs = [
            BatchRef(cycle_id=cycle_id, batch=batch.number, symbols=batch.symbols)
            for batch in batches
        ]
        self._send_chord([self._batch(ref) for ref in refs], "allocate", cycle_id)

    def publish_orders(self, cycle_id: str, client_order_ids: Sequence[str]) -> None:
        """Chord 2."""
        parts = [
            Message("execute", {"cycle_id": cycle_id, "client_order_ids": list(part)})
            for part in (client_order_ids[at : at + 2] for at in range(0, len(client_order_ids), 2))
        ]
        self._send_chord(parts, "finish", cycle_id)

    def batch_message(self, ref: BatchRef) -> Repeat:
        """A batch that the watchdog sends again: without a chord."""
        return Repeat(self, self._batch(ref))

    def _batch(self, ref: BatchRef) -> Message:
        return Message("batch", {"reference": msgspec.to_builtins(ref)})

    def _send_chord(self, parts: list[Message], body: str, cycle_id: str) -> None:
        last = Message(body, {"cycle_id": cycle_id})
        if not parts:
            self.send(last)
            return
        chord = Chord(len(parts), last)
        for part in parts:
            part.chord = chord
            self.send(part)

    # -- delivery -------------------------------------------------------------------------------

    def send(self, message: Message, delay_s: float = 0.01) -> None:
        """Into the queue, and sometimes out of it more than once or never."""
        if not self.redis_up:
            raise ServiceUnavailable("redis", "connection refused")
        faults = self._gate.faults
        if faults.has("lost_message"):
            self._gate.note(f"message {message.name} is lost")
            self._gate.seen[f"lost the message {message.name}"] += 1
            return
        if faults.has("late_message"):
            delay_s += faults.between(0.5, 90.0)
        self._deliver(message, delay_s)
        if faults.has("duplicate"):
            for _ in range(faults.dice.randint(1, MOST_COPIES - 1)):
                self._deliver(message, delay_s + faults.between(0.001, 60.0) - 0.001)

    def _deliver(self, message: Message, delay_s: float) -> None:
        queue = "batch" if message.name == "batch" else "cycle"
        is_counted = message.name in {"batch", "start"}
        self.in_queue[queue] += is_counted
        epoch = self.epoch

        def arrive() -> None:
            self.in_queue[queue] -= is_counted
            if epoch != self.epoch or self.stopping:
                return
            node = self._a_node()
            if node is None:
                self._deliver(message, 1.0)
                return
            message.deliveries += 1
            name = f"{message.name}-{message.deliveries}"
            self._start(name, node.name, lambda: self._run(message), self._ended(message))

        self._gate.scheduler.at(delay_s, arrive)

    def _a_node(self) -> Node | None:
        up = [self.nodes[name] for name in NODES if self.nodes[name].is_up]
        return self._gate.scheduler.random.choice(up) if up else None

    def _run(self, message: Message) -> None:
        """The product's task, and what Celery does with its result."""
        arguments = message.arguments
        match message.name:
            case "start":
                cycle_tasks.start(**arguments)
            case "allocate":
                cycle_tasks.allocate_budget(**arguments)
            case "finish":
                cycle_tasks.finish_cycle(**arguments)
            case "execute":
                batch_tasks.execute_orders(**arguments)
            case "batch":
                batch_tasks.run_batch(**arguments)
        self._gate.danger("at the end of", message.name)

    def _ended(self, message: Message) -> Callable[..., None]:
        epoch = self.epoch

        def ended(process: Process, error: BaseException | None) -> None:
            if self.stopping or epoch != self.epoch:
                return
            if isinstance(error, Killed) or process.killed:
                delay_s = 2.0 if self.nodes[process.node].is_up else VISIBILITY_S
                self._deliver(message, delay_s)
                return
            if error is not None:
                if message.chord is not None:
                    message.chord.is_broken = True
                if not isinstance(error, TradingError):
                    self._failed(process, error)
                return
            self._acknowledge(message)

        return ended

    def _acknowledge(self, message: Message) -> None:
        if not self.redis_up:
            return
        chord = message.chord
        if chord is None:
            return
        chord.waiting -= 1
        if chord.waiting == 0 and not chord.is_broken:
            if self._gate.faults.has("lost_message"):
                self._gate.note(f"the body {chord.body.name} of a chord is lost")
                self._gate.seen[f"lost the chord's body {chord.body.name}"] += 1
                return
            self.send(chord.body)

    # -- nodes and Redis ------------------------------------------------------------------------

    def lose_redis(self) -> None:
        """Away, with every message."""
        self.redis_up = False
        self.epoch += 1
        self.in_queue = dict.fromkeys(self.in_queue, 0)

    def workers(self) -> tuple[WorkerVitals, ...]:
        """Heartbeats: every node that is up."""
        return tuple(
            WorkerVitals(
                name=node.name,
                identity=node.identity,
                queues=(),
                processes=(),
                last_seen_at=self._now(),
                active=0,
                cpu_percent=0.0,
                memory_mb=0.0,
            )
            for node in self.nodes.values()
            if node.is_up
        )

    @property
    def available(self) -> bool:
        """Whether Redis answers."""
        return self.redis_up

    def queue_depths(self, names: Sequence[str]) -> dict[str, int]:
        """Messages that wait."""
        return {name: self.in_queue.get(name, 0) for name in names}


@dataclass
class Repeat:
    """What `batch_message` gives: something to send."""

    fleet: Fleet
    message: Message

    def apply_async(self) -> None:
        """Send it."""
        self.fleet.send(self.message)
