"""The description is made of the routes, so that it cannot say anything else."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pytest

from web import KeyRing, create_app, route


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """An order."""

    symbol: str
    quantity: Decimal
    note: object = None


class Query(msgspec.Struct, forbid_unknown_fields=True):
    """A bounded parameter with a default."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50


class Row(msgspec.Struct):
    """One row."""

    name: str


@pytest.fixture
def document() -> dict[str, Any]:
    app = create_app(
        name="sample",
        title="Sample",
        version="2.3",
        description="What it is",
        keys=KeyRing.single("key"),
    )

    @route(app, "POST", "/orders", summary="Send", body=Body, answers={201: Row}, scope="cycle")
    def send(body: Body) -> Row:
        return Row(body.symbol)

    @route(
        app,
        "GET",
        "/orders/<int:number>",
        summary="One",
        query=Query,
        answers={200: list[Row], 404: None},
    )
    def one(number: int, query: Query) -> list[Row]:
        return [Row(str(number))] * query.limit

    answer = app.test_client().get("/openapi.json", headers={"Authorization": "Bearer key"})
    assert answer.content_type == "application/json"
    return answer.get_json()


def refs(node: Any) -> set[str]:
    if isinstance(node, dict):
        found = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return found.union(*(refs(item) for item in node.values()))
    return set().union(*(refs(item) for item in node)) if isinstance(node, list) else set()


def test_it_is_openapi_3_1_with_the_app_s_title_and_version(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert document["info"] == {"title": "Sample", "version": "2.3", "description": "What it is"}


def test_every_route_is_in_it_the_common_ones_too(document: dict[str, Any]) -> None:
    assert set(document["paths"]) == {
        "/orders",
        "/orders/{number}",
        "/health",
        "/metrics",
        "/openapi.json",
    }


def test_every_reference_leads_to_a_schema(document: dict[str, Any]) -> None:
    names = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert refs(document) <= names
    assert refs(document)


def test_a_body_and_an_answer_are_described_by_their_types(document: dict[str, Any]) -> None:
    operation = document["paths"]["/orders"]["post"]
    body = operation["requestBody"]
    assert body["required"] is True
    assert body["content"]["application/json"]["schema"]["$ref"].endswith("/Body")
    schema = document["components"]["schemas"]["Body"]
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["symbol", "quantity"]
    answer = operation["responses"]["201"]["content"]["application/json"]["schema"]
    assert answer["$ref"].endswith("/Row")


def test_parameters_carry_their_place_bounds_and_default(document: dict[str, Any]) -> None:
    path, query = document["paths"]["/orders/{number}"]["get"]["parameters"]
    assert (path["name"], path["in"], path["required"]) == ("number", "path", True)
    assert (query["name"], query["in"], query["required"]) == ("limit", "query", False)
    assert query["schema"] == {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}


def test_problems_are_described_as_problem_documents(document: dict[str, Any]) -> None:
    responses = document["paths"]["/orders"]["post"]["responses"]
    for status in ("400", "401", "403", "413", "422", "500"):
        assert "application/problem+json" in responses[status]["content"], status
    one = document["paths"]["/orders/{number}"]["get"]["responses"]
    assert "application/problem+json" in one["404"]["content"]
    assert "400" not in one


def test_scopes_are_named_where_a_key_is_needed(document: dict[str, Any]) -> None:
    assert document["paths"]["/orders"]["post"]["security"] == [{"bearer": ["cycle"]}]
    assert "security" not in document["paths"]["/health"]["get"]


def test_operation_ids_are_unique(document: dict[str, Any]) -> None:
    ids = [
        operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
    ]
    assert len(ids) == len(set(ids))
