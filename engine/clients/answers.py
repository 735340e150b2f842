"""What an HTTP answer means: a body to decode, or one of the documented errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec

from engine.clients.checks import require_sound
from engine.errors import BadPayload, ServiceRejected, ServiceUnavailable

T = TypeVar("T")
JSON_TYPES = ("application/json", "application/problem+json")
MAX_DETAIL = 300
MAX_PROBLEM_BYTES = 65536
MAX_VALUES = 1_000_000
"""So many values in one answer that decoding them would cost more memory than a worker has."""
ASKS_FOR_REST = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
DEFAULT_SLOWDOWN_S = 1.0
"""How long nobody calls after a 429 that does not say how long."""


@dataclass
class RawAnswer:
    """An answer as it arrived; headers are found in lower case, the body is within its cap."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def decoder_of(answer: type[T]) -> Callable[[bytes], T]:
    """A decoder of JSON into `answer` that refuses what cannot be computed with (ValueError)."""
    decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(answer)

    def decode(body: bytes) -> T:
        value: T = decoder.decode(body)
        require_sound(value)
        return value

    return decode


def ignore_body(_body: bytes) -> None:
    """For answers whose status says it all."""


def decoded(
    service: str, answer: RawAnswer, decode: Callable[[bytes], T], most_values: int = MAX_VALUES
) -> T:
    """The value of a 2xx answer. Raises BadPayload, for more than `most_values` before decoding."""
    if decode is not ignore_body:
        _require_json(service, answer)
        if answer.body.count(b",") >= most_values:
            raise BadPayload(service, f"more than {most_values} values")
    try:
        return decode(answer.body)
    except BadPayload:
        raise
    except (ValueError, TypeError, ArithmeticError, RecursionError) as exc:
        # Without its traceback, whose frames would keep the body for as long as the error lives.
        raise BadPayload(service, shortened(str(exc))) from exc.with_traceback(None)


def _require_json(service: str, answer: RawAnswer) -> None:
    content_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in JSON_TYPES:
        raise BadPayload(service, f"{shortened(content_type) or 'no type'} instead of JSON")
    encoding = answer.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise BadPayload(service, f"content encoding {shortened(encoding)} was not asked for")


def raise_for_status(service: str, answer: RawAnswer) -> None:
    """Nothing for a 2xx; else the error that the status stands for."""
    status = answer.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return
    if status < HTTPStatus.BAD_REQUEST:
        raise BadPayload(service, f"status {status}: redirects are not followed")
    problem = _problem(answer)
    detail = _detail(status, problem)
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        has_no_effect = status in ASKS_FOR_REST and problem.get("accepted") is False
        raise ServiceUnavailable(service, detail, accepted=False if has_no_effect else None)
    kind = problem.get("type")
    last = kind.rstrip("/").rpartition("/")[2] if isinstance(kind, str) else ""
    raise ServiceRejected(service, detail, status=status, kind=shortened(last))


def _problem(answer: RawAnswer) -> dict[str, Any]:
    if len(answer.body) > MAX_PROBLEM_BYTES:
        return {}
    try:
        problem = msgspec.json.decode(answer.body)
    except (ValueError, RecursionError):
        return {}
    return problem if isinstance(problem, dict) else {}


def _detail(status: int, problem: dict[str, Any]) -> str:
    texts = [text for key in ("title", "detail") if isinstance(text := problem.get(key), str)]
    return shortened(": ".join([f"status {status}", *dict.fromkeys(filter(None, texts))]))


def shortened(text: str) -> str:
    """On one line, printable, and short enough for a log and a status page."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return line if len(line) <= MAX_DETAIL else line[: MAX_DETAIL - 1] + "…"


def slowdown_s(answer: RawAnswer, now: datetime, longest_s: float) -> float:
    """How long the service wants nobody to call, at most `longest_s`; 0 when it does not say.

    Seconds or an HTTP date in `Retry-After` of a 429 or 503; a bare 429 counts as a second.
    """
    if answer.status not in ASKS_FOR_REST:
        return 0.0
    seconds = _retry_after_s(answer.headers.get("retry-after", ""), now)
    if seconds is None:
        seconds = 0.0 if answer.status == HTTPStatus.SERVICE_UNAVAILABLE else DEFAULT_SLOWDOWN_S
    return min(max(seconds, 0.0), longest_s)


def _retry_after_s(text: str, now: datetime) -> float | None:
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if at.tzinfo is None:
        return None
    return (at - now).total_seconds()
