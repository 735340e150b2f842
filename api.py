"""The control API: thin routes over `engine.control`, served on port 8001."""

from __future__ import annotations

import re
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import msgspec
from flask import Flask, Response, g, request

import web
from dashboard import page
from engine.config_source import config_hash, load_settings, redacted, secret_values
from engine.control import audit, cycles, halt, health, idempotency, lifecycle, metrics, performance
from engine.control.desk import Desk
from engine.control.documents import (
    Check,
    ConfigAnswer,
    CycleAccepted,
    Halted,
    Resumed,
    Started,
    Status,
    Stopped,
)
from engine.control.performance import PerformanceAnswer
from engine.control.requests import (
    CycleBody,
    CycleQuery,
    CyclesQuery,
    HaltBody,
    OrdersQuery,
    PerformanceQuery,
    ResumeBody,
)
from engine.control.status import status
from engine.domain.cycle import CycleReport
from engine.domain.model import TradingState
from engine.domain.views import AuditEntry, CycleDetail, OrderRow, OrderStory, Page
from engine.errors import ConfigError
from engine.telemetry import configure_logging, get_logger
from engine.version import VERSION
from web import Answer, KeyRing, Problem, caller, request_id, route
from web.problems import problem_response

log = get_logger("api")
Answers = dict[int, Any]

DESCRIPTION = (
    "Starts, stops and queries the trading engine. Money and quantities are decimal text, times "
    "ISO 8601 UTC. Errors are RFC 9457 problem documents."
)
START: Answers = {200: Started, 409: None, 503: None}
STOP: Answers = {200: Stopped, 503: None}
CYCLE: Answers = {200: CycleReport, 202: CycleAccepted, 409: None, 503: None}
CYCLES: Answers = {200: Page[CycleReport]}
HALT: Answers = {200: Halted, 503: None}
RESUME: Answers = {200: Resumed, 409: None, 503: None}
RESUMES = "Raise the trading state once reconciliation is clean"
ORDERS: Answers = {200: Page[OrderRow]}
ORDER: Answers = {200: OrderStory, 404: None}
PERFORMANCE: Answers = {200: PerformanceAnswer}
DETAIL_LENGTH = 500
READS = frozenset({"GET", "HEAD", "OPTIONS"})
FIRST_ERROR = 400
IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,128}")


def create_api(desk: Desk, keys: KeyRing | None = None) -> Flask:
    """The app over `desk`. Raises ConfigError when it is bound off loopback without a key."""
    settings = desk.engine.settings
    if keys is None:
        keys = KeyRing.from_settings(settings.api.key.get_secret_value(), settings.api.keys_file)
    app = web.create_app(
        name="trading_engine",
        title="Trading engine",
        version=VERSION,
        description=DESCRIPTION,
        keys=keys,
        host=settings.trading_engine.host,
        max_body_bytes=settings.api.max_body_bytes,
        health=lambda: cast("dict[str, Any]", msgspec.to_builtins(health.health(desk))),
    )
    app.after_request(lambda response: _audited(desk, response))
    _add_lifecycle(app, desk)
    _add_cycles(app, desk)
    _add_kill_switch(app, desk)
    _add_reads(app, desk)
    _add_probes(app, desk)
    page.add_page(app, desk, keys)
    metrics.register(web.metrics_registry(app), desk)
    return app


def _add_lifecycle(app: Flask, desk: Desk) -> None:
    post = partial(route, app, "POST", scope="control")

    @post("/start", summary="Schedule cycles, the first one at once", answers=START)
    def start() -> Answer:
        return _once(desk, lambda: Answer(lifecycle.start(desk, caller())))

    @post("/stop", summary="Schedule no further cycle; one in progress finishes", answers=STOP)
    def stop() -> Answer:
        return _once(desk, lambda: Answer(lifecycle.stop(desk, caller())))

    @app.errorhandler(lifecycle.PreflightFailed)
    def preflight_failed(error: lifecycle.PreflightFailed) -> Response:
        failed = [{"name": name, "reason": reason} for name, reason in error.failed.items()]
        return _problem(
            Problem(409, "Refused", str(error), kind="preflight", extra={"failed_checks": failed})
        )


