"""Routes: a handler with typed values in and out, known to the API's description."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from flask import Flask, Response, request
from prometheus_client import CollectorRegistry

from engine.service_settings import SERVICES
from web.decoding import Nothing, decode_body, decode_query
from web.keys import KeyRing, Scope

Handler = TypeVar("Handler", bound=Callable[..., Any])
Shape = type[msgspec.Struct]


@dataclass(frozen=True)
class Answer:
    """A handler's value with a status other than 200, or with headers."""

    value: object
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    """One declared route."""

    method: str
    path: str
    summary: str
    description: str
    body: Shape | None
    query: Shape | None
    answers: Mapping[int, Any]
    scope: Scope | None

    @property
    def endpoint(self) -> str:
        """The name that Flask knows it by."""
        return f"{self.method} {self.path}"


@dataclass
class Site:
    """What one app is, kept in `app.extensions`.

    `examples` are shown in the description: by endpoint its `body`, and answers by status.
    """

    name: str
    title: str
    version: str
    description: str
    keys: KeyRing
    registry: CollectorRegistry
    routes: dict[str, Route] = field(default_factory=dict)
    examples: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def section(self) -> str:
        """Where this server's host and port are configured."""
        return f"services.{self.name}" if self.name in SERVICES else "trading_engine"


def site_of(app: Flask) -> Site:
    """The Site of an app that `create_app` made."""
    site: Site = app.extensions["web"]
    return site


def route(
    app: Flask,
    method: str,
    path: str,
    *,
    summary: str,
    description: str = "",
    body: Shape | None = None,
    query: Shape | None = None,
    answers: Mapping[int, Any] | None = None,
    scope: Scope | None = "read",
) -> Callable[[Handler], Handler]:
    """Declare a route; the decorated handler stays as it is.

    The handler gets `body` and `query` where declared, and the path's parameters, by keyword. It
    returns a value to encode as JSON, bytes that are JSON already, an Answer, or a Response.
    `answers` maps statuses to the answer's type (None: a problem, or no JSON). `scope` None: no
    key is needed. A body or query that was not declared is refused like any unknown field.
    """
    declared = Route(method, path, summary, description, body, query, answers or {200: Any}, scope)

    def decorate(handler: Handler) -> Handler:
        def view(**path_values: Any) -> Response:
            return _respond(handler(**path_values, **_arguments(declared)))

        site_of(app).routes[declared.endpoint] = declared
        app.add_url_rule(
            path,
            endpoint=declared.endpoint,
            view_func=view,
            methods=[method],
            provide_automatic_options=False,
        )
        return handler

    return decorate


def _arguments(declared: Route) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    if declared.method not in {"GET", "HEAD"}:
        body = decode_body(request.get_data(), declared.body or Nothing)
        if declared.body is not None:
            arguments["body"] = body
    query = decode_query(request.args.to_dict(flat=False), declared.query or Nothing)
    if declared.query is not None:
        arguments["query"] = query
    return arguments


def _respond(value: object) -> Response:
    if isinstance(value, Response):
        return value
    answer = value if isinstance(value, Answer) else Answer(value)
    if isinstance(answer.value, Response):
        answer.value.status_code = answer.status
        answer.value.headers.update(answer.headers)
        return answer.value
    encoded = answer.value if isinstance(answer.value, bytes) else msgspec.json.encode(answer.value)
    return Response(encoded, answer.status, dict(answer.headers), content_type="application/json")
