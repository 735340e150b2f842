"""Circuit breakers: who stops answering is left alone, by every process at once.

Timeouts, resets, 5xx, 429 and garbage count as failures; a 4xx is an answer. While a circuit is
open or half-open its one probe is the only call of the whole fleet: the upkeep worker's
`GET /health`. Three good probes close it; then orders go one at a time until one succeeds.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum

import pybreaker

from engine.clients.breaker_store import FleetStorage
from engine.domain.model import Value
from engine.errors import CircuitOpen, ServiceRejected
from engine.redis_link import RedisAway, RedisLink
from engine.service_settings import Breaker

GOOD_PROBES = 3
TRIAL_POLL_S = 0.05

_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""


class Circuit(StrEnum):
    """The states of a breaker, spelled as `/status` shows them."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class BreakerState(Value, frozen=True, kw_only=True):
    """A breaker as `/status` shows it. `next_probe_s` is None while it is closed.

    `local` is True while Redis is away and this process judges by itself.
    """

    service: str
    state: Circuit
    since: datetime
    failures: int
    reset_s: float
    next_probe_s: float | None
    local: bool


BreakerChanged = Callable[[str, Circuit, Circuit], None]
"""Told (service, before, after), by the one process that made the change."""


class _Failed(Exception):
    """What pybreaker is told of a failed call."""


def _fail() -> None:
    raise _Failed


def _succeed() -> None:
    return


class ServiceBreaker:
    """The breaker of one service. Thread-safe; one a process and service."""

    def __init__(
        self,
        service: str,
        settings: Breaker,
        link: RedisLink,
        *,
        changed: BreakerChanged = lambda _service, _before, _after: None,
        namespace: str = "trading",
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.service = service
        self._link = link
        self._monotonic = monotonic
        self._sleep = sleep
        self._trial_key = f"{namespace}:breaker:{{{service}}}:trial"
        self._store = FleetStorage(
            f"{namespace}:breaker:{{{service}}}",
            settings,
            link,
            monotonic=monotonic,
            changed=lambda before, after: changed(service, Circuit(before), Circuit(after)),
        )
        self._machine = pybreaker.CircuitBreaker(
            fail_max=settings.failures,
            success_threshold=GOOD_PROBES,
            state_storage=self._store,
            throw_new_error_on_trip=False,
            name=service,
        )
        # pybreaker holds its own lock during a call; here it is only told of outcomes.
        self._lock = threading.RLock()

    def admit(self, *, may_probe: bool = False) -> bool:
        """Let an ordinary call through: False. Raises CircuitOpen.

        With Redis away there is no fleet to probe for this process: then a call that may be
        repeated serves as its probe when one is due (True), so that it can find back alone.
        """
        with self._lock:
            self._store.refresh()
            if self._store.state == pybreaker.STATE_CLOSED:
                return False
            if may_probe and self._store.away and self._store.claim(0) == 0:
                return True
            raise CircuitOpen(self.service)

    def claim_probe(self, hold_s: float) -> bool:
        """Claim the fleet's probe: True for an open circuit, False for a closed one.

        `hold_s` is how long the probe may take. Raises CircuitOpen when none is due.
        """
        with self._lock:
            self._store.refresh()
            if self._store.state == pybreaker.STATE_CLOSED:
                return False
            wait = self._store.claim(hold_s)
            if wait > 0:
                raise CircuitOpen(self.service, f"circuit open, next probe in {wait:.1f} s")
            return wait == 0

    def succeeded(self, *, probe: bool = False) -> None:
        """A call was answered."""
        with self._lock:
            self._store.refresh(now_please=probe)
            if probe and self._store.state == pybreaker.STATE_OPEN:
                self._machine.half_open()
            if probe or self._store.state == pybreaker.STATE_CLOSED:
                self._tell(_succeed)

    def failed(self, *, probe: bool = False) -> None:
        """A call was not answered, or with garbage."""
        with self._lock:
            self._store.refresh(now_please=probe)
            if probe and self._store.state == pybreaker.STATE_OPEN:
                self._store.lengthen()
            elif probe or self._store.state == pybreaker.STATE_CLOSED:
                self._tell(_fail)

    def _tell(self, outcome: Callable[[], None]) -> None:
        try:
            self._machine.call(outcome)
        except (_Failed, pybreaker.CircuitBreakerError):
            return

    @contextmanager
    def trial(self, ends_at: float) -> Iterator[None]:
        """Around one order: after a recovery only one is under way, until one was answered.

        A normal end and a 4xx count as answered. Waits for its turn until `ends_at`, then
        raises CircuitOpen. Free while the service is not recovering.
        """
        if not self._is_recovering():
            yield
            return
        token = self._take_turn(ends_at)
        try:
            yield
        except ServiceRejected:
            self._recovered()
            raise
        else:
            self._recovered()
        finally:
            self._end_turn(token)

    def _recovered(self) -> None:
        with self._lock:
            self._store.recovered()

    def _is_recovering(self) -> bool:
        with self._lock:
            self._store.refresh()
            return self._store.copy.recovering

    def _take_turn(self, ends_at: float) -> str:
        token = secrets.token_hex(8)
        while True:
            left = ends_at - self._monotonic()
            if left <= 0:
                raise CircuitOpen(self.service, "recovering: one order at a time")
            if self._turn_is_free(token, left) or not self._is_recovering():
                return token
            self._sleep(min(TRIAL_POLL_S, left))

    def _turn_is_free(self, token: str, seconds: float) -> bool:
        milliseconds = max(int(seconds * 1000), 1)
        try:
            return bool(
                self._link.run(
                    lambda client: client.set(self._trial_key, token, nx=True, px=milliseconds)
                )
            )
        except RedisAway:
            return True

    def _end_turn(self, token: str) -> None:
        try:
            self._link.script(_RELEASE, [self._trial_key], [token])
        except RedisAway:
            return

    def state(self, now: datetime) -> BreakerState:
        """What `/status` shows; `now` is the wall clock's."""
        with self._lock:
            self._store.refresh()
            copy = self._store.copy
            is_closed = copy.state == pybreaker.STATE_CLOSED
            wait = max(copy.next_probe_at - self._monotonic(), 0.0)
            return BreakerState(
                service=self.service,
                state=Circuit(copy.state),
                since=self._store.since_at(now),
                failures=copy.failures,
                reset_s=copy.reset_s,
                next_probe_s=None if is_closed else round(wait, 3),
                local=self._store.away,
            )
