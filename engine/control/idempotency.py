"""A repeated Idempotency-Key gets the first answer again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from engine.control.desk import Desk
from engine.errors import LedgerUnavailable
from engine.telemetry import get_logger

log = get_logger(__name__)

FIRST_ERROR = 400


class KeyReused(Exception):
    """The key came before with another body."""


@dataclass(frozen=True)
class Reply:
    """An answer as bytes; `replayed` when it is the stored first one."""

    status: int
    body: bytes
    replayed: bool = False


def once(desk: Desk, key: tuple[str, str, str], body: bytes, produce: Callable[[], Reply]) -> Reply:
    """Produce the answer to (caller, route, Idempotency-Key), or give the stored one again.

    Only successes are kept: a refusal changed nothing, and its repeat may succeed. Raises
    KeyReused.
    """
    name = hashlib.sha256("\n".join(key).encode()).hexdigest()
    digest = hashlib.sha256(body).hexdigest()
    stored = desk.queries.idempotent(name, digest, desk.engine.clock.now())
    if stored is not None:
        if stored.mismatch:
            raise KeyReused
        return Reply(stored.status, stored.body.encode(), replayed=True)
    reply = produce()
    if reply.status < FIRST_ERROR:
        try:
            desk.queries.store_idempotent(
                name, digest, reply.status, reply.body.decode(), desk.engine.clock.now()
            )
        except LedgerUnavailable as error:
            log.warning("answer_not_kept", detail=str(error))
    return reply
