"""The operator's page at `/` and the API reference at `/docs`: files that hold no data.

They are read once at the start, need no key, and name nothing of another host.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from flask import Flask, Response, request

from web import Problem, route

FOLDER = Path(__file__).parent / "static"
RUNBOOK = Path(__file__).parents[1] / "docs" / "operations.md"
CONTENT_POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain; charset=utf-8",
}


class PageOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`/`: how the page is to look."""

    theme: Literal["light", "dark"] | None = None


@dataclass(frozen=True)
class _File:
    content: bytes
    content_type: str
    etag: str


def add_page(app: Flask) -> None:
    """Add `/`, `/docs`, `/runbook` and the files that they load."""
    _add_runbook(app)
    files = {
        path.relative_to(FOLDER).as_posix(): _read(path)
        for path in sorted(FOLDER.rglob("*"))
        if path.is_file()
    }

    @route(
        app,
        "GET",
        "/",
        summary="The operator's page",
        query=PageOptions,
        answers={200: None},
        scope=None,
    )
    def page(query: PageOptions) -> Response:  # noqa: ARG001  the page's script reads them
        return _answer(files["index.html"])

    @route(app, "GET", "/docs", summary="The API reference", answers={200: None}, scope=None)
    def reference() -> Response:
        return _answer(files["docs.html"])

    @route(
        app,
        "GET",
        "/assets/<path:name>",
        summary="A file that the page loads",
        answers={200: None, 404: None},
        scope=None,
    )
    def asset(name: str) -> Response:
        found = files.get(name)
        if found is None:
            raise Problem(404, "Not found", "there is no such file")
        return _answer(found)


def _add_runbook(app: Flask) -> None:
    @route(
        app,
        "GET",
        "/runbook",
        summary="The operations guide, as text",
        answers={200: None, 404: None},
        scope=None,
    )
    def runbook() -> Response:
        if not RUNBOOK.is_file():
            raise Problem(404, "Not found", "docs/operations.md is not installed here")
        return _answer(_read(RUNBOOK, "text/plain; charset=utf-8"))


def _read(path: Path, content_type: str | None = None) -> _File:
    content = path.read_bytes()
    kind = content_type or TYPES[path.suffix]
    return _File(content, kind, hashlib.sha256(content).hexdigest()[:32])


def _answer(file: _File) -> Response:
    response = Response(file.content, content_type=file.content_type)
    response.headers["Content-Security-Policy"] = CONTENT_POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-cache"
    response.set_etag(file.etag)
    response.make_conditional(request)
    return response
