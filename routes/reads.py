"""Routes that only read: status, cycles, orders, decisions, positions, history, settings."""

from __future__ import annotations

from functools import partial
from typing import Any

from flask import Flask

from engine.config_source import config_hash, redacted
from engine.control import candles, health, performance, positions
from engine.control.desk import Desk
from engine.control.documents import Check, ConfigAnswer, Status
from engine.control.operator_documents import Positions, StrategyState
from engine.control.performance import PerformanceAnswer
from engine.control.requests import (
    AlertsQuery,
    CyclesQuery,
    DecisionsQuery,
    OrdersQuery,
    PageQuery,
    PerformanceQuery,
)
from engine.control.status import status
from engine.domain.cycle import CycleReport
from engine.domain.operator_views import (
    AlertRow,
    DecisionCandles,
    DecisionRow,
    DecisionStory,
    StateRow,
    Trace,
)
from engine.domain.views import AuditRow, CycleDetail, OrderRow, OrderStory, Page
from routes.shared import identifier
from web import Answer, route

Answers = dict[int, Any]
AUDIT = "Who asked for a change, and what was answered, newest first"


def add_reads(app: Flask, desk: Desk) -> None:
    """Every route that changes nothing."""
    _add_state(app, desk)
    _add_cycles(app, desk)
    _add_orders(app, desk)
    _add_decisions(app, desk)
    _add_history(app, desk)
    _add_probes(app, desk)


def _add_state(app: Flask, desk: Desk) -> None:
    settings = desk.engine.settings
    get = partial(route, app, "GET")

    @get("/status", summary="The state of everything", answers={200: Status, 503: None})
    def get_status() -> Status:
        return status(desk)

    @get(
        "/performance",
        summary="How a span went",
        query=PerformanceQuery,
        answers={200: PerformanceAnswer, 503: None},
    )
    def get_performance(query: PerformanceQuery) -> PerformanceAnswer:
        return performance.performance(desk, query.window)

    @get("/config", summary="Effective settings, secrets masked", answers={200: ConfigAnswer})
    def get_config() -> ConfigAnswer:
        return ConfigAnswer(config_hash=config_hash(settings), settings=redacted(settings))

    @get(
        "/positions",
        summary="What is held, the largest value first",
        query=PageQuery,
        answers={200: Positions, 503: None},
    )
    def list_positions(query: PageQuery) -> Positions:
        return positions.positions(desk, query.limit, query.before)


def _add_cycles(app: Flask, desk: Desk) -> None:
    get = partial(route, app, "GET")

    @get(
        "/cycles",
        summary="Reports, newest first",
        query=CyclesQuery,
        answers={200: Page[CycleReport], 503: None},
    )
    def list_cycles(query: CyclesQuery) -> Page[CycleReport]:
        return desk.queries.cycles(query.limit, query.before)

    @get(
        "/cycles/<cycle_id>",
        summary="One cycle whole",
        answers={200: CycleDetail, 404: None, 503: None},
    )
    def one_cycle(cycle_id: str) -> CycleDetail:
        return desk.queries.cycle(identifier(cycle_id))

    @get(
        "/cycles/<cycle_id>/trace",
        summary="The timeline of a cycle, from the request to the last fill",
        answers={200: Trace, 404: None, 503: None},
    )
    def trace(cycle_id: str) -> Trace:
        return desk.operator.trace(identifier(cycle_id))


def _add_orders(app: Flask, desk: Desk) -> None:
    get = partial(route, app, "GET")
    found: Answers = {200: DecisionCandles, 404: None, 503: None}

    @get(
        "/orders",
        summary="Orders, newest first",
        query=OrdersQuery,
        answers={200: Page[OrderRow], 503: None},
    )
    def list_orders(query: OrdersQuery) -> Page[OrderRow]:
        return desk.queries.orders(query.limit, query.before, query.state, query.symbol)

    @get(
        "/orders/<client_order_id>",
        summary="One order whole",
        answers={200: OrderStory, 404: None, 503: None},
    )
    def one_order(client_order_id: str) -> OrderStory:
        return desk.queries.order(identifier(client_order_id))

    @get(
        "/orders/<client_order_id>/candles",
        summary="The candles that an order was decided on",
        answers=found,
    )
    def order_candles(client_order_id: str) -> DecisionCandles:
        return candles.of_order(desk, identifier(client_order_id))

    @get(
        "/decisions/<decision_id>/candles",
        summary="The candles that a decision was made on",
        answers=found,
    )
    def decision_candles(decision_id: str) -> DecisionCandles:
        return candles.of_decision(desk, identifier(decision_id))


def _add_decisions(app: Flask, desk: Desk) -> None:
    get = partial(route, app, "GET")

    @get(
        "/decisions",
        summary="Every decision, denied ones too, with the rule that bound, newest first",
        query=DecisionsQuery,
        answers={200: Page[DecisionRow], 503: None},
    )
    def list_decisions(query: DecisionsQuery) -> Page[DecisionRow]:
        return desk.operator.decisions(
            query.limit,
            query.before,
            cycle=query.cycle,
            symbol=query.symbol,
            verdict=query.verdict,
        )

    @get(
        "/decisions/<decision_id>",
        summary="One decision whole",
        answers={200: DecisionStory, 404: None, 503: None},
    )
    def one_decision(decision_id: str) -> DecisionStory:
        return desk.operator.decision(identifier(decision_id))

    @get(
        "/strategies",
        summary="Configured strategies, and where they are throttled",
        answers={200: Page[StrategyState], 503: None},
    )
    def list_strategies() -> Page[StrategyState]:
        disabled = desk.operator.disabled_strategies()
        return Page(
            items=tuple(
                StrategyState(
                    strategy=entry.id,
                    name=entry.name,
                    parameters=dict(entry.parameters),
                    disabled=tuple(each for each in disabled if each.strategy == entry.id),
                )
                for entry in desk.engine.settings.services.strategy.strategies
            )
        )


def _add_history(app: Flask, desk: Desk) -> None:
    get = partial(route, app, "GET", query=PageQuery)

    @get(
        "/states",
        summary="Changes of the trading state with their causes, newest first",
        answers={200: Page[StateRow], 503: None},
    )
    def list_states(query: PageQuery) -> Page[StateRow]:
        return desk.operator.states(query.limit, query.before)

    @get("/audit", summary=AUDIT, answers={200: Page[AuditRow], 503: None})
    def list_audit(query: PageQuery) -> Page[AuditRow]:
        return desk.queries.audit(query.limit, query.before)

    @route(
        app,
        "GET",
        "/alerts",
        summary="Alerts of the engine's ledger, newest first",
        query=AlertsQuery,
        answers={200: Page[AlertRow], 503: None},
    )
    def list_alerts(query: AlertsQuery) -> Page[AlertRow]:
        open_only = query.state == "open"
        return desk.operator.alerts(query.limit, query.before, open_only=open_only)


def _add_probes(app: Flask, desk: Desk) -> None:
    get = partial(route, app, "GET", scope=None)

    @get("/health/live", summary="This process answers", answers={200: dict[str, str]})
    def live() -> dict[str, str]:
        return {"status": "ok"}

    @get("/health/ready", summary="The ledger answers", answers={200: Check, 503: Check})
    def ready() -> Answer:
        check = health.is_ready(desk)
        return Answer(check, 200 if check.status == "ok" else 503)
