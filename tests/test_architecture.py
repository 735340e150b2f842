"""The house plan as rules over the syntax tree: imports go down only, and nothing grows too big.

`faults(sources)` judges any set of sources, so that every rule is also shown to fail.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = (
    *("engine", "tasks", "web", "services", "replay", "launcher", "dashboard"),
    *("command_line", "routes"),
)
TOP_FILES = ("api", "app", "cli", "celeryconfig")
MAX_LINES = 400
MAX_FUNCTION_LINES = 45
# A migration is the frozen list of a schema's columns, not code that anybody works in.
LISTS = ("engine.ledger.migrations.versions",)

# Layers of the engine, the lowest first: a module imports its own layer and those below.
ENGINE_LAYERS = {
    "engine.errors": 0,
    "engine.failpoints": 0,
    "engine.version": 0,
    "engine.domain": 1,
    "engine.service_settings": 2,
    "engine.settings": 2,
    "engine.ports": 2,
    "engine.ledger_ports": 2,
    "engine.telemetry": 2,
    "engine.process_memory": 2,
    "engine.bootstrap": 4,
}
SETTINGS_LAYER = 2
MIDDLE_LAYER = 3
# These see ports, never what stands behind them.
BEHIND_PORTS = ("engine.pipeline", "engine.reconcile", "engine.control")
CONCRETE = ("engine.clients", "engine.ledger", "engine.cache", "engine.bootstrap")
NEVER_IN_ENGINE = (
    "tasks",
    "api",
    "app",
    "services",
    "replay",
    "launcher",
    "web",
    "routes",
    "dashboard",
    "celery",
    "flask",
)
SERVICES_MAY = (
    "engine.domain",
    "engine.settings",
    "engine.service_settings",
    "engine.config_source",
    "engine.telemetry",
    "engine.process_memory",
    "engine.errors",
    "engine.failpoints",
    "engine.version",
)
WEB_MAY = tuple(name for name in SERVICES_MAY if name != "engine.config_source")
# Values, arithmetic and other forms of bytes.
PURE_LIBRARIES = frozenset({"msgspec", "numpy", "pybase64", "talib", "xxhash"})
PURE_STANDARD = frozenset(
    {
        *("__future__", "abc", "base64", "bisect", "collections", "contextlib", "dataclasses"),
        *("datetime", "decimal", "enum", "functools", "hashlib", "heapq", "itertools", "math"),
        *("operator", "re", "statistics", "string", "struct", "textwrap", "types", "typing"),
        *("uuid", "zlib", "fractions", "numbers", "json", "unicodedata"),
    }
)
FORBIDDEN = (
    (
        ("web",),
        ("services", "tasks", "api", "launcher", "replay"),
        "what servers share knows no server",
    ),
    (
        ("cli", "command_line"),
        ("engine.ledger", "engine.bootstrap", "engine.control", "tasks", "services", "launcher"),
        "the command line speaks HTTP only",
    ),
    (("launcher",), ("tasks", "api", "celery", "flask"), "the launcher starts these as processes"),
    (("replay",), ("tasks", "api", "celery", "flask"), "replay stands beside tasks"),
    (
        ("tasks", "api", "routes", "dashboard"),
        ("services", "replay", "launcher"),
        "services are reached over HTTP",
    ),
)
CLOCKS = frozenset({"now", "utcnow", "today", "uuid1", "uuid4"})
VAGUE = ("utils", "util", "helpers", "helper", "manager", "managers", "handler", "process_data")

Sources = Mapping[str, str]


def read_sources() -> dict[str, str]:
    """Every module of the product by dotted name; a package is its `__init__`."""
    files = [path for folder in CODE for path in (ROOT / folder).rglob("*.py")]
    files += [ROOT / f"{name}.py" for name in TOP_FILES if (ROOT / f"{name}.py").exists()]
    sources = {}
    for path in files:
        parts = path.relative_to(ROOT).with_suffix("").parts
        dotted = ".".join(part for part in parts if part != "__init__")
        sources[dotted] = path.read_text(encoding="utf-8")
    return sources


def faults(sources: Sources) -> list[str]:
    """One line for each breach of a rule."""
    found: list[str] = []
    for module, text in sources.items():
        tree = ast.parse(text)
        found += _size_faults(module, text, tree)
        found += _name_faults(module)
        for imported in _imports(module, tree, sources):
            fault = _import_fault(module, imported)
            if fault is not None:
                found.append(f"{module} imports {imported}: {fault}")
        if _within(module, "engine.domain"):
            found += _clock_faults(module, tree)
    return found


def _imports(module: str, tree: ast.Module, sources: Sources) -> Iterator[str]:
    """What a module imports, a submodule under its own name (`from engine import reconcile`)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = (
                    module.split(".") if _is_package(module, sources) else module.split(".")[:-1]
                )
                above = package[: len(package) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in sources else base


def _is_package(module: str, sources: Sources) -> bool:
    return any(other.startswith(f"{module}.") for other in sources)


def _within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _layer(module: str) -> int:
    for name, layer in ENGINE_LAYERS.items():
        if _within(module, name):
            return layer
    return SETTINGS_LAYER if module.startswith("engine.config_") else MIDDLE_LAYER


def _import_fault(module: str, imported: str) -> str | None:
    """Why `module` must not import `imported`; None when it may."""
    if imported == "celeryconfig" and module != "tasks.app":
        return "only tasks.app names the module that reads the configuration"
    if _within(module, "engine"):
        return _engine_fault(module, imported)
    if _within(module, "services"):
        return _services_fault(module, imported)
    if _within(module, "web") and _within(imported, "engine") and not _within(imported, *WEB_MAY):
        return "what servers share knows the lower layers only"
    for importer, forbidden, reason in FORBIDDEN:
        if _within(module, *importer) and _within(imported, *forbidden):
            return reason
    return None


def _engine_fault(module: str, imported: str) -> str | None:
    if _within(imported, *NEVER_IN_ENGINE):
        return "the engine knows neither Celery nor Flask nor what is built on it"
    if _within(module, *BEHIND_PORTS) and _within(imported, *CONCRETE):
        return "it sees ports, not what stands behind them"
    if _within(module, "engine.domain"):
        return _domain_fault(imported)
    if _within(imported, "engine") and imported != "engine" and _layer(imported) > _layer(module):
        return "imports go down only"
    return None


def _domain_fault(imported: str) -> str | None:
    if _within(imported, "engine.domain", "engine.errors"):
        return None
    top = imported.partition(".")[0]
    if top in PURE_STANDARD or top in PURE_LIBRARIES:
        return None
    kind = "the machine" if top in sys.stdlib_module_names else "other layers or libraries"
    return f"the pure core knows nothing of {kind}"


def _services_fault(module: str, imported: str) -> str | None:
    if _within(imported, "engine"):
        return None if _within(imported, *SERVICES_MAY) else "services know the lower layers only"
    if _within(imported, "tasks", "api", "replay", "launcher", "celery"):
        return "a service knows nothing of the engine's processes"
    own, other = _second(module), _second(imported)
    shared = module == "services.__main__" or not _is_service(other)
    if _within(imported, "services") and not shared and own != other:
        return "services never import each other"
    return None


def _second(module: str) -> str:
    return module.partition(".")[2].partition(".")[0]


def _is_service(name: str) -> bool:
    return bool(name) and (ROOT / "services" / name / "__init__.py").exists()


def _clock_faults(module: str, tree: ast.Module) -> list[str]:
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    names = (call.func.attr for call in calls if isinstance(call.func, ast.Attribute))
    return [
        f"{module} calls {name}(): the pure core is told the time"
        for name in names
        if name in CLOCKS
    ]


def _size_faults(module: str, text: str, tree: ast.Module) -> list[str]:
    found = []
    lines = len(text.splitlines())
    if lines > MAX_LINES:
        found.append(f"{module} has {lines} lines, {MAX_LINES} is the end")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            length = node.end_lineno - node.lineno + 1
            if length > MAX_FUNCTION_LINES and not _within(module, *LISTS):
                found.append(
                    f"{module}.{node.name} has {length} lines, {MAX_FUNCTION_LINES} is the end"
                )
    return found


def _name_faults(module: str) -> list[str]:
    return [f"{module}: {part} says nothing" for part in module.split(".") if part in VAGUE]


def test_the_house_stands() -> None:
    """Every module of the product holds to every rule."""
    sources = read_sources()
    assert len(sources) > 50
    assert faults(sources) == []


@pytest.mark.parametrize(
    ("module", "text", "fault"),
    [
        ("engine.domain.risk", "import time", "knows nothing of the machine"),
        ("engine.domain.risk", "import logging", "knows nothing of the machine"),
        ("engine.domain.risk", "import requests", "other layers or libraries"),
        ("engine.domain.risk", "from engine.settings import Settings", "other layers"),
        ("engine.domain.risk", "from engine import settings", "other layers"),
        ("engine.domain.risk", "from .. import ledger", "other layers"),
        ("engine.domain.risk", "x = datetime.now(UTC)", "is told the time"),
        ("engine.settings", "from engine.clients import transport", "go down only"),
        ("engine.ports", "from engine.bootstrap import build_engine", "go down only"),
        ("engine.ledger", "from engine.bootstrap import build_engine", "go down only"),
        ("engine.pipeline.fetch", "from engine.clients import market_data", "sees ports"),
        ("engine.control.halt", "from engine.ledger import SqlLedger", "sees ports"),
        ("engine.reconcile", "import engine.cache", "sees ports"),
        ("engine.telemetry", "import flask", "neither Celery nor Flask"),
        ("engine.clients", "from celery import Celery", "neither Celery nor Flask"),
        ("engine.clients", "def f():\n    import services.execution", "neither Celery nor Flask"),
        (
            "services.execution.app",
            "from services.portfolio import store",
            "never import each other",
        ),
        ("services.execution.app", "from engine.ports import Ledger", "lower layers only"),
        ("services.execution.app", "import engine.ledger", "lower layers only"),
        ("services.execution.app", "import tasks.app", "nothing of the engine's processes"),
        ("web.server", "from engine.ports import Engine", "lower layers only"),
        ("web.server", "import services.execution", "knows no server"),
        ("tasks.cycle", "import celeryconfig", "only tasks.app names"),
        ("api", "import celeryconfig", "only tasks.app names"),
        ("tasks.cycle", "from services import execution", "reached over HTTP"),
        ("launcher.main", "from tasks.app import app", "starts these as processes"),
        ("replay.runner", "import celery", "stands beside tasks"),
        ("cli", "from engine.ledger import SqlLedger", "speaks HTTP only"),
        ("command_line.verbs", "from engine.control import halt", "speaks HTTP only"),
        ("engine.utils", "", "says nothing"),
        ("api", "x = 1\n" * 401, "has 401 lines"),
        ("api", "def f() -> None:\n" + "    x = 1\n" * 45, "api.f has 46 lines"),
    ],
)
def test_each_rule_can_fail(module: str, text: str, fault: str) -> None:
    """A made-up source that breaks one rule is found."""
    known = {"engine": "", "engine.settings": "", "engine.ledger": "", "engine.domain": ""}
    found = faults({**known, module: text})
    assert len(found) == 1
    assert fault in found[0]


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (
            "engine.domain.risk",
            "from decimal import Decimal\nfrom engine.domain.model import Signal",
        ),
        ("engine.pipeline.fetch", "from engine.ports import Engine"),
        ("engine.bootstrap", "from engine.clients import market_data\nimport engine.ledger"),
        ("services.execution.app", "from services.execution import prices\nfrom web import route"),
        ("services.execution.app", "from services.durable import Store"),
        ("tasks.app", 'app.config_from_object("celeryconfig")'),
        ("tasks.cycle", "from engine.bootstrap import build_engine"),
        (
            "replay.runner",
            "from engine.pipeline import fetch\nfrom services.portfolio import store",
        ),
        ("api", "def f() -> None:\n" + "    x = 1\n" * 44),
    ],
)
def test_what_the_house_allows_is_no_fault(module: str, text: str) -> None:
    """The rules do not refuse what the plan asks for."""
    assert faults({module: text}) == []
