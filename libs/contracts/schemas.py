"""JSON Schema 2020-12 of one message, standing alone."""

from __future__ import annotations

from typing import Any

import msgspec

from libs.message import Registry, tag

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Message = type[msgspec.Struct]
Document = dict[str, Any]


def messages(registry: Registry) -> dict[str, Message]:
    """Every message that has a tag, by it."""
    found: dict[str, Message] = {}
    for table in (registry.commands, registry.queries, registry.events, registry.refusals):
        found.update(table)
    return found


def version(message: Message) -> int:
    """Only events have versions: they are stored. Everything else is answered or lost within seconds."""
    number: int = getattr(message, "schema_version", 1)
    return number


def file_name(message: Message) -> str:
    return f"{tag(message)}.v{version(message)}.json"


def split(name: str) -> tuple[str, int]:
    """Inverse of `file_name`: tag and version. Raises ValueError on any other name."""
    label, _, number = name.removesuffix(".json").rpartition(".v")
    return label, int(number)


def schema(message: Message) -> Document:
    body = msgspec.json.schema(message, schema_hook=_anything)
    document = {"$schema": DIALECT, "$id": file_name(message), **body}
    # Through JSON, so that it compares with what was read from a file: a default may be a tuple.
    plain: Document = msgspec.json.decode(msgspec.json.encode(document))
    return plain


def _anything(kind: type) -> Document:
    if kind is object:
        return {}
    raise NotImplementedError(f"a message has a field of {kind}, which JSON has no word for")


def summary(message: Message) -> str:
    """The first sentence of its docstring; "" for a message whose name says it all."""
    if message.__doc__ in {base.__doc__ for base in message.__mro__[1:]}:
        return ""
    first, more, _ = " ".join((message.__doc__ or "").split()).partition(". ")
    return f"{first}." if more else first
