"""Where a breaker's state lives: one Redis hash a service, and a copy in the process.

pybreaker decides when a circuit opens and closes; this storage makes its single steps atomic over
all processes, keeps them going on the copy while Redis is away, and adds what pybreaker lacks:
one probe in the whole fleet, a reset period that doubles, and no read of Redis on the hot path.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pybreaker

from engine.redis_link import RedisAway, RedisLink
from engine.service_settings import Breaker

CONFIRM_S = 1.0
"""Seconds between a good probe and the next one, at most, until the circuit closes."""
READ_EVERY_S = 0.25
KEEP_MS = 7 * 86_400_000

_NOW = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function read(name, default) return redis.call('HGET', KEYS[1], name) or default end
"""

_READ = (
    _NOW
    + """
return {read('state', 'closed'), tonumber(read('failures', '0')), tonumber(read('good', '0')),
  tonumber(read('reset_ms', '0')), tonumber(read('next_ms', now)) - now,
  now - tonumber(read('since_ms', now)), tonumber(read('recovering', '0'))}
"""
)

_MOVE = (
    _NOW
    + """
local from = read('state', 'closed')
local leads = {open = {closed = true, ['half-open'] = true}, ['half-open'] = {open = true},
  closed = {['half-open'] = true}}
if not leads[ARGV[1]][from] then return 0 end
local base = tonumber(ARGV[2])
if ARGV[1] == 'open' then
  local period = base
  if from == 'half-open' then
    period = math.min(tonumber(read('reset_ms', base)) * 2, tonumber(ARGV[3]))
  end
  redis.call('HSET', KEYS[1], 'reset_ms', period, 'next_ms', now + period)
elseif ARGV[1] == 'closed' then
  redis.call('HSET', KEYS[1], 'reset_ms', base, 'failures', 0, 'recovering', 1)
end
redis.call('HSET', KEYS[1], 'state', ARGV[1], 'since_ms', now, 'good', 0)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
"""
)

_COUNT = (
    _NOW
    + """
if ARGV[1] == 'good' and read('state', 'closed') ~= 'half-open' then return 0 end
local count = redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
if ARGV[1] == 'good' then redis.call('HSET', KEYS[1], 'next_ms', now + tonumber(ARGV[2])) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return count
"""
)

_CLAIM = (
    _NOW
    + """
if read('state', 'closed') == 'closed' then return -1 end
local wait = tonumber(read('next_ms', now)) - now
if wait > 0 then return wait end
local hold = math.max(tonumber(read('reset_ms', '0')), tonumber(ARGV[1]))
redis.call('HSET', KEYS[1], 'next_ms', now + hold)
return 0
"""
)

_LENGTHEN = (
    _NOW
    + """
if read('state', 'closed') ~= 'open' then return 0 end
local period = math.min(tonumber(read('reset_ms', ARGV[1])) * 2, tonumber(ARGV[2]))
redis.call('HSET', KEYS[1], 'reset_ms', period, 'next_ms', now + period)
return 1
"""
)

_SET = "redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) return 1"


@dataclass
class Copy:
    """A breaker's state as this process knows it; instants are monotonic seconds."""

    state: str = pybreaker.STATE_CLOSED
    failures: int = 0
    good: int = 0
    reset_s: float = 0.0
    next_probe_at: float = 0.0
    since: float = 0.0
    recovering: bool = False


