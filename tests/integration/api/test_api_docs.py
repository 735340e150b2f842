"""docs/api.md says what the app has: routes, parameters, statuses, scopes, metrics."""

from __future__ import annotations

import re
from pathlib import Path

from tests.control_fakes import NOON, Bench, account
from web.routing import site_of

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(GET|POST) ([^`?]*)(?:\?([^`]*))?` \| [^|]+ \| ([^|]+) \| `?(\w+)`? \|$")
STATUS = re.compile(r"\b[2-5]\d\d\b")
METRIC = re.compile(r"^\| ((?:`\w+`(?:, )?)+) \|", re.MULTILINE)

Facts = tuple[tuple[str, ...], tuple[int, ...], str]


def documented() -> dict[str, Facts]:
    """Each route with its query parameters, statuses and scope."""
    found = {}
    for match in filter(None, map(ROW.fullmatch, TEXT.splitlines())):
        method, path, query, answers, scope = match.groups()
        statuses = tuple(sorted({int(status) for status in STATUS.findall(answers)}))
        parameters = tuple(query.split("&")) if query else ()
        found[f"{method} {path}"] = (parameters, statuses, scope)
    return found


def declared(bench: Bench) -> dict[str, Facts]:
    """The same of the app itself."""
    found = {}
    for route in site_of(bench.app).routes.values():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route.path)
        parameters = () if route.query is None else route.query.__struct_fields__
        statuses = tuple(sorted(route.answers))
        found[f"{route.method} {path}"] = (parameters, statuses, route.scope or "none")
    return found


def test_every_route_is_documented_with_all_it_takes_and_answers(bench: Bench) -> None:
    assert documented() == declared(bench)


def test_every_route_is_described_for_machines_too(bench: Bench) -> None:
    paths = bench.get("/openapi.json").json["paths"]
    described = {
        f"{method.upper()} {path}" for path, methods in paths.items() for method in methods
    }
    assert described == set(documented())


def test_every_metric_is_documented_and_no_other(bench: Bench) -> None:
    cycle_id = bench.open_cycle()
    bench.plan_cycle(cycle_id, account(), NOON)
    bench.close_cycle(cycle_id)
    shown = re.findall(r"^# TYPE trading_engine_(\w+)", bench.get("/metrics").text, re.MULTILINE)
    table = TEXT.partition("## Metrics")[2]
    named = {name for row in METRIC.findall(table) for name in re.findall(r"\w+", row)}
    assert named == {*shown, "trade_success_ratio"}, "the last needs an order"
