"""Every request that may change something is written down, allowed or refused."""

from __future__ import annotations

import time

from flask import Flask, Response, g, request

from engine.control import audit
from engine.control.desk import Desk
from engine.domain.views import AuditEntry
from web import caller, request_id

DETAIL_LENGTH = 500
READS = frozenset({"GET", "HEAD", "OPTIONS"})
FIRST_ERROR = 400


def add_audit(app: Flask, desk: Desk) -> None:
    """Append an entry after each request that is not a read."""

    @app.after_request
    def write_down(response: Response) -> Response:
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
        asked = request.get_data(as_text=True)[:DETAIL_LENGTH]
        return f"{_about()}{asked}{_confirmed(response)}"
    body = response.get_json(silent=True)
    return str(body.get("detail", ""))[:DETAIL_LENGTH] if isinstance(body, dict) else ""


def _about() -> str:
    """The position, alert or strategy that the path names."""
    named = " ".join(str(value) for value in (request.view_args or {}).values())
    return f"{named} "[:DETAIL_LENGTH] if named else ""


def _confirmed(response: Response) -> str:
    """Of a halt, which sides had confirmed it when it was answered: the audit asks for it."""
    if request.path != "/halt":
        return ""
    body = response.get_json(silent=True)
    sides = ("ledger", "execution")
    return "".join(f" {side}={body[side]}" for side in sides) if isinstance(body, dict) else ""
