"""How Celery talks to Redis as its broker."""

from __future__ import annotations

from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis


class Channel(redis.Channel):
    """Kombu's, which keeps one client for its commands.

    Kombu makes one for each command, and each fills a table of 170 answers' readers first: a tenth
    of a millisecond, three times a message.
    """

    _commands: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002  Kombu's own
        """A client over this channel's connections; a new one where those are new."""
        if asynchronous:  # these are listened to, and each has one connection for itself
            return super()._create_client(asynchronous=True)  # type: ignore[no-untyped-call]
        pool = self.pool
        known = self._commands
        if known is None or known.connection_pool is not pool:
            known = self._commands = super()._create_client()  # type: ignore[no-untyped-call]
        return known


class Transport(redis.Transport):
    """Redis by channels of this kind."""

    Channel = Channel


def use_it() -> None:
    """Let every address of Redis mean this transport, in this process."""
    here = f"{Transport.__module__}:{Transport.__name__}"
    TRANSPORT_ALIASES.update(redis=here, rediss=here)
