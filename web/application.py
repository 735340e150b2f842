"""create_app: a Flask app with ids, keys, limits, problems, health, metrics and its description."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Mapping
from typing import IO, Any

import structlog
from flask import Flask, Request, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from werkzeug.exceptions import HTTPException
from werkzeug.utils import cached_property

from engine.errors import ConfigError, TradingError
from engine.telemetry import get_logger
from web.keys import KeyRing, is_loopback
from web.openapi import describe
from web.problems import Problem, of_http_error, of_trading_error, problem_response
from web.requests import authorise, caller, cycle_id, identify, request_id
from web.routing import Answer, Site, route, site_of

Health = Callable[[], Mapping[str, Any]]

_log = get_logger("web")
_library_log = logging.getLogger("web")  # knows at once whether a line would be dropped
_SERVER_ERROR = 500
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class _Request(Request):
    """A request whose body is read in one piece where its length is known.

    Werkzeug reads 64 kB at a time, and the candles of a batch are 0.8 MB.
    """

    @cached_property
    def stream(self) -> IO[bytes]:
        """The body. Raises RequestEntityTooLarge beyond MAX_CONTENT_LENGTH."""
        given = super().stream
        known = given.read(self.content_length or 0)
        return io.BytesIO(known + given.read())


def _healthy() -> Mapping[str, Any]:
    return {"status": "ok", "checks": {}}


def create_app(
    *,
    name: str,
    title: str,
    version: str,
    description: str,
    keys: KeyRing,
    host: str = "127.0.0.1",
    max_body_bytes: int = 16384,
    health: Health = _healthy,
) -> Flask:
    """An app that answers /health, /metrics and /openapi.json; add routes with `route`.

    Raises ConfigError when `host`, which it will be bound to, is off loopback and there is no
    key. `health` answers {"status": "ok" | "degraded" | "down", ...}; "down" is sent as 503.
    """
    site = Site(name, title, version, description, keys, CollectorRegistry())
    if not keys and not is_loopback(host):
        raise ConfigError([_no_key(site, host)])
    app = Flask(name, static_folder=None)
    app.request_class = _Request
    app.config["MAX_CONTENT_LENGTH"] = max_body_bytes
    app.extensions["web"] = site
    _add_hooks(app)
    _add_error_answers(app)
    _add_common_routes(app, health)
    return app


def metrics_registry(app: Flask) -> CollectorRegistry:
    """Where the app's own metrics and collectors are registered; /metrics shows them."""
    return site_of(app).registry


def _no_key(site: Site, host: str) -> str:
    is_service = site.section.startswith("services.")
    variable = f"SERVICES__{site.name.upper()}__KEY" if is_service else "TRADING_ENGINE_API_KEY"
    return (
        f"{site.section}.host: was {host!r}, which is off loopback, and no key is set; "
        f"set {variable}, or {site.section}.host to 127.0.0.1"
    )


def _add_hooks(app: Flask) -> None:
    site = site_of(app)
    observe = _request_metrics(site.registry)

    @app.before_request
    def begin() -> None:
        g.started = time.perf_counter()
        g.log_tokens = structlog.contextvars.bind_contextvars(**identify(request))
        declared = site.routes.get(request.endpoint or "")
        authorise(request, site.keys, declared.scope if declared is not None else None)

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers["X-Request-ID"] = request_id()
        if cycle_id():
            response.headers["X-Cycle-ID"] = cycle_id()
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Cache-Control", "no-store")
        seconds = time.perf_counter() - g.started
        observe(response.status_code, seconds)
        _log_request(response.status_code, seconds)
        return response

    @app.teardown_request
    def forget(_error: BaseException | None) -> None:
        structlog.contextvars.reset_contextvars(**g.pop("log_tokens", {}))


def _log_request(status: int, seconds: float) -> None:
    method, path, name, took = request.method, request.path, caller(), round(seconds, 4)
    if status >= _SERVER_ERROR:
        _log.warning(
            "request_failed", method=method, path=path, status=status, seconds=took, caller=name
        )
    elif _library_log.isEnabledFor(logging.DEBUG):
        _log.debug("request", method=method, path=path, status=status, seconds=took, caller=name)


def _request_metrics(registry: CollectorRegistry) -> Callable[[int, float], None]:
    """Count requests by route, never by path: a path may hold anything."""
    ProcessCollector(registry=registry)
    count = Counter(
        "http_requests", "Requests answered.", ["method", "route", "status"], registry=registry
    )
    duration = Histogram(
        "http_request_duration_seconds",
        "Seconds to an answer.",
        ["method", "route"],
        registry=registry,
    )

    def observe(status: int, seconds: float) -> None:
        rule = request.url_rule.rule if request.url_rule is not None else "unmatched"
        method = request.method if request.method in _METHODS else "other"
        count.labels(method, rule, str(status)).inc()
        duration.labels(method, rule).observe(seconds)

    return observe


def _add_error_answers(app: Flask) -> None:
    @app.errorhandler(Problem)
    def on_problem(error: Problem) -> Response:
        return problem_response(error, request_id())

    @app.errorhandler(HTTPException)
    def on_http_error(error: HTTPException) -> Response:
        return problem_response(of_http_error(error), request_id())

    @app.errorhandler(Exception)
    def on_exception(error: Exception) -> Response:
        problem = of_trading_error(error) if isinstance(error, TradingError) else None
        if problem is None:
            _log.error("unexpected_error", path=request.path, exc_info=error)
            detail = "the server failed; its log has the details under this request id"
            problem = Problem(500, "Internal server error", detail)
        return problem_response(problem, request_id())


def _add_common_routes(app: Flask, health: Health) -> None:
    site = site_of(app)
    described: list[bytes] = []

    @route(
        app,
        "GET",
        "/health",
        summary="Health of this server",
        scope=None,
        answers={200: dict[str, Any], 503: dict[str, Any]},
    )
    def get_health() -> Answer:
        state = health()
        return Answer(state, 503 if state.get("status") == "down" else 200)

    @route(
        app, "GET", "/metrics", summary="Metrics in the Prometheus text format", answers={200: None}
    )
    def get_metrics() -> Response:
        return Response(generate_latest(site.registry), content_type=CONTENT_TYPE_LATEST)

    @route(app, "GET", "/openapi.json", summary="This description", answers={200: dict[str, Any]})
    def get_description() -> bytes:
        if not described:
            described.append(describe(site))
        return described[0]
