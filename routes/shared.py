"""What the routes share: ids from paths, answers given once, answers that did not change."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable

import msgspec
from flask import Flask, Response, request

from engine.control import idempotency
from engine.control.desk import Desk
from web import Answer, Problem, caller

IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,128}")
OK = 200
ETAG_LENGTH = 32


def identifier(text: str) -> str:
    """An id from a path. What no id can be is not found rather than asked of a database."""
    if not text.isprintable() or not text.isascii():
        raise Problem(404, "Not found", "there is nothing of this id")
    return text


def idempotency_key() -> str | None:
    """The request's Idempotency-Key; raises Problem 422 for one that cannot be kept."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and IDEMPOTENCY_KEY.fullmatch(key) is None:
        raise Problem(
            422,
            "Invalid request",
            "Idempotency-Key: 1 to 128 printable ASCII characters",
            kind="invalid-request",
        )
    return key


def wish() -> str:
    """What makes this wish for a cycle one: the caller's Idempotency-Key, else the request."""
    key = idempotency_key()
    return f"{caller()}|{key}" if key is not None else str(uuid.uuid4())


def once(desk: Desk, produce: Callable[[], Answer]) -> Answer:
    """The answer, or the stored first one where the Idempotency-Key came before."""
    key = idempotency_key()
    if key is None:
        return produce()
    headers: dict[str, str] = {}

    def reply() -> idempotency.Reply:
        answer = produce()
        headers.update(answer.headers)
        return idempotency.Reply(answer.status, msgspec.json.encode(answer.value))

    try:
        first = idempotency.once(desk, (caller(), request.path, key), request.get_data(), reply)
    except idempotency.KeyReused as error:
        raise Problem(
            422,
            "Invalid request",
            "this Idempotency-Key came with another body",
            kind="idempotency-key-reused",
        ) from error
    if first.replayed:
        headers["Idempotent-Replay"] = "true"
    return Answer(first.body, first.status, headers)


def add_etags(app: Flask) -> None:
    """Name the content of every JSON answer to a GET; the same content again is 304 and empty."""

    @app.after_request
    def name_content(response: Response) -> Response:
        is_json = response.content_type == "application/json"
        if request.method != "GET" or response.status_code != OK or not is_json:
            return response
        digest = hashlib.sha256(response.get_data()).hexdigest()
        response.set_etag(digest[:ETAG_LENGTH])
        response.make_conditional(request)
        return response
