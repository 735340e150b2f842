"""Logs: one pipeline for all, bound to the work at hand, without a secret."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from engine.settings import Log
from engine.telemetry import bind, configure_logging, get_logger, redact, redact_text

SECRETS = ("canary-url", "canary-known")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def configured(component: str = "worker", **log: Any) -> io.StringIO:
    stream = io.StringIO()
    configure_logging(Log(**log), component, stream=stream, secrets=("canary-known",))
    return stream


def fail(password: str, known: str) -> None:
    raise ValueError(f"postgresql://u:{password}@db {known}")


def test_a_line_is_an_event_with_fields_time_level_and_component() -> None:
    stream = configured()
    get_logger("engine.test").info("order_filled", symbol="BTC/USD", seconds=0.25)
    (line,) = lines(stream)
    assert line["event"] == "order_filled"
    assert (line["symbol"], line["seconds"]) == ("BTC/USD", 0.25)
    assert (line["level"], line["component"]) == ("info", "worker")
    assert line["logger"] == "engine.test"
    assert line["at"].endswith("Z")


def test_bound_fields_are_on_every_line_inside_and_on_none_after() -> None:
    stream = configured()
    log = get_logger("engine.test")
    with bind(cycle_id="c-1", batch=3):
        with bind(symbol="BTC/USD"):
            log.info("inner")
        log.info("outer")
    log.info("after")
    inner, outer, after = lines(stream)
    assert (inner["cycle_id"], inner["batch"], inner["symbol"]) == ("c-1", 3, "BTC/USD")
    assert (outer["cycle_id"], "symbol" in outer) == ("c-1", False)
    assert "cycle_id" not in after


def test_what_a_library_logs_takes_the_same_way() -> None:
    stream = configured()
    with bind(cycle_id="c-1"):
        logging.getLogger("celery.worker").warning("lost %s", "redis://:pw@host/0")
    (line,) = lines(stream)
    assert line["event"] == "lost redis://:***@host/0"
    assert (line["component"], line["cycle_id"]) == ("worker", "c-1")


def test_libraries_are_quiet_below_warnings_unless_everything_is_wanted() -> None:
    stream = configured()
    logging.getLogger("celery.app.trace").info("Task received")
    logging.getLogger("waitress.queue").info("depth")
    assert lines(stream) == []
    stream = configured(level="debug")
    logging.getLogger("celery.app.trace").info("Task received")
    assert [line["event"] for line in lines(stream)] == ["Task received"]


def test_the_level_is_the_lowest_that_is_written() -> None:
    stream = configured(level="warning")
    log = get_logger("engine.test")
    log.info("quiet")
    log.warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_a_warning_of_python_is_a_log_line() -> None:
    stream = configured()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old", UserWarning, stacklevel=1)
    assert "old" in lines(stream)[0]["event"]


def test_a_traceback_has_no_secret_and_no_local_variables() -> None:
    stream = configured()
    try:
        fail(*SECRETS)
    except ValueError:
        get_logger("engine.test").exception("failed", headers={"Authorization": "canary-header"})
    (line,) = lines(stream)
    assert "Traceback" in line["exception"]
    assert "ValueError" in line["exception"]
    assert "canary" not in stream.getvalue()


@pytest.mark.parametrize(
    "name",
    [
        "key",
        "password",
        "authorization",
        "Authorization",
        "secret",
        "token",
        "api_key",
        "redis_password",
        "access_token",
        "X-Api-Key",
        "client-secret",
        "basic_auth",
    ],
)
def test_a_field_named_for_a_secret_is_masked_at_any_depth(name: str) -> None:
    masked = redact({"outer": [{name: "canary"}], name: "canary"})
    assert masked == {"outer": [{name: "***"}], name: "***"}


@pytest.mark.parametrize(
    "name", ["decision_key", "key_file", "symbol", "monkey", "tokens_left", "keys"]
)
def test_a_field_that_only_resembles_one_is_kept(name: str) -> None:
    assert redact({name: "value"}) == {name: "value"}


def test_secret_values_are_masked_by_type_and_by_value() -> None:
    assert redact({"a": SecretStr("x"), "b": SecretStr("")}) == {"a": "***", "b": ""}
    assert redact({"note": "it is canary-known!"}, ("canary-known",)) == {"note": "it is ***!"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis://:p@ss@host:6379/0", "redis://:***@host:6379/0"),
        ("postgresql+psycopg://u:pw@h/d", "postgresql+psycopg://u:***@h/d"),
        ("postgresql://h/d?user=u&password=pw&x=1", "postgresql://h/d?user=u&password=***&x=1"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer ***"),
        ("http://127.0.0.1:8001/orders", "http://127.0.0.1:8001/orders"),
        ("mail a@b.example at 12:30", "mail a@b.example at 12:30"),
    ],
)
def test_passwords_in_addresses_and_bearer_keys_are_masked(text: str, expected: str) -> None:
    assert redact_text(text) == expected


def test_a_terminal_gets_text_and_anything_else_json() -> None:
    terminal = Terminal()
    configure_logging(Log(), "api", stream=terminal)
    get_logger("engine.test").info("order_filled", symbol="BTC/USD")
    text = terminal.getvalue()
    assert "order_filled" in text
    assert not text.startswith("{")
    assert lines_of_json(Log(format="json"), Terminal())
    assert not lines_of_json(Log(format="console"), io.StringIO())


def lines_of_json(log: Log, stream: io.StringIO) -> bool:
    configure_logging(log, "api", stream=stream)
    get_logger("engine.test").info("order_filled")
    return stream.getvalue().startswith("{")


def test_the_text_form_masks_secrets_and_shows_tracebacks_too() -> None:
    stream = configured(format="console")
    try:
        fail(*SECRETS)
    except ValueError:
        get_logger("engine.test").exception("failed", token="canary-token")  # noqa: S106
    text = stream.getvalue()
    assert "Traceback" in text
    assert "canary-token" not in text
    assert "***" in text


def test_configuring_again_replaces_the_first() -> None:
    first = configured()
    second = configured()
    get_logger("engine.test").info("once")
    assert first.getvalue() == ""
    assert len(lines(second)) == 1
