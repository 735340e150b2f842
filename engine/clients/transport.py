"""Every call of a service: retry(breaker(rate_limit(timeout(request)))), one deadline for all.

Retries live here and nowhere else. What a call may raise is ServiceError, and nothing more.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import random as uniform
from typing import Generic, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec
import structlog
import urllib3

from engine import failpoints
from engine.call_deadline import deadline
from engine.clients.answers import (
    MAX_VALUES,
    RawAnswer,
    decoded,
    decoder_of,
    ignore_body,
    raise_for_status,
    shortened,
    slowdown_s,
)
from engine.clients.breaker import ServiceBreaker
from engine.clients.connection import Exchange, PermitExpired, Pools, exchanging
from engine.clients.observer import CallObserver, CallOutcome, NoObserver
from engine.clients.rate_limit import RateLimited, RateLimiter
from engine.clients.retries import RetryBudget, pause_s
from engine.errors import (
    BadPayload,
    CircuitOpen,
    ConfigError,
    ServiceError,
    ServiceRejected,
    ServiceUnavailable,
)
from engine.ports import Clock
from engine.service_settings import Service

T = TypeVar("T")
CHUNK_BYTES = 65536


@dataclass(frozen=True)
class _Request(Generic[T]):
    method: str
    target: str
    body: bytes | None
    decode: Callable[[bytes], T]
    priority: bool
    idempotent: bool
    most_values: int = MAX_VALUES


class Transport:
    """Calls of one service. Thread-safe; one a process and service; usable after a fork."""

    def __init__(
        self,
        service: str,
        settings: Service,
        *,
        pools: Pools,
        breaker: ServiceBreaker,
        limiter: RateLimiter,
        clock: Clock,
        observer: CallObserver | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = uniform,
    ) -> None:
        self.service = service
        self.settings = settings
        self.breaker = breaker
        self.monotonic = monotonic
        self._pools = pools
        self._limiter = limiter
        self._clock = clock
        self._observer = NoObserver() if observer is None else observer
        self._sleep = sleep
        self._random = random
        self._budget = RetryBudget()
        self._key = _key_of(service, settings)
        self._prefix = urlsplit(settings.base_url).path

    def call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        query: Mapping[str, str | int] | None = None,
        answer: type[T],
        timeout_s: float | None = None,
        idempotent: bool,
        priority: bool = False,
    ) -> T:
        """The decoded and checked answer. Raises ServiceError; see `fetch`."""
        return self.fetch(
            method,
            path,
            body=body,
            query=query,
            decode=decoder_of(answer),
            timeout_s=timeout_s,
            idempotent=idempotent,
            priority=priority,
        )

    def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        timeout_s: float | None = None,
        idempotent: bool,
        priority: bool = False,
    ) -> None:
        """The same where only the status matters."""
        self.fetch(
            method,
            path,
            body=body,
            decode=ignore_body,
            timeout_s=timeout_s,
            idempotent=idempotent,
            priority=priority,
        )

    def fetch(
        self,
        method: str,
        path: str,
        *,
        decode: Callable[[bytes], T],
        body: bytes | None = None,
        query: Mapping[str, str | int] | None = None,
        timeout_s: float | None = None,
        idempotent: bool,
        priority: bool = False,
        most_values: int = MAX_VALUES,
    ) -> T:
        """What `decode` makes of the body; a ValueError of it is a BadPayload.

        Ends within `timeout_s` (default: the service's), retries and waiting included. Raises
        ServiceUnavailable (`accepted` False when no request left or the service said so),
        CircuitOpen, ServiceRejected, BadPayload. Only idempotent calls are repeated.
        """
        now = self.monotonic()
        ends_at = deadline(now, self.settings.timeout_s if timeout_s is None else timeout_s)
        target = self._prefix + path + (f"?{urlencode(query)}" if query else "")
        request = _Request(method, target, body, decode, priority, idempotent, most_values)
        self._budget.earn()
        for attempt in range(self.settings.retries if idempotent else 0):
            try:
                return self._once(request, ends_at)
            except (CircuitOpen, RateLimited):
                raise
            except ServiceUnavailable:
                wait = pause_s(attempt, self._random)
                if self.monotonic() + wait >= ends_at or not self._budget.spend():
                    raise
                self._sleep(wait)
        return self._once(request, ends_at)

    def probe(self) -> float:
        """Ask `GET /health`; seconds it took. For the upkeep worker alone, as often as it likes.

        Raises ServiceError: CircuitOpen when the circuit is open and the fleet's next probe is
        not due, RateLimited while the service wants to be left alone.
        """
        timeout_s = self.settings.timeout_s
        ends_at = self.monotonic() + timeout_s
        is_probe = self.breaker.claim_probe(timeout_s + 1)
        request = _Request(
            "GET", self._prefix + "/health", None, _health, priority=True, idempotent=True
        )
        started = self.monotonic()
        self._judged(request, ends_at, probe=is_probe)
        return self.monotonic() - started

    def _once(self, request: _Request[T], ends_at: float) -> T:
        try:
            is_probe = self.breaker.admit(may_probe=request.idempotent)
        except CircuitOpen:
            self._observer.called(self.service, 0.0, CallOutcome.CIRCUIT_OPEN)
            raise
        return self._judged(request, ends_at, probe=is_probe)

    def _judged(self, request: _Request[T], ends_at: float, *, probe: bool) -> T:
        started = self.monotonic()
        try:
            value = self._permitted(request, ends_at)
        except RateLimited:
            self._observer.called(self.service, 0.0, CallOutcome.RATE_LIMITED)
            raise
        except ServiceRejected:
            self.breaker.succeeded(probe=probe)
            self._observer.called(self.service, self.monotonic() - started, CallOutcome.REJECTED)
            raise
        except ServiceError as error:
            self.breaker.failed(probe=probe)
            is_garbage = isinstance(error, BadPayload)
            outcome = CallOutcome.BAD_PAYLOAD if is_garbage else CallOutcome.UNAVAILABLE
            self._observer.called(self.service, self.monotonic() - started, outcome)
            raise
        self.breaker.succeeded(probe=probe)
        self._observer.called(self.service, self.monotonic() - started, CallOutcome.OK)
        return value

    def _permitted(self, request: _Request[T], ends_at: float) -> T:
        while True:
            if self.monotonic() >= ends_at:
                raise RateLimited(self.service, "no time left to call")
            permit_until = self._limiter.acquire(ends_at, priority=request.priority)
            try:
                answer = self._exchange(request, ends_at, permit_until)
            except PermitExpired:
                continue
            try:
                self._heed(answer)
                raise_for_status(self.service, answer)
                return decoded(self.service, answer, request.decode, request.most_values)
            finally:
                answer.body = b""  # an error's traceback keeps the answer

    def _heed(self, answer: RawAnswer) -> None:
        seconds = slowdown_s(answer, self._clock.now(), self.settings.breaker.max_reset_s)
        if seconds > 0:
            self._limiter.slow_down(seconds)

    def _exchange(self, request: _Request[T], ends_at: float, permit_until: float) -> RawAnswer:
        exchange = Exchange(ends_at, permit_until, self.monotonic)
        try:
            with exchanging(exchange):
                return self._read(request, exchange)
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            accepted = None if exchange.sent else False
            detail = shortened(_reason(exc))
            raise ServiceUnavailable(self.service, detail, accepted=accepted) from exc
        except ValueError as exc:  # http.client, of a status line or length that is none
            raise BadPayload(self.service, shortened(f"no HTTP: {exc}")) from exc

    def _read(self, request: _Request[T], exchange: Exchange) -> RawAnswer:
        left = exchange.remaining()
        response = self._pools.to(self.settings.base_url).urlopen(
            request.method,
            request.target,
            body=request.body,
            headers=self._headers(request.body is not None),
            timeout=urllib3.Timeout(connect=left, read=left),
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        if not request.idempotent:
            failpoints.reach("B4")
        try:
            return RawAnswer(response.status, response.headers, self._body(response))
        finally:
            response.close()  # a connection whose answer was read to its end is free already

    def _body(self, response: urllib3.BaseHTTPResponse) -> bytes:
        limit = self.settings.max_answer_bytes
        length = response.length_remaining
        if length is not None and length <= limit:
            return response.read()
        body = bytearray()
        while chunk := response.read(CHUNK_BYTES):
            body += chunk
            if len(body) > limit:
                body.clear()  # the error's traceback would keep it alive
                raise BadPayload(self.service, f"answer larger than {limit} bytes")
        return bytes(body)

    def _headers(self, has_body: bool) -> dict[str, str]:  # noqa: FBT001
        bound = structlog.contextvars.get_contextvars()
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "X-Request-ID": str(bound.get("request_id") or uuid.uuid4()),
        }
        if has_body:
            headers["Content-Type"] = "application/json"
        if bound.get("cycle_id"):
            headers["X-Cycle-ID"] = str(bound["cycle_id"])
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        return headers


class _Health(msgspec.Struct):
    status: str


_decode_health = decoder_of(_Health)


def _health(body: bytes) -> None:
    status = _decode_health(body).status
    if status not in {"ok", "degraded"}:
        raise ValueError(f"health is {status!r}")


def _key_of(service: str, settings: Service) -> str:
    """The bearer key. Raises ConfigError when its file cannot be read."""
    if settings.key.get_secret_value():
        return settings.key.get_secret_value()
    if not settings.key_file:
        return ""
    try:
        return Path(settings.key_file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as exc:
        line = f"services.{service}.key_file: {settings.key_file} cannot be read: {exc}"
        raise ConfigError([line]) from exc


def _reason(exc: BaseException) -> str:
    """The innermost cause in few words: the outer ones repeat addresses and pool names."""
    seen: BaseException = exc
    while True:
        inner = getattr(seen, "reason", None) or seen.__cause__ or seen.__context__
        if inner is None and seen.args and isinstance(seen.args[0], BaseException):
            inner = seen.args[0]
        if not isinstance(inner, BaseException):
            break
        seen = inner
    if isinstance(seen, TimeoutError):
        return "no answer in time"
    return f"{type(seen).__name__}: {seen}" if str(seen) else type(seen).__name__
