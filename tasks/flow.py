"""How work is sent to the workers: two chords a cycle, of references only."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from celery import chord, signature
from celery.signals import before_task_publish

from engine import failpoints
from engine.domain.cycle import Batch, BatchRef
from tasks.app import settings

SHOWN_LETTERS = 1024


@before_task_publish.connect(sender="cycle.allocate")
@before_task_publish.connect(sender="cycle.finish")
def _before_body(**_: object) -> None:
    failpoints.reach("B8")


def publish_start(key: str) -> None:
    """`cycle.start` for a request that the ledger knows by its key."""
    kind, _, identity = key.partition("|")
    argument = "slot" if kind == "schedule" else "request_id"
    signature("cycle.start", kwargs={argument: identity}).apply_async()


def publish_batches(cycle_id: str, batches: Sequence[Batch]) -> None:
    """Chord 1: the batches, then the barrier. Without batches the barrier at once."""
    body = _body("cycle.allocate", cycle_id)
    header = [
        batch_message(BatchRef(cycle_id=cycle_id, batch=batch.number, symbols=batch.symbols))
        for batch in batches
    ]
    _send(header, body)


def publish_orders(cycle_id: str, client_order_ids: Sequence[str]) -> None:
    """Chord 2: the orders in their rank, a few a task, then the end of the cycle."""
    size = settings.workers.orders_per_task
    header = [
        signature(
            "batch.execute",
            kwargs={
                "cycle_id": cycle_id,
                "client_order_ids": list(client_order_ids[at : at + size]),
            },
            immutable=True,
        )
        for at in range(0, len(client_order_ids), size)
    ]
    _send(header, _body("cycle.finish", cycle_id))


def batch_message(ref: BatchRef) -> signature:
    """One batch, all its steps in one message."""
    arguments = [msgspec.to_builtins(ref)]
    # What Flower shows. Celery would make the same text symbol by symbol, ten times slower.
    shown = repr(arguments)[:SHOWN_LETTERS]
    return signature("batch.run", args=arguments, immutable=True, argsrepr=shown)


def _body(name: str, cycle_id: str) -> signature:
    body = signature(name, kwargs={"cycle_id": cycle_id}, immutable=True)
    body.on_error(signature("cycle.failed", kwargs={"cycle_id": cycle_id}))
    return body


def _send(header: list[signature], body: signature) -> None:
    if header:
        chord(header, body).apply_async()
    else:
        body.apply_async()
