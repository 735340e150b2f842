"""Routes that change something: schedule, cycles, trading state, positions, strategies, alerts."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

from flask import Flask, Response

from engine.control import cycles, halt, lifecycle, positions
from engine.control.desk import Desk
from engine.control.documents import CycleAccepted, Halted, Resumed, Started, Stopped
from engine.control.operator_documents import Adopted, Enabled, ExitAsked, Reduced
from engine.control.requests import (
    AdoptBody,
    CloseBody,
    CycleBody,
    CycleQuery,
    HaltBody,
    ReduceBody,
    ResumeBody,
)
from engine.domain.cycle import CycleReport
from engine.domain.model import TradingState
from engine.domain.operator_views import AlertRow
from routes.shared import identifier, once, wish
from web import Answer, Problem, caller, request_id, route
from web.problems import problem_response

Answers = dict[int, Any]

START: Answers = {200: Started, 409: None, 503: None}
STOP: Answers = {200: Stopped, 503: None}
CYCLE: Answers = {200: CycleReport, 202: CycleAccepted, 409: None, 503: None}
HALT: Answers = {200: Halted, 503: None}
REDUCE: Answers = {200: Reduced, 409: None, 503: None}
RESUME: Answers = {200: Resumed, 409: None, 503: None}
CLOSE: Answers = {202: ExitAsked, 404: None, 409: None, 503: None}
ADOPT: Answers = {200: Adopted, 404: None, 409: None, 503: None}
ENABLE: Answers = {200: Enabled, 404: None, 503: None}
ACKNOWLEDGE: Answers = {200: AlertRow, 404: None, 503: None}


def add_controls(app: Flask, desk: Desk) -> None:
    """Every route that is not a read."""
    _add_lifecycle(app, desk)
    _add_cycle(app, desk)
    _add_state(app, desk)
    _add_positions(app, desk)


def _add_lifecycle(app: Flask, desk: Desk) -> None:
    post = partial(route, app, "POST", scope="control")

    @post("/start", summary="Schedule cycles, the first one at once", answers=START)
    def start() -> Answer:
        return once(desk, lambda: Answer(lifecycle.start(desk, caller())))

    @post("/stop", summary="Schedule no further cycle; one in progress finishes", answers=STOP)
    def stop() -> Answer:
        return once(desk, lambda: Answer(lifecycle.stop(desk, caller())))

    @app.errorhandler(lifecycle.PreflightFailed)
    def preflight_failed(error: lifecycle.PreflightFailed) -> Response:
        failed = [{"name": name, "reason": reason} for name, reason in error.failed.items()]
        return _refusal(str(error), "preflight", {"failed_checks": failed})


def _add_cycle(app: Flask, desk: Desk) -> None:
    # Whoever waits holds a thread of the server; the rest must stay free, for POST /halt.
    seats = threading.BoundedSemaphore(max(desk.engine.settings.api.threads // 4, 1))
    post = partial(route, app, "POST", scope="cycle")

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
            cycle_id = cycles.request_cycle(desk, wish(), body.symbols, dry_run=body.dry_run)
            report = wait(cycle_id, query.wait)
            if report is not None:
                return Answer(report)
            url = f"/cycles/{cycle_id}"
            return Answer(CycleAccepted(cycle_id=cycle_id, status_url=url), 202, {"Location": url})

        return once(desk, produce)

    @app.errorhandler(cycles.CycleOpen)
    def cycle_open(error: cycles.CycleOpen) -> Response:
        return _refusal(str(error), "cycle-open", {"cycle_id": error.cycle_id})


def _add_state(app: Flask, desk: Desk) -> None:
    post = partial(route, app, "POST")

    @post("/halt", summary="Kill switch", body=HaltBody, answers=HALT, scope="halt")
    def stop_trading(body: HaltBody) -> Halted:
        return halt.halt(desk, body.reason, caller(), cancel_open=body.cancel_open)

    @post(
        "/reduce",
        summary="Lower the trading state to REDUCING: only orders that shrink a position leave",
        body=ReduceBody,
        answers=REDUCE,
        scope="halt",
    )
    def reduce(body: ReduceBody) -> Reduced:
        return halt.reduce(desk, body.reason, caller())

    @post(
        "/resume",
        summary="Raise the trading state once reconciliation is clean",
        body=ResumeBody,
        answers=RESUME,
        scope="control",
    )
    def resume(body: ResumeBody) -> Resumed:
        return halt.resume(desk, TradingState(body.state), body.reason, caller())


def _add_positions(app: Flask, desk: Desk) -> None:
    post = partial(route, app, "POST", scope="control")

    @post(
        "/positions/<path:symbol>/close",
        summary="Ask the next cycle to leave a position, also while REDUCING",
        body=CloseBody,
        answers=CLOSE,
    )
    def close(symbol: str, body: CloseBody) -> Answer:
        def produce() -> Answer:
            return Answer(positions.close(desk, identifier(symbol), body.reason, caller()), 202)

        return once(desk, produce)

    @post(
        "/positions/<path:symbol>/adopt",
        summary="Give a foreign position to a strategy",
        body=AdoptBody,
        answers=ADOPT,
    )
    def adopt(symbol: str, body: AdoptBody) -> Answer:
        given = identifier(symbol)
        return once(desk, lambda: Answer(positions.adopt(desk, given, body.strategy, caller())))

    @post(
        "/strategies/<name>/enable",
        summary="Let a throttled strategy enter again",
        answers=ENABLE,
    )
    def enable(name: str) -> Answer:
        return once(desk, lambda: Answer(positions.enable(desk, identifier(name), caller())))

    @post("/alerts/<alert_id>/ack", summary="Note that an alert was seen", answers=ACKNOWLEDGE)
    def acknowledge(alert_id: str) -> AlertRow:
        now = desk.engine.clock.now()
        return desk.operator.acknowledge(identifier(alert_id), caller(), now)


def _refusal(detail: str, kind: str, extra: dict[str, object]) -> Response:
    problem = Problem(409, "Refused", detail, kind=kind, extra=extra)
    return problem_response(problem, request_id())
