"""At most so many calls of a service in any window, over all processes together.

A moving-window log in Redis: a permit is granted when fewer than the limit were granted within
the last 1.25 windows by Redis's own clock. A permit is void 0.2 s after it was asked for, so what
the server counts in any one window never exceeds the limit: permits that are more than 1.25
windows apart arrive more than 1.05 apart. A fifth is kept for priority calls. The stock script of
`limits` counts by each client's own clock, in whole seconds and without a reserve; hence this one.

A process that calls often asks for several permits at once: as many as it just used in a permit's
life, and never more than its share of what may be called within one.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import random

import limits

from engine.errors import ServiceUnavailable
from engine.redis_link import RedisAway, RedisLink

WINDOW_MARGIN = 1.25
PERMIT_LIFE_S = 0.2
MOST_AT_ONCE = 8
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
local function wait_for(count)
  local wait = left(KEYS[1], tonumber(ARGV[2]) - count + 1)
  if ARGV[4] == '1' then return wait end
  return math.max(wait, left(KEYS[2], tonumber(ARGV[3]) - count + 1))
end
local wait = wait_for(1)
if wait > 0 then return math.ceil(wait) end
local count = tonumber(ARGV[5])
while count > 1 and wait_for(count) > 0 do count = count - 1 end
local stamps = {}
for at = 1, count do
  stamps[at] = string.format('%.0f', math.ceil(now))  -- Redis packs whole numbers
end
local function grant(key, limit)
  redis.call('LPUSH', key, unpack(stamps))
  redis.call('LTRIM', key, 0, limit - 1)
  redis.call('PEXPIRE', key, math.ceil(window))
end
grant(KEYS[1], tonumber(ARGV[2]))
if ARGV[4] == '0' then grant(KEYS[2], tonumber(ARGV[3])) end
return -count
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


@dataclass(frozen=True)
class _Stock:
    """Permits that are left of those granted at once, to this process and not to one forked."""

    count: int
    until: float
    pid: int

    def has_one(self, now: float) -> bool:
        """Whether one can be used."""
        return self.count > 0 and now < self.until and self.pid == os.getpid()


_NO_STOCK = _Stock(0, float("-inf"), 0)


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
        share = self._rate.share(max(processes, 1))
        self._local = _LocalWindow(share)
        in_a_life = int(share.ordinary * PERMIT_LIFE_S / (share.period_s * WINDOW_MARGIN))
        self._most = min(MOST_AT_ONCE, max(in_a_life, 1))
        self._used: deque[float] = deque(maxlen=self._most)
        self._stock = _NO_STOCK
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
            wait, until = self._try(asked_at, priority=priority)
            if wait <= 0:
                return until
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

    def _try(self, now: float, *, priority: bool) -> tuple[float, float]:
        """Seconds to wait for a permit, and until when the one that needs no waiting is good."""
        with self._lock:
            if now < self._paused_until:
                return self._paused_until - now, now
            if self._stock.has_one(now):
                return 0.0, self._use(self._stock, now)
            count = 1 if priority else self._likely(now)
        try:
            answer = self._shared(count, priority=priority)
        except RedisAway:
            with self._lock:
                wait = self._local.wait_s(now, priority=priority)
                if wait <= 0:
                    self._local.grant(now, priority=priority)
            return wait, now + PERMIT_LIFE_S
        if answer > 0:
            return answer / 1000, now
        with self._lock:
            # Known here too, so that losing Redis in mid-window grants nothing twice.
            for _ in range(-answer):
                self._local.grant(now, priority=priority)
            return 0.0, self._use(_Stock(-answer, now + PERMIT_LIFE_S, os.getpid()), now)

    def _likely(self, now: float) -> int:
        """How many permits this process is about to use: as many as it used in a permit's life."""
        recent = sum(at > now - PERMIT_LIFE_S for at in self._used)
        return min(1 + recent, self._most)

    def _use(self, stock: _Stock, now: float) -> float:
        self._used.append(now)
        self._stock = replace(stock, count=stock.count - 1)
        return stock.until

    def _shared(self, count: int, *, priority: bool) -> int:
        """Milliseconds to wait, or below 0 the permits that were granted, at most `count`."""
        arguments = (
            str(self._rate.period_s * WINDOW_MARGIN * 1000),
            str(self._rate.amount),
            str(self._rate.ordinary),
            "1" if priority else "0",
            str(count),
        )
        return int(self._link.script(_ACQUIRE, self._keys, arguments))
