"""Where Celery counts the members of a chord."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from celery.backends.redis import RedisBackend

DONE_S = 15
"""How long Redis knows that a chord is done: a message that comes again by then leaves nothing.

A later one leaves what Celery forgets after an hour; each chord's mark costs memory until it goes.
"""


class ChordBackend(RedisBackend):  # type: ignore[misc]
    """Redis, without listening for results: the ledger has them, nobody waits for one here.

    Celery's own subscribes to a channel for each message that a chord is made of, and keeps the
    channel and the result in the sender for good (celery/celery issue 9475): in a worker that
    sends chords for days that is a leak, and two calls of Redis a message.
    """

    def add_pending_result(self, result: Any, *_: Any, **__: Any) -> Any:
        """Do nothing; the result."""
        return result

    def remove_pending_result(self, result: Any) -> Any:
        """Do nothing; the result."""
        return result

    @cached_property
    def _chord_cleanup_script(self) -> Any:
        """Celery's, with a shorter life of the mark that a chord is done: it has 5 minutes."""
        script = super()._chord_cleanup_script

        def clean(keys: list[str], args: list[Any], client: Any) -> Any:
            token, _five_minutes = args
            return script(keys=keys, args=[token, DONE_S], client=client)

        return clean
