"""The portfolio service over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

import web
from engine.domain.account import Oversold
from engine.domain.decimals import decimal_text
from engine.domain.messages import FillsApplied
from engine.settings import Settings
from engine.telemetry import get_logger
from services.portfolio.contract import (
    EquityAnswer,
    EquityQuery,
    FillsBody,
    MarksAnswer,
    MarksBody,
    PortfolioAnswer,
    portfolio_answer,
)
from services.portfolio.store import Gap, Mismatch, PortfolioStore
from web import KeyRing, Problem, route

log = get_logger(__name__)

FILE_NAME = "portfolio.sqlite"
# A page of events that are all fills, and the marks of a large universe, fit.
MAX_BODY_BYTES = 4 * 1024 * 1024


def wall_time() -> datetime:
    """The current instant, aware, UTC."""
    return datetime.now(UTC)


def create_app(settings: Settings, *, now: Callable[[], datetime] = wall_time) -> Flask:
    """The service's app on `data_dir/portfolio.sqlite`. Raises ConfigError."""
    section = settings.services.portfolio
    store = PortfolioStore(
        Path(settings.data_dir) / FILE_NAME,
        name=settings.trading_engine.account,
        currency=settings.trading_engine.account_currency,
        cash=section.cash,
        busy_timeout_s=settings.ledger.busy_timeout_s,
    )
    app = web.create_app(
        name="portfolio",
        title="Portfolio",
        version="1.0",
        description="Cash, positions and results of one account, exact to the last digit.",
        keys=KeyRing.single(section.key.get_secret_value()),
        host=section.host,
        max_body_bytes=MAX_BODY_BYTES,
        health=lambda: _health(store, now),
    )
    _add_routes(app, store, now)
    return app


def _health(store: PortfolioStore, now: Callable[[], datetime]) -> dict[str, Any]:
    try:
        applied_seq = store.snapshot(now()).applied_seq
    except SQLAlchemyError as error:
        return {"status": "down", "checks": {"store": {"status": "down", "detail": str(error)}}}
    return {"status": "ok", "checks": {"store": {"status": "ok", "applied_seq": applied_seq}}}


def _add_routes(app: Flask, store: PortfolioStore, now: Callable[[], datetime]) -> None:
    @route(
        app, "GET", "/portfolio", summary="The account, one state", answers={200: PortfolioAnswer}
    )
    def portfolio() -> PortfolioAnswer:
        return portfolio_answer(store.snapshot(now()))

    @route(
        app,
        "POST",
        "/fills",
        summary="Apply fills, each once",
        body=FillsBody,
        answers={200: FillsApplied, 409: None},
        scope="control",
    )
    def fills(body: FillsBody) -> FillsApplied:
        return _apply_fills(store, body)

    @route(
        app,
        "POST",
        "/marks",
        summary="Value the holdings at market prices",
        body=MarksBody,
        answers={200: MarksAnswer},
        scope="control",
    )
    def marks(body: MarksBody) -> MarksAnswer:
        applied, equity = store.apply_marks(body.values(), body.as_of)
        return MarksAnswer(applied=applied, equity=decimal_text(equity))

    @route(
        app,
        "GET",
        "/equity",
        summary="The equity curve",
        query=EquityQuery,
        answers={200: EquityAnswer},
    )
    def equity(query: EquityQuery) -> EquityAnswer:
        return EquityAnswer(points=store.equity(query.since))


def _apply_fills(store: PortfolioStore, body: FillsBody) -> FillsApplied:
    try:
        applied = store.apply_fills(body.through_seq, [each.fill() for each in body.fills])
    except Gap as exc:
        extra: dict[str, object] = {"applied_seq": exc.applied_seq, "fill_ids": exc.fill_ids}
        raise Problem(409, "Gap", str(exc), kind="gap", extra=extra) from exc
    except Mismatch as exc:
        raise Problem(409, "Body mismatch", str(exc), kind="body-mismatch") from exc
    except Oversold as exc:
        raise Problem(409, "Oversold", str(exc), kind="oversold") from exc
    if applied.applied:
        log.info("fills_applied", count=len(applied.applied), applied_seq=applied.applied_seq)
    return applied
