"""The API does what its description says, for whatever is generated from it."""

from __future__ import annotations

from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import negative_data_rejection

from tests.control_fakes import Bench

# An endless answer, and what has no JSON of its own.
LEFT_OUT = r"^/(events|metrics|docs|runbook|assets/\{name\})?$"

# Refused before it is read, whatever else is wrong with it.
TOO_LARGE = 413


class NoCache:
    """A candle cache that lost everything."""

    def load(self, symbols: list[str], timeframe: str) -> dict[str, Any]:
        return {}


def described(bench: Bench) -> Any:
    """The description of the app."""
    object.__setattr__(bench.desk.engine, "cache", cast("Any", NoCache()))
    return schemathesis.openapi.from_wsgi("/openapi.json", bench.app).exclude(path_regex=LEFT_OUT)


def left_out(case: schemathesis.Case) -> list[Any]:
    """That a wrong value is refused is asked of bodies only.

    One that no address can carry is sent as another, which may be right; that wrong fields of an
    address are refused by name is tested beside the guards.
    """
    parts = {} if case.meta is None else case.meta.components
    wrong = {where for where, part in parts.items() if part.mode is GenerationMode.NEGATIVE}
    return [] if wrong == {ParameterLocation.BODY} else [negative_data_rejection]


def broken_words(bench: Bench, examples: int) -> dict[str, str]:
    """What came of requests of every operation, right and wrong ones, `examples` in all.

    By operation what it did not keep: each answer is of a described status and shape. Nobody
    closes the cycles of this app, so that none is waited for. Where nothing can be wrong, no wrong
    request is made.
    """
    broken: dict[str, str] = {}
    for found in described(bench).get_all_operations():
        operation = found.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @hypothesis_settings(
                max_examples=examples // 2,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                database=None,
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def keeps_its_word(case: schemathesis.Case) -> None:
                asked = case.query or {}
                # An empty object has no text: in an address it is not there, and so not wrong.
                assume(all(value not in ({}, []) for value in asked.values()))
                case.query = {name: value for name, value in asked.items() if name != "wait"}
                answer = case.call()
                if answer.status_code != TOO_LARGE:
                    case.validate_response(answer, excluded_checks=left_out(case))

            try:
                keeps_its_word()
            except Unsatisfiable:
                if mode is GenerationMode.POSITIVE:
                    raise
            except (Exception, BaseExceptionGroup) as fault:  # noqa: BLE001  all are told of
                broken[f"{operation.label}, {mode.value}"] = str(fault)[:2000]
    return broken


@pytest.mark.timeout(300)
def test_every_operation_keeps_its_word(bench: Bench) -> None:
    assert broken_words(bench, 30) == {}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_operation_keeps_its_word_at_length(bench: Bench) -> None:
    assert broken_words(bench, 1000) == {}
