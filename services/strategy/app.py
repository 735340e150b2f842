"""The strategy engine over HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from flask import Flask

from engine.settings import Settings
from services.strategy.evaluation import Asked, evaluate
from services.strategy.messages import (
    MAX_BODY_BYTES,
    Choice,
    EvaluateAnswer,
    EvaluateRequest,
    ParameterDescription,
    SignalText,
    StrategyDescription,
    StrategyList,
)
from services.strategy.registry import Registry, load_registry
from services.strategy.strategy import Strategy
from web import KeyRing, route
from web import create_app as create_web_app
from web.problems import FieldError, unprocessable


def create_app(settings: Settings) -> Flask:
    """The service as the settings describe it; the user's folder is read once, here."""
    configured = settings.services.strategy
    registry = load_registry(Path(configured.folder))
    app = create_web_app(
        name="strategy",
        title="Strategy engine",
        version="1.0",
        description="Judges closed candles and answers with signals.",
        keys=KeyRing.single(configured.key.get_secret_value()),
        host=configured.host,
        max_body_bytes=MAX_BODY_BYTES,
        health=lambda: _health(registry),
    )
    _add_routes(app, registry, configured.default_stop_atr)
    return app


def _add_routes(app: Flask, registry: Registry, stop_atr: float) -> None:
    @route(app, "GET", "/strategies", summary="What can be asked", answers={200: StrategyList})
    def strategies() -> StrategyList:
        described = [_describe(each) for each in registry.strategies.values()]
        return StrategyList(strategies=described, errors=registry.errors)

    @route(
        app,
        "POST",
        "/evaluate",
        summary="Signals at the last closed candle of each symbol",
        body=EvaluateRequest,
        answers={200: EvaluateAnswer},
    )
    def evaluate_symbols(body: EvaluateRequest) -> EvaluateAnswer:
        asked = _asked(registry, body.strategies)
        signals, errors = evaluate(asked, body.market_data, body.positions, stop_atr)
        texts = [SignalText.of(signal) for signal in signals]
        return EvaluateAnswer(input_id=body.input_id, signals=texts, errors=errors)


def _asked(registry: Registry, choices: Sequence[Choice]) -> list[Asked]:
    """Strategies with checked parameters. Raises Problem 422 naming each wrong one."""
    asked: list[Asked] = []
    errors: list[FieldError] = []
    for number, choice in enumerate(choices):
        where = f"strategies[{number}]"
        strategy = registry.strategies.get(choice.name)
        if strategy is None:
            known = ", ".join(registry.strategies)
            reason = f"unknown strategy {choice.name!r}; there are {known}"
            errors.append(FieldError(f"{where}.name", reason))
            continue
        try:
            parameters = strategy.parse(choice.parameters)
            asked.append(Asked(choice.label, strategy, parameters, strategy.needs(parameters)))
        except ValueError as exc:
            errors.append(FieldError(f"{where}.parameters", f"{choice.name}: {exc}"))
    labels = [each.label for each in asked]
    repeated = sorted({label for label in labels if labels.count(label) > 1})
    errors += [FieldError("strategies", f"id {label} is given twice") for label in repeated]
    if errors:
        raise unprocessable(tuple(errors))
    return asked


def _describe(strategy: Strategy[Any]) -> StrategyDescription:
    fields = msgspec.structs.fields(strategy.parameters)
    return StrategyDescription(
        name=strategy.name,
        version=strategy.version,
        parameters={
            field.name: ParameterDescription(_type_name(field.type), field.default)
            for field in fields
        },
        min_candles=strategy.needs(strategy.parse({})),
    )


def _type_name(annotation: Any) -> str:
    return getattr(annotation, "__name__", str(annotation))


def _health(registry: Registry) -> Mapping[str, Any]:
    files = {
        f"file {name}": {"status": "degraded", "detail": reason}
        for name, reason in registry.errors.items()
    }
    loaded = {"status": "ok", "detail": f"{len(registry.strategies)} strategies"}
    return {
        "status": "degraded" if files else "ok",
        "checks": {"strategies": loaded, **files},
    }
