"""Structured logs: one pipeline for our events and for what libraries log, without secrets."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TextIO, cast

import orjson
import structlog
from pydantic import SecretStr
from structlog.typing import EventDict, Processor, WrappedLogger

from engine.settings import Log

MASK = "***"
_SECRET_KEY = re.compile(
    r"(^|.*[_-])(password|passwd|authorization|secret|token|api[_-]?key|basic[_-]?auth)$|^key$"
    r"|^(service|bearer|private)[_-]key$",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(
    r"(?P<before>[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/]+(?=@)|"
    r"(?P<query>[?&](?:password|token|secret|api_?key)=)[^&\s]+",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(?P<before>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_MIN_SECRET_LENGTH = 4
# Libraries that report every step of their own work at info.
_CHATTY = (
    "amqp",
    "asyncio",
    "celery",
    "flower",
    "kombu",
    "redbeat",
    "tornado.access",
    "urllib3",
    "waitress",
    "werkzeug",
    "alembic",
    "sqlalchemy",
)


def redact_text(text: str) -> str:
    """The text without passwords of URLs and without bearer keys."""
    if ":" in text or "=" in text:  # most texts have neither, and the patterns are dear
        text = _URL_PASSWORD.sub(lambda found: f"{found['before'] or found['query']}{MASK}", text)
    if len(text.split(maxsplit=1)) > 1:
        text = _BEARER.sub(rf"\g<before>{MASK}", text)
    return text


@lru_cache(1024)
def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret, whatever it is."""
    return _SECRET_KEY.match(name) is not None


def redact(value: Any, known: Collection[str] = ()) -> Any:
    """A copy of nested dicts and lists with secrets masked: by name, by type, by pattern, by value.

    `known` are secrets that are masked wherever they stand.
    """
    match value:
        case SecretStr():
            return MASK if value.get_secret_value() else ""
        case str():
            return _redact_known(redact_text(value), known)
        case Mapping():
            return {
                key: MASK if item and is_secret_name(str(key)) else redact(item, known)
                for key, item in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [redact(item, known) for item in value]
    return value


def _redact_known(text: str, known: Collection[str]) -> str:
    for secret in known:
        text = text.replace(secret, MASK)
    return text


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger of events: `log.info("order_filled", client_order_id=..., symbol=...)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


@contextmanager
def bind(**fields: object) -> Iterator[None]:
    """Put fields on every log line of this thread or task until the block ends."""
    with structlog.contextvars.bound_contextvars(**fields):
        yield


def configure_logging(
    settings: Log,
    component: str,
    *,
    stream: TextIO | None = None,
    secrets: Collection[str] = (),
) -> None:
    """Send every log line of this process to `stream` (standard error), as text or as JSON.

    `component` names the process in each line. `secrets` never appear, wherever they stand.
    A second call replaces the first.
    """
    target = stream if stream is not None else sys.stderr
    is_console = settings.format == "console" or (settings.format == "auto" and target.isatty())
    shared = _shared_processors(component)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(_formatter(shared, secrets, is_console=is_console, colors=target.isatty()))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.level.upper())
    _quieten(settings.level)
    logging.captureWarnings(True)


def _shared_processors(component: str) -> list[Processor]:
    def add_component(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("component", component)
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        add_component,
    ]


def _formatter(
    shared: list[Processor], secrets: Collection[str], *, is_console: bool, colors: bool
) -> logging.Formatter:
    known = sorted((s for s in secrets if len(s) >= _MIN_SECRET_LENGTH), key=len, reverse=True)

    def mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return cast("EventDict", redact(event, known))

    # Tracebacks become text first, so that they are masked too; they never show local variables.
    finish: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        mask,
    ]
    if is_console:
        finish += [_shorten, _console(colors=colors)]
    else:
        finish.append(structlog.processors.JSONRenderer(serializer=_to_json))
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=finish)


def _console(*, colors: bool) -> Processor:
    return structlog.dev.ConsoleRenderer(
        colors=colors, timestamp_key="at", exception_formatter=structlog.dev.plain_traceback
    )


def _shorten(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A person at a terminal needs the time of day, and knows which process it is."""
    event["at"] = str(event.get("at", ""))[11:19]
    event.pop("logger", None)
    event.pop("component", None)
    return event


def _to_json(event: Any, **_options: Any) -> str:
    options = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
    return orjson.dumps(event, default=str, option=options).decode()


def _quieten(level: str) -> None:
    """Let libraries speak from warnings on, unless everything is wanted."""
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.NOTSET if level == "debug" else logging.WARNING)
