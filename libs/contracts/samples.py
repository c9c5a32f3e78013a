"""One plausible body of a message, the same on every run: for documents, and for the corpus that must always decode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import inspect

from libs.contracts.schemas import Message

MOMENT = "2026-01-02T03:04:05.678901Z"
WORDS: Mapping[str, str] = {
    "code": "http_status",
    "cron": "*/15 * * * *",
    "email": "ada@example.org",
    "file_ref": "a1b2c3",
    "location": "clips/film.mp4",
    "media_type": "video/mp4",
    "message": "The link is gone.",
    "name": "film.mp4",
    "path": "01890000-0000-7000-8000-000000000001/film.mp4",
    "platform": "filehost",
    "title": "A film",
    "url": "https://media.example.org/film.mp4",
    "username": "ada",
    "webhook_url": "https://hooks.example.org/longshore",
}
PATTERNS: Mapping[str, str] = {
    r"^[a-z_]+\.[a-z_]+$": "gateway.jobs",
    "^[0-9a-f]{64}$": "a3" * 32,
    "^[A-Za-z0-9_-]{22}$": "q83vEjRWeJCrze8SNFZ4kA",
    "^([01][0-9]|2[0-3]):[0-5][0-9]$": "22:00",
}


def sample(message: Message, *, full: bool) -> dict[str, Any]:
    """A body that decodes. `full` has every field; otherwise there are only those without a default."""
    kind = inspect.type_info(message)
    assert isinstance(kind, inspect.StructType)
    body: dict[str, Any] = _struct(kind, full=full)
    return body


def _struct(kind: inspect.StructType, *, full: bool) -> dict[str, Any]:
    config = kind.cls.__struct_config__
    body: dict[str, Any] = {} if config.tag is None else {str(config.tag_field): config.tag}
    for field in kind.fields:
        if full or field.required:
            body[field.encode_name] = _value(field.type, field.encode_name, full=full)
    return body


def _value(kind: inspect.Type, name: str, *, full: bool) -> Any:
    match kind:
        case inspect.StructType():
            return _struct(kind, full=full)
        case inspect.UnionType():
            choices = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
            return _value(choices[0], name, full=full) if full else None
        case inspect.UUIDType():
            return f"01890000-0000-7000-8000-{sum(name.encode()) * 7919:012x}"
        case inspect.DateTimeType():
            return MOMENT
        case inspect.LiteralType():
            return min(kind.values, key=str)
        case inspect.BoolType():
            return True
        case inspect.IntType():
            return _whole(kind)
        case inspect.FloatType():
            return 1.5
        case inspect.StrType():
            return _text(kind, name)
        case inspect.VarTupleType() | inspect.ListType():
            return [_value(kind.item_type, name, full=full)] if full or kind.min_length else []
        case inspect.TupleType():
            return [_value(one, name, full=full) for one in kind.item_types]
        case inspect.DictType():
            return {"key": _value(kind.value_type, name, full=full)} if full else {}
        case inspect.AnyType() | inspect.CustomType():
            return "anything"
        case _:
            raise TypeError(f"no sample of {kind} is known; add one here")


def _whole(kind: inspect.IntType) -> int:
    low = kind.ge if kind.ge is not None else 3
    return max(low, min(3, kind.le if kind.le is not None else 3))


def _text(kind: inspect.StrType, name: str) -> str:
    return PATTERNS.get(kind.pattern or "") or WORDS.get(name, name)


def encode(body: object) -> bytes:
    """As files keep it: indented, one newline at the end."""
    return msgspec.json.format(msgspec.json.encode(body), indent=2) + b"\n"