class FleetStorage(pybreaker.CircuitBreakerStorage):
    """pybreaker's storage over Redis, or over the copy alone while Redis is away."""

    def __init__(
        self,
        key: str,
        settings: Breaker,
        link: RedisLink,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        changed: Callable[[str, str], None],
    ) -> None:
        super().__init__("fleet")
        self._keys = [key]
        self._settings = settings
        self._link = link
        self._confirm_s = min(CONFIRM_S, settings.reset_s)
        self._monotonic = monotonic
        self._changed = changed
        self._read_at = float("-inf")
        self.copy = Copy(reset_s=settings.reset_s, since=monotonic())
        self.away = False

    def refresh(self, *, now_please: bool = False) -> None:
        """Read the shared state, at most every READ_EVERY_S; keep the copy when that fails.

        `now_please` reads it in any case: before the outcome of a probe is judged.
        """
        now = self._monotonic()
        if now - self._read_at < READ_EVERY_S and not now_please:
            return
        self._read_at = now
        answer = self._script(_READ)
        if answer is None:
            return
        state, failures, good, reset_ms, next_ms, since_ms, recovering = answer
        self.copy = Copy(
            state=state.decode(),
            failures=failures,
            good=good,
            reset_s=reset_ms / 1000 or self._settings.reset_s,
            next_probe_at=now + next_ms / 1000,
            since=now - since_ms / 1000,
            recovering=bool(recovering),
        )

    def claim(self, hold_s: float) -> float:
        """Claim the fleet's next probe: 0 when it is ours, else seconds until one is due.

        Negative when the circuit is closed by now, so that there is nothing to probe.
        Nobody gets another one before the reset period or `hold_s` are over, whichever is
        longer: a probe that is under way stays alone.
        """
        answer = self._script(_CLAIM, str(int(hold_s * 1000)))
        if answer is not None:
            return int(answer) / 1000
        now = self._monotonic()
        if now < self.copy.next_probe_at:
            return self.copy.next_probe_at - now
        self.copy.next_probe_at = now + max(self.copy.reset_s, hold_s)
        return 0.0

    def lengthen(self) -> None:
        """After a failed probe of an open circuit: double the reset period, up to its maximum."""
        base, longest = self._settings.reset_s, self._settings.max_reset_s
        self._script(_LENGTHEN, str(int(base * 1000)), str(int(longest * 1000)))
        self.copy.reset_s = min(self.copy.reset_s * 2, longest)
        self.copy.next_probe_at = self._monotonic() + self.copy.reset_s

    def recovered(self) -> None:
        """The first call after closing succeeded: calls need not come one at a time any more."""
        self._script(_SET, "recovering", "0")
        self.copy.recovering = False

    @property
    def state(self) -> str:
        """What this process knows; `refresh` brings it up to date."""
        return self.copy.state

    @state.setter
    def state(self, state: str) -> None:
        base, longest = self._settings.reset_s, self._settings.max_reset_s
        before = self.copy.state
        moved = self._script(
            _MOVE, state, str(int(base * 1000)), str(int(longest * 1000)), str(KEEP_MS)
        )
        if moved is None:
            moved = int(before != state)
        self._move_copy(state)
        if moved:
            self._changed(before, state)
        else:
            self._read_at = float("-inf")  # another process was first: look at what it made of it

    def _move_copy(self, state: str) -> None:
        copy, now = self.copy, self._monotonic()
        if copy.state == state:
            return
        if state == pybreaker.STATE_OPEN:
            again = copy.state == pybreaker.STATE_HALF_OPEN
            longest = self._settings.max_reset_s
            copy.reset_s = min(copy.reset_s * 2, longest) if again else self._settings.reset_s
            copy.next_probe_at = now + copy.reset_s
        elif state == pybreaker.STATE_CLOSED:
            copy.reset_s, copy.failures, copy.recovering = self._settings.reset_s, 0, True
        copy.state, copy.since, copy.good = state, now, 0

    def increment_counter(self) -> None:
        """Count a failure of the fleet."""
        self.copy.failures = self._count("failures", self.copy.failures)

    def increment_success_counter(self) -> None:
        """Count a good probe; the next one may follow soon."""
        self.copy.good = self._count("good", self.copy.good)
        self.copy.next_probe_at = self._monotonic() + self._confirm_s

    def _count(self, name: str, known: int) -> int:
        confirm_ms = str(int(self._confirm_s * 1000))
        answer = self._script(_COUNT, name, confirm_ms, str(KEEP_MS))
        return known + 1 if answer is None else int(answer)

    def reset_counter(self) -> None:
        """Failures count in a row; free where there was none."""
        if self.copy.failures > 0:
            self._script(_SET, "failures", "0")
            self.copy.failures = 0

    def reset_success_counter(self) -> None:
        """Nothing: good probes are forgotten with the change of state, once for the fleet.

        pybreaker calls this in every process that notices a change, which would forget the
        probes that another one counted meanwhile.
        """

    @property
    def counter(self) -> int:
        """Failures in a row."""
        return self.copy.failures

    @property
    def success_counter(self) -> int:
        """Good probes in a row."""
        return self.copy.good

    @property
    def opened_at(self) -> datetime | None:
        """Not used: whether a probe is due is asked with `claim`."""
        return None

    @opened_at.setter
    def opened_at(self, value: datetime) -> None:
        """Nothing: the script that opens the circuit notes Redis's own time."""

    def since_at(self, now: datetime) -> datetime:
        """When the current state began, by the wall clock that says `now`."""
        return datetime.fromtimestamp(
            now.timestamp() - (self._monotonic() - self.copy.since), tz=UTC
        )

    def _script(self, text: str, *arguments: str) -> Any:
        try:
            answer = self._link.script(text, self._keys, arguments)
        except RedisAway:
            self.away = True
            return None
        self.away = False
        return answer
