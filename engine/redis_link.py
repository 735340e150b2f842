"""Redis as something that may be away: every use is bounded in time, and a failure is an answer.

Breakers, rate limits, caches and vitals all speak to Redis through one link a process, so that
an outage costs each process one timeout a second and not one timeout a call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import redis
from redis.commands.core import Script

T = TypeVar("T")


class RedisAway(Exception):
    """Redis did not serve this operation; the caller goes on without it."""


class RedisLink:
    """A Redis client that is left alone for `pause_s` after it failed to answer."""

    def __init__(
        self,
        client: redis.Redis,
        *,
        pause_s: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._pause_s = pause_s
        self._monotonic = monotonic
        self._away_until = float("-inf")
        self._failed = False
        self._scripts: dict[str, Script] = {}

    @property
    def available(self) -> bool:
        """Whether the last operation was served."""
        return not self._failed

    def run(self, operation: Callable[[redis.Redis], T], *, always: bool = False) -> T:
        """The operation's result. Raises RedisAway; at once while Redis is being left alone.

        `always` asks Redis even then: for the one that reports whether it is back.
        """
        if not always and self._monotonic() < self._away_until:
            raise RedisAway("redis did not answer a moment ago")
        try:
            result = operation(self._client)
        except (redis.ConnectionError, redis.TimeoutError, OSError) as exc:
            self._failed = True
            self._away_until = self._monotonic() + self._pause_s
            raise RedisAway(str(exc)) from exc
        except redis.RedisError as exc:
            self._failed = True
            raise RedisAway(str(exc)) from exc
        self._failed = False
        self._away_until = float("-inf")
        return result

    def script(self, text: str, keys: Sequence[str], arguments: Sequence[str]) -> Any:
        """What a Lua script answers, sent as its digest. Raises RedisAway."""
        script = self._scripts.get(text)
        if script is None:
            script = self._scripts[text] = self._client.register_script(text)
        return self.run(lambda _client: script(keys=list(keys), args=list(arguments)))
