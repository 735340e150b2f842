"""Problem documents (RFC 9457): the one shape of every error answer."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from flask import Response
from werkzeug.exceptions import HTTPException

from engine.errors import (
    LedgerUnavailable,
    NotFound,
    Refused,
    ServiceError,
    TradingError,
)

PROBLEM_TYPE = "application/problem+json"


class FieldError(msgspec.Struct, frozen=True):
    """One fault of a request: `field` is a path such as `fills[0].price`, empty for the whole."""

    field: str
    detail: str


class ProblemDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error answer as documented; a problem may add members of its own."""

    type: str
    title: str
    status: int
    detail: str = ""
    request_id: str = ""
    errors: tuple[FieldError, ...] = ()


class Problem(Exception):
    """An error answer, raised by a handler.

    `kind` ends the document's `type`; by default it is the status phrase (`not-found`). `extra`
    adds members to the document, `headers` to the response.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        *,
        kind: str = "",
        extra: dict[str, object] | None = None,
        errors: tuple[FieldError, ...] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail
        self.kind = kind or _slug(status)
        self.extra = extra or {}
        self.errors = errors
        self.headers = headers or {}


def _slug(status: int) -> str:
    return phrase(status).lower().replace(" ", "-").replace("'", "")


def phrase(status: int) -> str:
    """The standard words of a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def unprocessable(errors: tuple[FieldError, ...]) -> Problem:
    """422: the request was read, and these fields are wrong."""
    detail = "; ".join(f"{error.field or 'request'}: {error.detail}" for error in errors)
    return Problem(422, "Invalid request", detail, kind="invalid-request", errors=errors)


def of_trading_error(error: TradingError) -> Problem | None:
    """The answer to an error raised on purpose; None for one that no caller can act on."""
    match error:
        case NotFound():
            return Problem(404, "Not found", str(error))
        case Refused():
            extra: dict[str, object] = {"reasons": list(error.reasons)} if error.reasons else {}
            return Problem(409, "Refused", str(error), kind="refused", extra=extra)
        case LedgerUnavailable():
            return Problem(503, "Ledger unavailable", str(error), kind="ledger-unavailable")
        case ServiceError():
            return Problem(
                503,
                "Service unavailable",
                str(error),
                kind="service-unavailable",
                extra={"service": error.service},
            )
    return None


def of_http_error(error: HTTPException) -> Problem:
    """The answer to what the server itself refused: routing, methods, sizes."""
    status = error.code or 500
    headers = {}
    valid_methods = getattr(error, "valid_methods", None)
    if valid_methods:
        headers["Allow"] = ", ".join(sorted(valid_methods))
    details = {
        404: "there is no such route",
        405: f"this route answers {headers.get('Allow', 'other methods')}",
        413: "the request body is larger than this server accepts",
    }
    detail = details.get(status, error.description or "")
    return Problem(status, phrase(status), detail, headers=headers)


def encode_problem(problem: Problem, request_id: str) -> bytes:
    """The document's JSON."""
    document: dict[str, object] = {
        "type": f"/problems/{problem.kind}",
        "title": problem.title,
        "status": problem.status,
    }
    if problem.detail:
        document["detail"] = problem.detail
    if problem.errors:
        document["errors"] = problem.errors
    if request_id:
        document["request_id"] = request_id
    return msgspec.json.encode(document | problem.extra)


def problem_response(problem: Problem, request_id: str) -> Response:
    """The document as a response."""
    body = encode_problem(problem, request_id)
    return Response(body, problem.status, problem.headers, content_type=PROBLEM_TYPE)
