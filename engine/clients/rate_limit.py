"""At most so many calls of a service in any window, over all processes together.

A moving-window log in Redis: a permit is granted when fewer than the limit were granted within
the last 1.25 windows by Redis's own clock. A permit is void 0.2 s after it was asked for, so what
the server counts in any one window never exceeds the limit: permits that are more than 1.25
windows apart arrive more than 1.05 apart. A fifth is kept for priority calls. The stock script of
`limits` counts by each client's own clock, in whole seconds and without a reserve; hence this one.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import random

import limits

from engine.errors import ServiceUnavailable
from engine.redis_link import RedisAway, RedisLink

WINDOW_MARGIN = 1.25
PERMIT_LIFE_S = 0.2
RESERVED_SHARE = 0.2
SMALLEST_WAIT_S = 0.005

_ACQUIRE = """
local paused = redis.call('PTTL', KEYS[3])
if paused > 0 then return paused end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000
local window = tonumber(ARGV[1])
local function left(key, limit)
  local oldest = redis.call('LINDEX', key, limit - 1)
  return oldest and (tonumber(oldest) + window - now) or 0
end
local wait = left(KEYS[1], tonumber(ARGV[2]))
if ARGV[4] == '0' then wait = math.max(wait, left(KEYS[2], tonumber(ARGV[3]))) end
if wait > 0 then return math.ceil(wait) end
local function grant(key, limit)
  redis.call('LPUSH', key, string.format('%.0f', math.ceil(now)))  -- Redis packs whole numbers
  redis.call('LTRIM', key, 0, limit - 1)
  redis.call('PEXPIRE', key, math.ceil(window))
end
grant(KEYS[1], tonumber(ARGV[2]))
if ARGV[4] == '0' then grant(KEYS[2], tonumber(ARGV[3])) end
return 0
"""

_PAUSE = """
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
end
return 1
"""


class RateLimited(ServiceUnavailable):
    """No permit, or no time, before the deadline: the service was not asked."""

    def __init__(self, service: str, detail: str = "rate limit: no permit in time") -> None:
        super().__init__(service, detail, accepted=False)


@dataclass(frozen=True)
class Rate:
    """`amount` calls a `period_s`, of which `ordinary` are open to calls without priority."""

    amount: int
    ordinary: int
    period_s: float

    @classmethod
    def of(cls, amount: int, period_s: float) -> Rate:
        """With a fifth (at least one, where there are two or more) kept for priority calls."""
        reserved = min(math.ceil(amount * RESERVED_SHARE), amount - 1)
        return cls(amount, amount - reserved, period_s)

    @classmethod
    def parse(cls, text: str) -> Rate:
        """From `500/second`. Raises ValueError."""
        item = limits.parse(text)
        return cls.of(item.amount, float(item.get_expiry()))

    def share(self, processes: int) -> Rate:
        """One process's part: never less than one call, in a window that is longer instead."""
        amount = max(self.amount // processes, 1)
        return self.of(amount, self.period_s * max(amount * processes / self.amount, 1.0))


class _LocalWindow:
    """The same moving window for one process alone."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._window_s = rate.period_s * WINDOW_MARGIN
        self._all: deque[float] = deque(maxlen=rate.amount)
        self._ordinary: deque[float] = deque(maxlen=rate.ordinary)

    def wait_s(self, now: float, *, priority: bool) -> float:
        """Seconds until a call may be granted; 0 when it may be now."""
        logs = (self._all,) if priority else (self._all, self._ordinary)
        waits = [log[0] + self._window_s - now for log in logs if len(log) == log.maxlen]
        return max(0.0, *waits) if waits else 0.0

    def grant(self, now: float, *, priority: bool) -> None:
        """Note a granted call."""
        self._all.append(now)
        if not priority:
            self._ordinary.append(now)


class RateLimiter:
    """Permits to call one service. Thread-safe; one a process and service."""

    def __init__(
        self,
        service: str,
        rule: str,
        link: RedisLink,
        *,
        processes: int = 1,
        namespace: str = "trading",
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random,
    ) -> None:
        self._service = service
        self._rate = Rate.parse(rule)
        self._link = link
        self._local = _LocalWindow(self._rate.share(max(processes, 1)))
        prefix = f"{namespace}:rate:{{{service}}}"
        self._keys = [f"{prefix}:all", f"{prefix}:ordinary", f"{prefix}:pause"]
        self._monotonic = monotonic
        self._sleep = sleep
        self._jitter = jitter
        self._paused_until = float("-inf")
        self._lock = threading.Lock()

    def acquire(self, ends_at: float, *, priority: bool = False) -> float:
        """Wait for a permit; the monotonic instant until which the request must leave.

        Raises RateLimited at once when none can be had before `ends_at`.
        """
        while True:
            asked_at = self._monotonic()
            wait = self._try(asked_at, priority=priority)
            if wait <= 0:
                return asked_at + PERMIT_LIFE_S
            # Spread out: all that wait here would otherwise come back at the same instant.
            wait = max(wait, SMALLEST_WAIT_S) * (1 + 0.2 * self._jitter())
            if self._monotonic() + wait > ends_at:
                raise RateLimited(self._service)
            self._sleep(wait)

    def slow_down(self, seconds: float) -> None:
        """Let no process call for so long: what the service asked for."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._monotonic() + seconds)
        milliseconds = max(math.ceil(seconds * 1000), 1)
        try:
            self._link.script(_PAUSE, [self._keys[2]], [str(milliseconds)])
        except RedisAway:
            return

    def _try(self, now: float, *, priority: bool) -> float:
        if now < self._paused_until:
            return self._paused_until - now
        try:
            wait = self._shared(priority=priority)
        except RedisAway:
            with self._lock:
                wait = self._local.wait_s(now, priority=priority)
                if wait <= 0:
                    self._local.grant(now, priority=priority)
            return wait
        if wait <= 0:
            # Known here too, so that losing Redis in mid-window grants nothing twice.
            with self._lock:
                self._local.grant(now, priority=priority)
        return wait

    def _shared(self, *, priority: bool) -> float:
        arguments = (
            str(self._rate.period_s * WINDOW_MARGIN * 1000),
            str(self._rate.amount),
            str(self._rate.ordinary),
            "1" if priority else "0",
        )
        return float(self._link.script(_ACQUIRE, self._keys, arguments)) / 1000
