"""What is known of the request that is being answered."""

from __future__ import annotations

import re
from typing import cast
from urllib.parse import urlsplit
from uuid import uuid4

from flask import Request, g

from web.keys import Key, KeyRing, Scope, is_loopback
from web.problems import Problem

_IDENTIFIER = re.compile(r"[A-Za-z0-9._:@/-]{1,128}")
LOCAL = "local"
ANONYMOUS = "anonymous"


def request_id() -> str:
    """The id of this request: the caller's X-Request-ID, or a new one."""
    return cast("str", g.get("request_id", ""))


def cycle_id() -> str:
    """The caller's X-Cycle-ID, or empty."""
    return cast("str", g.get("cycle_id", ""))


def caller() -> str:
    """The name of the key that was shown, `local` on a server without keys, or `anonymous`."""
    return cast("str", g.get("caller", ANONYMOUS))


def identify(request: Request) -> dict[str, str]:
    """Keep the request's ids; the fields that its log lines carry."""
    g.request_id = _identifier(request.headers.get("X-Request-ID", "")) or uuid4().hex
    g.cycle_id = _identifier(request.headers.get("X-Cycle-ID", ""))
    fields = {"request_id": g.request_id}
    if g.cycle_id:
        fields["cycle_id"] = g.cycle_id
    return fields


def _identifier(text: str) -> str:
    """The text if it may stand in a header and a log line, else empty."""
    return text if _IDENTIFIER.fullmatch(text) else ""


def authorise(request: Request, keys: KeyRing, scope: Scope | None) -> None:
    """Raise Problem 401 or 403 unless this request may use a route of `scope` (None: anyone)."""
    if not keys:
        _require_local(request)
        g.caller = LOCAL
        return
    key = _shown_key(request, keys)
    if key is not None:
        g.caller = key.name
    if scope is None:
        return
    if key is None:
        raise Problem(
            401,
            "Unauthorized",
            "send a valid key as `Authorization: Bearer KEY`",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if not key.may(scope):
        raise Problem(403, "Forbidden", f"this key lacks the scope {scope}", kind="scope")


def _shown_key(request: Request, keys: KeyRing) -> Key | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return None
    return keys.identify(token.strip())


def _require_local(request: Request) -> None:
    """Without keys a page of another site must not reach this server through a browser.

    A rebound name shows in Host, a cross-site request in Origin.
    """
    host = request.headers.get("Host", "")
    if host and not is_loopback(_hostname(host)):
        raise Problem(
            403,
            "Forbidden",
            "a server without keys answers to loopback names only",
            kind="foreign-host",
        )
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"{request.scheme}://{host}":
        raise Problem(
            403, "Forbidden", "a server without keys refuses other origins", kind="foreign-origin"
        )


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
