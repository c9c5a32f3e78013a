"""OpenAPI 3.1: what can be called over HTTP, from the structs that requests are read into and answers are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Struct

from libs.contracts.schemas import Document

VERSION = "3.1.0"
JSON = "application/json"

_REF = "#/components/schemas/{name}"
_PLACES = ("path", "query", "header")


class Call(Struct, frozen=True, kw_only=True):
    """One method of one path."""

    summary: str
    answers: Mapping[int, tuple[Any, ...]]
    """The types of the body by status: one of them, none for an empty one."""
    body: Any = None
    needs_body: bool = True
    path: type[Struct] | None = None
    query: type[Struct] | None = None
    header: type[Struct] | None = None


class Api(Struct, frozen=True, kw_only=True):
    title: str
    version: str
    description: str
    roots: tuple[str, ...]
    """What the paths may be put behind."""
    keys: Mapping[str, Mapping[str, str]]
    """Security schemes; any one of them will do."""
    headers: Mapping[int, Mapping[str, str]]
    """Of answers with a status: what each is for."""
    calls: Mapping[str, Call]
    """By `METHOD /path/{name}`."""


def document(api: Api) -> Document:
    types = [kind for call in api.calls.values() for kind in _types(call)]
    found, components = msgspec.json.schema_components(types, ref_template=_REF)
    schemas = dict(zip(map(repr, types), found, strict=True))
    paths: dict[str, Document] = {}
    for name, call in api.calls.items():
        method, path = name.split(" ")
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, call, schemas, components, api.headers)
    return {
        "openapi": VERSION,
        "info": {"title": api.title, "version": api.version, "description": api.description},
        "servers": [{"url": root} for root in api.roots],
        "security": [{name: []} for name in api.keys],
        "paths": paths,
        "components": {
            "securitySchemes": dict(api.keys),
            # Parameters are written out where they are used.
            "schemas": {
                name: _without_nothing(one)
                for name, one in components.items()
                if name not in _parameters(api.calls.values())
            },
        },
    }


def _operation(
    method: str,
    path: str,
    call: Call,
    schemas: Document,
    components: Mapping[str, Document],
    headers: Mapping[int, Mapping[str, str]],
) -> Document:
    operation: Document = {
        "operationId": re.sub(r"\W+", "_", f"{method.lower()}{path}").strip("_"),
        "summary": call.summary,
        "responses": {
            str(status): _response(status, kinds, schemas, headers.get(status, {}))
            for status, kinds in sorted(call.answers.items())
        },
    }
    if parameters := [one for place in _PLACES for one in _in(place, getattr(call, place), components)]:
        operation["parameters"] = parameters
    if call.body is not None:
        operation["requestBody"] = {
            "required": call.needs_body,
            "content": {JSON: {"schema": schemas[repr(call.body)]}},
        }
    return operation


def _response(status: int, kinds: tuple[Any, ...], schemas: Document, headers: Mapping[str, str]) -> Document:
    response: Document = {"description": HTTPStatus(status).phrase}
    found = [schemas[repr(kind)] for kind in kinds]
    if found:
        response["content"] = {JSON: {"schema": found[0] if len(found) == 1 else {"anyOf": found}}}
    if headers:
        response["headers"] = {
            name: {"description": text, "required": True, "schema": {"type": "string"}}
            for name, text in headers.items()
        }
    return response


def _in(place: str, kind: type[Struct] | None, components: Mapping[str, Document]) -> list[Document]:
    if kind is None:
        return []
    schema = components[kind.__name__]
    needed = schema.get("required", [])
    return [
        {"name": name, "in": place, "required": name in needed, "schema": field}
        for name, field in schema["properties"].items()
    ]


def _without_nothing(schema: Document) -> Document:
    """A default of null says that the field may be left out, which is said already."""
    fields = schema.get("properties", {}).values()
    for field in fields:
        if field.get("default", ...) is None:
            del field["default"]
    return schema


def _types(call: Call) -> Iterable[Any]:
    yield from (kind for kind in (call.path, call.query, call.header, call.body) if kind is not None)
    for kinds in call.answers.values():
        yield from kinds


def _parameters(calls: Iterable[Call]) -> set[str]:
    return {kind.__name__ for call in calls for kind in (call.path, call.query, call.header) if kind is not None}
