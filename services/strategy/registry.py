"""The strategies that can be asked: those that come with the service, and the user's files."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from engine.telemetry import get_logger
from services.strategy.strategies import BUILT_IN
from services.strategy.strategy import Parameters, Strategy

_log = get_logger("strategy")
_MODULE_PREFIX = "trading_engine_user_strategy_"


@dataclass(frozen=True)
class Registry:
    """Strategies by name, and one line for each file that could not be used."""

    strategies: dict[str, Strategy[Any]]
    errors: dict[str, str]


def load_registry(folder: Path) -> Registry:
    """The built-in strategies and those of `folder`'s *.py files, in order of their names.

    A file whose name starts with `_` is left alone. A broken file, or one whose name is taken,
    is logged once and listed in `errors`; the others serve. No folder: no further strategies.
    """
    strategies: dict[str, Strategy[Any]] = {each.name: each for each in BUILT_IN}
    errors: dict[str, str] = {}
    files = sorted(folder.glob("*.py")) if folder.is_dir() else []
    for file in (each for each in files if not each.name.startswith("_")):
        try:
            strategy = _read(file, taken=strategies)
        # The file is the user's: whatever it does wrong must not end the service.
        except (Exception, SystemExit) as exc:  # noqa: BLE001
            errors[file.name] = _one_line(exc)
            _log.error("strategy_file_refused", file=str(file), reason=errors[file.name])
        else:
            strategies[strategy.name] = strategy
            _log.info("strategy_loaded", file=str(file), strategy=strategy.name)
    return Registry(strategies, errors)


def _read(file: Path, taken: Container[str]) -> Strategy[Any]:
    """The file's STRATEGY, proved usable with its default parameters."""
    strategy = getattr(_module(file), "STRATEGY", None)
    if not isinstance(strategy, Strategy):
        raise TypeError("it must define STRATEGY = Strategy(...)")
    if not (isinstance(strategy.name, str) and strategy.name):
        raise TypeError("the strategy's name must be a text")
    if not (isinstance(strategy.parameters, type) and issubclass(strategy.parameters, Parameters)):
        raise TypeError("the strategy's parameters must be a class derived from Parameters")
    if strategy.name in taken:
        raise ValueError(f"the name {strategy.name} is taken")
    strategy.needs(strategy.parse({}))
    return strategy


def _module(file: Path) -> ModuleType:
    name = f"{_MODULE_PREFIX}{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError("it cannot be imported")
    module = importlib.util.module_from_spec(spec)
    # Annotations are looked up in the module by name.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _one_line(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {' '.join(str(exc).split())}"