def _add_cycles(app: Flask, desk: Desk) -> None:
    # Whoever waits holds a thread of the server; the rest must stay free, for POST /halt.
    seats = threading.BoundedSemaphore(max(desk.engine.settings.api.threads // 4, 1))
    post, get = partial(route, app, "POST", scope="cycle"), partial(route, app, "GET")

    def wait(cycle_id: str, seconds: float) -> CycleReport | None:
        if seconds <= 0 or not seats.acquire(blocking=False):
            return None
        try:
            return cycles.wait_for_report(desk, cycle_id, seconds)
        finally:
            seats.release()

    @post("/cycle", summary="Run one cycle now", body=CycleBody, query=CycleQuery, answers=CYCLE)
    def cycle(body: CycleBody, query: CycleQuery) -> Answer:
        def produce() -> Answer:
            cycle_id = cycles.request_cycle(desk, _wish(), body.symbols, dry_run=body.dry_run)
            report = wait(cycle_id, query.wait)
            if report is not None:
                return Answer(report)
            url = f"/cycles/{cycle_id}"
            return Answer(CycleAccepted(cycle_id=cycle_id, status_url=url), 202, {"Location": url})

        return _once(desk, produce)

    @app.errorhandler(cycles.CycleOpen)
    def cycle_open(error: cycles.CycleOpen) -> Response:
        extra: dict[str, object] = {"cycle_id": error.cycle_id}
        return _problem(Problem(409, "Refused", str(error), kind="cycle-open", extra=extra))

    @get("/cycles", summary="Reports, newest first", query=CyclesQuery, answers=CYCLES)
    def list_cycles(query: CyclesQuery) -> Page[CycleReport]:
        return desk.queries.cycles(query.limit, query.before)

    @get("/cycles/<cycle_id>", summary="One cycle whole", answers={200: CycleDetail, 404: None})
    def one_cycle(cycle_id: str) -> CycleDetail:
        return desk.queries.cycle(_identifier(cycle_id))


def _add_kill_switch(app: Flask, desk: Desk) -> None:
    post = partial(route, app, "POST")

    @post("/halt", summary="Kill switch", body=HaltBody, answers=HALT, scope="halt")
    def stop_trading(body: HaltBody) -> Halted:
        return halt.halt(desk, body.reason, caller(), cancel_open=body.cancel_open)

    @post("/resume", summary=RESUMES, body=ResumeBody, answers=RESUME, scope="control")
    def resume(body: ResumeBody) -> Resumed:
        return halt.resume(desk, TradingState(body.state), body.reason, caller())


def _add_reads(app: Flask, desk: Desk) -> None:
    settings = desk.engine.settings
    get = partial(route, app, "GET")

    @get("/status", summary="The state of everything", answers={200: Status})
    def get_status() -> Status:
        return status(desk)

    @get("/orders", summary="Orders, newest first", query=OrdersQuery, answers=ORDERS)
    def list_orders(query: OrdersQuery) -> Page[OrderRow]:
        return desk.queries.orders(query.limit, query.before, query.state, query.symbol)

    @get("/orders/<client_order_id>", summary="One order whole", answers=ORDER)
    def one_order(client_order_id: str) -> OrderStory:
        return desk.queries.order(_identifier(client_order_id))

    @get("/performance", summary="How a span went", query=PerformanceQuery, answers=PERFORMANCE)
    def get_performance(query: PerformanceQuery) -> PerformanceAnswer:
        return performance.performance(desk, query.window)

    @get("/config", summary="Effective settings, secrets masked", answers={200: ConfigAnswer})
    def get_config() -> ConfigAnswer:
        return ConfigAnswer(config_hash=config_hash(settings), settings=redacted(settings))


def _add_probes(app: Flask, desk: Desk) -> None:
    get = partial(route, app, "GET", scope=None)

    @get("/health/live", summary="This process answers", answers={200: dict[str, str]})
    def live() -> dict[str, str]:
        return {"status": "ok"}

    @get("/health/ready", summary="The ledger answers", answers={200: Check, 503: Check})
    def ready() -> Answer:
        check = health.is_ready(desk)
        return Answer(check, 200 if check.status == "ok" else 503)


def _identifier(text: str) -> str:
    """An id from a path. What no id can be is not found rather than asked of a database."""
    if not text.isprintable() or not text.isascii():
        raise Problem(404, "Not found", "there is nothing of this id")
    return text


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and IDEMPOTENCY_KEY.fullmatch(key) is None:
        raise Problem(
            422,
            "Invalid request",
            "Idempotency-Key: 1 to 128 printable ASCII characters",
            kind="invalid-request",
        )
    return key


def _wish() -> str:
    """What makes this wish for a cycle one: the caller's Idempotency-Key, else the request."""
    key = _idempotency_key()
    return f"{caller()}|{key}" if key is not None else str(uuid.uuid4())


def _once(desk: Desk, produce: Callable[[], Answer]) -> Answer:
    key = _idempotency_key()
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


def _problem(problem: Problem) -> Response:
    return problem_response(problem, request_id())


def _audited(desk: Desk, response: Response) -> Response:
    if request.method in READS:
        return response
    entry = AuditEntry(
        request_id=request_id(),
        actor=caller(),
        method=request.method,
        route=request.url_rule.rule if request.url_rule is not None else "unmatched",
        status=response.status_code,
        detail=_detail(response),
        source=request.remote_addr or "",
    )
    audit.write(desk, entry, time.perf_counter() - g.started)
    return response


def _detail(response: Response) -> str:
    """What was asked, or why it was refused; never a header."""
    if response.status_code < FIRST_ERROR:
        return request.get_data(as_text=True)[:DETAIL_LENGTH] + _confirmed(response)
    body = response.get_json(silent=True)
    return str(body.get("detail", ""))[:DETAIL_LENGTH] if isinstance(body, dict) else ""


def _confirmed(response: Response) -> str:
    """Of a halt, which sides had confirmed it when it was answered: the audit asks for it."""
    if request.path != "/halt":
        return ""
    body = response.get_json(silent=True)
    sides = ("ledger", "execution")
    return "".join(f" {side}={body[side]}" for side in sides) if isinstance(body, dict) else ""


def main() -> int:
    """Serve until SIGTERM or Ctrl-C; the exit status."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        settings = load_settings()
        configure_logging(settings.log, "api", secrets=secret_values(settings))
        # Celery's settings are read on import: only now are they known to be sound.
        from tasks.desk import build_desk  # noqa: PLC0415

        app = create_api(build_desk("api"))
        engine = settings.trading_engine
        server = web.serve(app, engine.host, engine.port, settings.api.threads)
    except ConfigError as error:
        sys.stderr.writelines(f"{fault}\n" for fault in error.faults)
        return 1
    log.info("api_ready", url=server.url)
    stopping.wait()
    server.close(grace_s=2.0)
    log.info("api_stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
