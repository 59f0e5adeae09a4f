"""The OpenAPI 3.1 document of the operations API, made from the table of endpoints that also makes the routes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from roadworthy import __version__
from roadworthy.view import answers
from roadworthy.view.snapshot import schema

if TYPE_CHECKING:
    from roadworthy.view.web.endpoint import Endpoint, Parameter

PROBLEM_TYPE = "application/problem+json"

_PROBLEM = {
    "type": "object",
    "description": "RFC 9457: what was wrong with the request, or why it cannot be answered now.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "For programs; stays the same when the words change."},
        "detail": {"type": "string"},
        "hint": {"type": "string"},
    },
    "required": ["type", "title", "status", "code", "detail"],
}


def document(endpoints: Sequence[Endpoint], public: frozenset[str]) -> dict[str, Any]:
    """Return the document; ``public`` are the paths that need no login wherever the server listens."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, public)
    snapshot = schema()
    definitions = {**snapshot.pop("$defs"), "Snapshot": snapshot}
    for name in ("$schema", "title"):
        snapshot.pop(name)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "roadworthy operations API",
            "version": __version__,
            "description": (
                "How a program is, why, and since when. On a loopback address reading needs no login; elsewhere it "
                "needs the token. Changing something always needs the token, and from a browser the page's CSRF value "
                "and the same origin."
            ),
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "From the token file in the run directory.",
                }
            },
            "schemas": _moved({**definitions, **answers.SCHEMAS, "Problem": _PROBLEM}),
        },
    }


def _operation(endpoint: Endpoint, public: frozenset[str]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for status, text in endpoint.answers:
        media = endpoint.media if status < HTTPStatus.BAD_REQUEST or endpoint.tag == "health" else (PROBLEM_TYPE,)
        told[str(status)] = {"description": text, "content": {one: _content(endpoint, one) for one in media}}
    if endpoint.parameters or endpoint.path.startswith("/api/"):
        told["400"] = {"description": "A parameter is wrong; the answer names it.", "content": _problem()}
    if endpoint.path not in public:
        told["401"] = {"description": "The token is missing or wrong.", "content": _problem()}
    place = re.sub(r"[^a-z0-9]+", "_", endpoint.path.lower()).strip("_")
    operation: dict[str, Any] = {
        "operationId": f"{endpoint.method.lower()}_{place or 'root'}",
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "parameters": [*_path_parameters(endpoint.path), *(_parameter(one) for one in endpoint.parameters)],
        "responses": told,
    }
    if endpoint.method != "GET":
        operation["security"] = [{"token": []}]
        operation["parameters"].append(
            {
                "name": "X-Roadworthy-CSRF",
                "in": "header",
                "required": False,
                "schema": {"type": "string"},
                "description": "From browsers.",
            }
        )
    elif endpoint.path in public:
        operation["security"] = []
    else:
        operation["security"] = [{}, {"token": []}]
    return operation


def _content(endpoint: Endpoint, media: str) -> dict[str, Any]:
    if media == PROBLEM_TYPE:
        return _problem()[PROBLEM_TYPE]
    named = endpoint.schema or (answers.BY_PATH.get(endpoint.path) if endpoint.method == "GET" else None)
    if named:
        return {"schema": {"$ref": f"#/components/schemas/{named}"}}
    return {"schema": {"type": "object" if media == "application/json" else "string"}}


def _problem() -> dict[str, dict[str, Any]]:
    return {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", path)
    ]


def _parameter(parameter: Parameter) -> dict[str, Any]:
    bounds: Mapping[str, Any] = {"minimum": parameter.least, "maximum": parameter.most}
    if parameter.type == "list":
        schema_of: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
        if parameter.most is not None:
            schema_of["maxItems"] = int(parameter.most)
    else:
        schema_of = {"type": "boolean" if parameter.type == "flag" else parameter.type}
        schema_of.update({name: value for name, value in bounds.items() if value is not None})
    if parameter.default is not None:
        schema_of["default"] = parameter.default
    described = {
        "name": parameter.name,
        "in": "query",
        "required": False,
        "description": parameter.text,
        "schema": schema_of,
    }
    if parameter.type == "flag":
        described["allowEmptyValue"] = True
    return described


def _moved(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return the schemas with their references pointing to where OpenAPI keeps schemas."""
    if isinstance(value, dict):
        return {
            key: item.replace("#/$defs/", "#/components/schemas/")
            if key == "$ref" and isinstance(item, str)
            else _moved(item)
            for key, item in value.items()
        }
    return [_moved(item) for item in value] if isinstance(value, list) else value
