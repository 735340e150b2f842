"""The OpenAPI 3.1 description of an app, made from its declared routes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from web.problems import PROBLEM_TYPE, ProblemDocument, phrase
from web.routing import Route, Site

_REF = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"<(?:[a-z]+:)?(\w+)>")
_JSON = "application/json"


def describe(site: Site) -> bytes:
    """The document as JSON."""
    routes = [declared for _, declared in sorted(site.routes.items())]
    shapes = _Shapes(routes)
    paths: dict[str, dict[str, Any]] = {}
    for declared in routes:
        path = _PARAMETER.sub(r"{\1}", declared.path)
        operation = _operation(declared, shapes, secured=bool(site.keys))
        _show(operation, site.examples.get(declared.endpoint, {}))
        paths.setdefault(path, {})[declared.method.lower()] = operation
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": site.title, "version": site.version, "description": site.description},
        "paths": paths,
        "components": {
            "schemas": shapes.components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }
    return msgspec.json.encode(document)


def _show(operation: dict[str, Any], examples: Mapping[str, Any]) -> None:
    """Put the examples of an operation where readers of the description look for them."""
    for name, example in examples.items():
        place = operation["requestBody"] if name == "body" else operation["responses"][name]
        place["content"][_JSON]["example"] = example


class _Shapes:
    """The schemas of all types that the routes name."""

    def __init__(self, routes: list[Route]) -> None:
        types: list[Any] = [ProblemDocument]
        for declared in routes:
            shapes = [declared.body, declared.query, *declared.answers.values()]
            types += [shape for shape in shapes if shape is not None]
        self._types = types
        schemas, self.components = msgspec.json.schema_components(
            types, schema_hook=_foreign, ref_template=_REF
        )
        self._schemas = list(schemas)

    def of(self, shape: Any) -> dict[str, Any]:
        """The schema of one of the types."""
        place = next(index for index, known in enumerate(self._types) if known == shape)
        return self._schemas[place]

    def fields(self, shape: type[msgspec.Struct]) -> dict[str, Any]:
        """The properties of a struct, by name, and which are required."""
        name = self.of(shape)["$ref"].rpartition("/")[2]
        schema: dict[str, Any] = self.components[name]
        return schema


def _foreign(shape: Any) -> dict[str, Any]:
    """Types beyond JSON's own are described in words, `object` as what it stands for."""
    name = getattr(shape, "__name__", str(shape))
    return {"description": "any JSON value" if shape is object else name}


def _operation(declared: Route, shapes: _Shapes, *, secured: bool) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": declared.summary,
        "operationId": _operation_id(declared),
        "parameters": _parameters(declared, shapes),
        "responses": _responses(declared, shapes),
    }
    if declared.description:
        operation["description"] = declared.description
    if declared.body is not None:
        content = {_JSON: {"schema": shapes.of(declared.body)}}
        required = bool(shapes.fields(declared.body).get("required"))
        operation["requestBody"] = {"required": required, "content": content}
    if secured and declared.scope is not None:
        # OpenAPI keeps scopes in `security` for OAuth alone; 3.1 allows role names here.
        operation["security"] = [{"bearer": [declared.scope]}]
    return operation


def _operation_id(declared: Route) -> str:
    words = re.findall(r"\w+", _PARAMETER.sub(r"by_\1", declared.path))
    return "_".join([declared.method.lower(), *words]) if words else f"{declared.method.lower()}_"


def _parameters(declared: Route, shapes: _Shapes) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(declared.path)
    ]
    if declared.query is not None:
        shape = shapes.fields(declared.query)
        required = shape.get("required", [])
        parameters += [
            {"name": name, "in": "query", "required": name in required, "schema": schema}
            for name, schema in shape.get("properties", {}).items()
        ]
    return parameters


def _responses(declared: Route, shapes: _Shapes) -> dict[str, Any]:
    responses = {
        str(status): _response(status, shape, shapes) for status, shape in declared.answers.items()
    }
    for status in _possible_problems(declared):
        responses.setdefault(str(status), _response(status, None, shapes))
    return dict(sorted(responses.items()))


def _possible_problems(declared: Route) -> list[int]:
    statuses = [422, 500]
    if declared.body is not None:
        statuses += [400, 413]
    if declared.scope is not None:
        statuses += [401, 403]
    return statuses


def _response(status: int, shape: Any, shapes: _Shapes) -> dict[str, Any]:
    response: dict[str, Any] = {"description": phrase(status)}
    if shape is not None:
        response["content"] = {_JSON: {"schema": shapes.of(shape)}}
    elif status >= HTTPStatus.BAD_REQUEST:
        response["content"] = {PROBLEM_TYPE: {"schema": shapes.of(ProblemDocument)}}
    return response
