"""The control API over HTTP, with a key; what goes wrong is one of three errors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import requests

DEFAULT_PORT = "8001"
ANSWER_S = 15.0
KEPT_KEY = "api_key"
SERVER_ERRORS = 500
REFUSALS = 400

Json = Any


class UsageFault(Exception):
    """What was typed, or what the environment says, cannot be used; exit status 2."""


class RefusedByServer(Exception):
    """The API understood and said no; exit status 1. `document` is its problem document."""

    def __init__(self, message: str, document: Mapping[str, Json]) -> None:
        super().__init__(message)
        self.document = document


class NoAnswer(Exception):
    """Nobody answers, or not with what the API answers; exit status 3."""


class Connection:
    """One API at `url`."""

    def __init__(self, url: str, key: str = "") -> None:
        self.url = url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False  # neither a proxy nor ~/.netrc gets to see the key
        if key:
            self._session.headers["Authorization"] = f"Bearer {key}"

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], url: str | None, key_file: str | None
    ) -> Self:
        """Where and with which key, by options first. Raises UsageFault."""
        port = environ.get("TRADING_ENGINE__PORT", "") or DEFAULT_PORT
        base = url or environ.get("TRADING_ENGINE_URL", "") or f"http://127.0.0.1:{port}"
        if not base.startswith(("http://", "https://")):
            raise UsageFault(f"--url: was {base!r}; allowed: http://HOST:PORT or https://...")
        return cls(base, find_key(environ, key_file))

    def get(self, path: str, **query: str | int) -> Json:
        """The JSON of a GET. Raises RefusedByServer, NoAnswer."""
        return self._call("GET", path, query, None, ANSWER_S)

    def post(
        self, path: str, body: Mapping[str, Json] | None = None, *, wait_s: float = 0.0
    ) -> Json:
        """The JSON of a POST, which may take `wait_s` longer. Raises RefusedByServer, NoAnswer."""
        query = {"wait": f"{wait_s:g}"} if wait_s else {}
        return self._call("POST", path, query, dict(body or {}), ANSWER_S + wait_s)

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int],
        body: dict[str, Json] | None,
        timeout_s: float,
    ) -> Json:
        try:
            reply = self._session.request(
                method,
                self.url + path,
                params=dict(query),
                json=body,
                timeout=timeout_s,
                allow_redirects=False,
            )
        except requests.Timeout as exc:
            raise NoAnswer(f"{self.url} did not answer within {timeout_s:.0f} s") from exc
        except (requests.RequestException, UnicodeError, ValueError) as exc:
            raise NoAnswer(f"{self.url} does not answer; is the engine running there?") from exc
        try:
            document = reply.json()
        except ValueError as exc:
            raise NoAnswer(f"what answers at {self.url} is not the trading engine") from exc
        if reply.status_code >= REFUSALS:
            raise _problem(method, path, reply.status_code, document)
        return document


def _problem(method: str, path: str, status: int, document: Json) -> Exception:
    """The error that stands for a problem document."""
    known = document if isinstance(document, dict) else {}
    title = str(known.get("title", status))
    detail = str(known.get("detail", ""))
    if detail == "there is no such route":
        return RefusedByServer(f"this server has no {method} {path}", known)
    words = [f"{title.lower()}: {detail}" if detail else title.lower()]
    failed = known.get("failed_checks") or ()
    words += [f"  {one.get('name')}: {one.get('reason')}" for one in failed]
    words += [f"  {reason}" for reason in known.get("reasons") or ()]
    if known.get("kind") == "unauthorized" or title == "Unauthorized":
        words.append(f"  {KEY_HINT}")
    message = "\n".join(words)
    return NoAnswer(message) if status >= SERVER_ERRORS else RefusedByServer(message, known)


KEY_HINT = "set TRADING_ENGINE_API_KEY, or name a file: --key-file FILE"


def find_key(environ: Mapping[str, str], key_file: str | None) -> str:
    """The key: of a file, of the environment, or the one that the launcher made; else empty.

    A key is never an argument: every user of the machine may read the list of processes.
    """
    file = key_file or environ.get("TRADING_ENGINE_API_KEY_FILE", "")
    if file:
        return _read_key(file)
    key = environ.get("TRADING_ENGINE_API_KEY", "")
    if key:
        return _sendable(key, "TRADING_ENGINE_API_KEY")
    kept = Path(environ.get("DATA_DIR", "") or "data") / KEPT_KEY
    return _read_key(str(kept)) if kept.is_file() else ""


def _read_key(file: str) -> str:
    try:
        text = Path(file).read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise UsageFault(f"{file} cannot be read: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        raise UsageFault(f"{file} cannot be read: not UTF-8") from exc
    if not text:
        raise UsageFault(f"{file} is empty")
    return _sendable(text, file)


def _sendable(key: str, where: str) -> str:
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UsageFault(f"{where}: a key is one word of printable ASCII")
    return key
