"""The plain page at `/`: rendered on the server, without scripts."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

import jinja2
from flask import Flask, Response

from engine.control.desk import Desk
from engine.control.documents import Status
from engine.control.status import is_simulated, status
from engine.domain.model import TradingState
from engine.errors import LedgerUnavailable
from engine.settings import Settings
from web import KeyRing, caller, route

FOLDER = Path(__file__).parent
CONTENT_POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
ROWS = 15
CENT = Decimal("0.01")


def add_page(app: Flask, desk: Desk, keys: KeyRing) -> None:
    """Add `/` and its style sheet. Without a key the page is a shell that holds no data."""
    template = _environment().get_template("page.html")
    styles = (FOLDER / "page.css").read_bytes()

    @route(app, "GET", "/", summary="The state on one page", answers={200: None}, scope=None)
    def overview() -> Response:
        context = _context(desk) if may_read(keys, caller()) else _shell(desk.engine.settings)
        return _page(template.render(context))

    @route(app, "GET", "/page.css", summary="The page's style", answers={200: None}, scope=None)
    def style() -> Response:
        return Response(styles, content_type="text/css; charset=utf-8")


def may_read(keys: KeyRing, name: str) -> bool:
    """Whether the caller of this name may see data: all may on a server without keys."""
    return not keys or any(key.name == name and key.may("read") for key in keys.keys)


def mode_badge(settings: Settings, *, simulated: bool) -> str:
    """LIVE, or SIMULATED where prices are replayed or made up, else PAPER."""
    if settings.trading_engine.mode == "live":
        return "LIVE"
    return "SIMULATED" if simulated else "PAPER"


def _page(text: str) -> Response:
    response = Response(text, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = CONTENT_POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _context(desk: Desk) -> dict[str, object]:
    settings = desk.engine.settings
    try:
        known = status(desk)
        snapshot = desk.engine.ledger.state.last_snapshot()
        reports = desk.queries.cycles(ROWS, None).items
        orders = desk.queries.orders(ROWS, None, None, None).items
    except LedgerUnavailable as error:
        shell = _shell(settings)
        return {**shell, "headline": "The ledger does not answer", "explanation": str(error)}
    return {
        "badge": mode_badge(settings, simulated=known.simulated),
        "account": settings.trading_engine.account,
        "flower": _flower(settings),
        "status": known,
        "headline": _headline(known),
        "tone": "" if known.trading_state is TradingState.ACTIVE else "bad",
        "now": desk.engine.clock.now(),
        "cycles": reports,
        "orders": orders,
        "positions": [held for held in snapshot.positions if held.quantity] if snapshot else [],
    }


def _shell(settings: Settings) -> dict[str, object]:
    return {
        "badge": mode_badge(settings, simulated=is_simulated(settings, None)),
        "account": settings.trading_engine.account,
        "flower": _flower(settings),
        "status": None,
        "headline": "A key is needed",
        "explanation": (
            "This page holds no data without one. "
            "Ask with: curl -H 'Authorization: Bearer KEY' and the address of /status"
        ),
    }


def _headline(known: Status) -> str:
    word = known.trading_state.value
    if known.trading_state is not TradingState.ACTIVE:
        return f"{word} since {_instant(known.state.since)}: {known.state.reason or 'see below'}"
    current = known.current_cycle
    if current is not None:
        return f"{word}, a cycle is running ({current.progress.stage})"
    return f"{word}, schedule {known.schedule}"


def _flower(settings: Settings) -> str:
    flower = settings.flower
    return f"http://{flower.host}:{flower.port}/" if flower.enabled else ""


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters.update(
        clock=lambda at: f"{at:%H:%M:%S}",
        instant=_instant,
        money=lambda value: f"{value:,.2f}",
        cents=lambda value: f"{value.quantize(CENT):,f}",
        signed=_signed,
        percent=lambda value: f"{value:.2%}",
    )
    return environment


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _signed(value: Decimal) -> str:
    return f"{value.quantize(CENT):+,f}".replace("-", "−")
