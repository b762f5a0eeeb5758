"""The description of the API in OpenAPI, from the table of its endpoints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastlog.version import __version__
from fastlog.web.access import CSRF_HEADER
from fastlog.web.endpoint import Endpoint
from fastlog.web.schemas import ERROR, RECORD

_TEXTS = {
    400: "A parameter is wrong.",
    401: "A login is needed.",
    403: "The request is not allowed.",
    404: "There is no such record.",
    408: "The body did not arrive in time.",
    413: "The body is too long.",
    429: "Too many wrong passwords.",
    503: "Too many requests at a time.",
}


def describe(endpoints: Iterable[Endpoint], prefix: str) -> dict[str, Any]:
    """Return the description.

    Args:
        prefix: What comes before the path of each endpoint.
    """
    paths: dict[str, Any] = {}
    for endpoint in endpoints:
        paths.setdefault(prefix + endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fastlog",
            "version": __version__,
            "description": "Search, count and follow the records of a fastlog store.",
        },
        "paths": paths,
        "components": {
            "schemas": {"Record": RECORD, "Error": ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    parameters = [each.schema() for each in endpoint.parameters]
    if "{id}" in endpoint.path:
        text = "The id of a record: NODE:OFFSET:IDX."
        schema = {"type": "string", "minLength": 1}
        parameters.append(
            {"name": "id", "in": "path", "required": True, "description": text, "schema": schema}
        )
    if endpoint.method != "GET":
        schema = {"type": "string", "const": "1"}
        parameters.append({"name": CSRF_HEADER, "in": "header", "required": True, "schema": schema})
    schema = _with_references(endpoint.answer)
    answer = {media_type: {"schema": schema} for media_type in endpoint.media_types}
    failure = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    statuses = {400, 401, 403, 503, *endpoint.failures}
    operation: dict[str, Any] = {
        "summary": endpoint.about,
        "operationId": f"{endpoint.method.lower()}{endpoint.path.replace('/', '_')}".replace(
            "{id}", "one"
        ),
        "parameters": parameters,
        "responses": {
            "200": {"description": "The answer.", "content": answer},
            **{
                str(status): {"description": _TEXTS[status], "content": failure}
                for status in sorted(statuses)
            },
        },
    }
    if endpoint.body is not None:
        content = {"application/json": {"schema": endpoint.body}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _with_references(schema: Any) -> Any:
    """Return a schema in which that of a record is a reference."""
    if schema is RECORD:
        return {"$ref": "#/components/schemas/Record"}
    if isinstance(schema, dict):
        return {name: _with_references(value) for name, value in schema.items()}
    if isinstance(schema, list):
        return [_with_references(value) for value in schema]
    return schema
