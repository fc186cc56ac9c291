"""The OpenAPI 3.1 document, made from the table of operations and the types that go in and out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from dure.api.operations import Operation
from dure.api.problems import PROBLEM_JSON, Problem

_PATH_PARAMETER = re.compile(r"{(\w+)(?::path)?}")
"""One with `:path` is several parts of the path; OpenAPI has no word for that."""
_REFERENCE = "#/components/schemas/{name}"


def openapi_document(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """The whole document as plain values."""
    types = _types(operations)
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    schema_of = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = _PATH_PARAMETER.sub(r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Dure",
            "version": version,
            "summary": "Shares a nation's GPUs fairly, keeps data home, and proves what happened.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _types(operations: Iterable[Operation]) -> list[Any]:
    answers = [operation.answer for operation in operations if operation.answer is not None]
    bodies = [kind for operation in operations for kind in operation.bodies.values() if kind is not None]
    return list({id(kind): kind for kind in [Problem, *answers, *bodies]}.values())


def _operation(operation: Operation, schema_of: dict[int, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": f"{operation.handler.__module__.rpartition('.')[2]}-{operation.handler.__name__}",
        "summary": operation.summary,
        "description": _description(operation),
        "parameters": [*_path_parameters(operation), *_other_parameters(operation)],
        "security": [] if operation.permission is None else [{"token": []}],
        "responses": {
            str(operation.status): _answer(operation, schema_of),
            "default": {
                "description": "Why it was not done.",
                "content": {PROBLEM_JSON: {"schema": schema_of[id(Problem)]}},
            },
        },
    }
    if operation.bodies:
        content = {media_type: _body(kind, schema_of) for media_type, kind in operation.bodies.items()}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _description(operation: Operation) -> str:
    needs = f"Needs the permission `{operation.permission}`." if operation.permission else "Needs no token."
    return f"{(operation.handler.__doc__ or '').strip()} {needs}"


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    names = _PATH_PARAMETER.findall(operation.path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _other_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": each.name,
            "in": each.place,
            "required": each.required,
            "description": each.description,
            "schema": {"type": each.type},
        }
        for each in operation.parameters
    ]


def _answer(operation: Operation, schema_of: dict[int, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"description": operation.summary}
    if operation.answer_media_type:
        schema = {"type": "string"} if operation.answer is None else schema_of[id(operation.answer)]
        described["content"] = {operation.answer_media_type: {"schema": schema}}
    return described


def _body(kind: Any, schema_of: dict[int, Any]) -> dict[str, Any]:
    return {"schema": {"type": "string"} if kind is None else schema_of[id(kind)]}
