"""Which changes of a message are refused, and which are allowed."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, Struct, field

from libs.contracts.compatibility import incompatible
from libs.contracts.schemas import schema


def message(*fields: tuple[Any, ...], tag: str = "sample.changed", closed: bool = False) -> dict[str, Any]:
    """The schema of a message with these fields, each (name, type) or (name, type, default)."""
    return schema(msgspec.defstruct("Sample", list(fields), tag=tag, tag_field="type", forbid_unknown_fields=closed))


class Inner(Struct):
    size: int
    label: str = ""


class InnerNarrower(Struct):
    size: Annotated[int, Meta(ge=0)]
    label: str = ""


class InnerGrown(Struct):
    size: int
    label: str = ""
    note: str | None = None


class InnerRequiring(Struct):
    size: int
    label: str
    note: str


class Chain(Struct):
    name: str
    next: "Chain | None" = None


class ChainNarrower(Struct):
    name: Annotated[str, Meta(max_length=3)]
    next: "ChainNarrower | None" = None


def text(**bounds: Any) -> Any:
    return Annotated[str, Meta(**bounds)]


def whole(**bounds: Any) -> Any:
    return Annotated[int, Meta(**bounds)]


BASE = ("who", str)

ALLOWED: dict[str, tuple[Any, Any]] = {
    "nothing changed": (message(BASE), message(BASE)),
    "a new field with a default": (message(BASE), message(BASE, ("why", str, ""))),
    "a field got a default": (message(BASE), message(("who", str, "nobody"))),
    "fields in another order": (message(BASE, ("n", int)), message(("n", int), BASE)),
    "another value in a list": (message(("s", Literal["a", "b"])), message(("s", Literal["a", "b", "c"]))),
    "a list became free text": (message(("s", Literal["a", "b"])), message(("s", str))),
    "may be absent now": (message(("n", int)), message(("n", int | None))),
    "whole numbers became any numbers": (message(("n", int)), message(("n", float))),
    "a wider range": (message(("n", whole(ge=1, le=10))), message(("n", whole(ge=0, le=11)))),
    "no range any more": (message(("n", whole(ge=1, le=10))), message(("n", int))),
    "a longer text": (message(("s", text(max_length=5))), message(("s", text(max_length=6)))),
    "a shorter text": (message(("s", text(min_length=5))), message(("s", text(min_length=4)))),
    "no pattern any more": (message(("s", text(pattern="^a$"))), message(("s", str))),
    "more items": (
        message(("l", Annotated[list[int], Meta(max_length=3)])),
        message(("l", Annotated[list[int], Meta(max_length=4)])),
    ),
    "a struct within grew": (message(("i", Inner)), message(("i", InnerGrown))),
    "a struct within has another name": (message(("c", Chain)), message(("c", Chain))),
    "opened for unknown fields": (message(BASE, closed=True), message(BASE)),
    "a struct within became anything": (message(("i", Inner)), message(("i", Any))),
    "anything is accepted now": (message(("d", dict[str, int])), message(("d", Any))),
}

REFUSED: dict[str, tuple[Any, Any, str]] = {
    "a new field without a default": (message(BASE), message(BASE, ("why", str)), "why is new and required"),
    "a removed field": (message(BASE, ("why", str, "")), message(BASE), "why was removed"),
    "a renamed field": (message(("who", str, "")), message(("whom", str, "")), "who was removed"),
    "renamed on the wire": (
        message(("who", str, "")),
        message(("who", str, field(default="", name="Who"))),
        "who was removed",
    ),
    "a default was taken away": (message(("who", str, "")), message(BASE), "who became required"),
    "another default": (message(("n", int, 5)), message(("n", int, 6)), "n had the default 5 and has 6"),
    "another tag": (message(BASE), message(BASE, tag="sample.renamed"), "type no longer accepts 'sample.changed'"),
    "another type": (message(("n", int)), message(("n", str)), "n was integer and is string"),
    "numbers became whole": (message(("n", float)), message(("n", int)), "n was number and is integer"),
    "text became a moment": (
        message(("s", str)),
        message(("s", Annotated[datetime, Meta(tz=True)])),
        "s has another format",
    ),
    "must be there now": (message(("n", int | None)), message(("n", int)), "n no longer accepts null"),
    "a value left a list": (
        message(("s", Literal["a", "b"])),
        message(("s", Literal["a"])),
        "s no longer accepts 'b'",
    ),
    "a value left an optional list": (
        message(("s", Literal["a", "b"] | None)),
        message(("s", Literal["a"] | None)),
        "s no longer accepts 'b'",
    ),
    "text became a list": (message(("s", str)), message(("s", Literal["a"])), "s was string and is one of a list"),
    "a higher minimum": (message(("n", whole(ge=1))), message(("n", whole(ge=2))), "n has a narrower minimum"),
    "a lower maximum": (message(("n", whole(le=9))), message(("n", whole(le=8))), "n has a narrower maximum"),
    "a range": (message(("n", int)), message(("n", whole(ge=0))), "n has a narrower minimum"),
    "an open range": (message(("n", int)), message(("n", whole(gt=0))), "n has a narrower exclusiveMinimum"),
    "a range in an optional": (
        message(("n", int | None)),
        message(("n", whole(ge=0) | None)),
        "n has a narrower minimum",
    ),
    "a shorter text": (
        message(("s", text(max_length=6))),
        message(("s", text(max_length=5))),
        "s has a narrower maxLength",
    ),
    "a longer text": (message(("s", str)), message(("s", text(min_length=1))), "s has a narrower minLength"),
    "a pattern": (message(("s", str)), message(("s", text(pattern="^a$"))), "s has another pattern"),
    "another pattern": (
        message(("s", text(pattern="^a$"))),
        message(("s", text(pattern="^b$"))),
        "s has another pattern",
    ),
    "fewer items": (
        message(("l", Annotated[list[int], Meta(max_length=4)])),
        message(("l", Annotated[list[int], Meta(max_length=3)])),
        "l has a narrower maxItems",
    ),
    "other items": (message(("l", list[int])), message(("l", list[str])), "l[] was integer and is string"),
    "another pair": (
        message(("p", tuple[int, str])),
        message(("p", tuple[int, int])),
        "p[1] was string and is integer",
    ),
    "a longer pair": (
        message(("p", tuple[int, str])),
        message(("p", tuple[int, str, str])),
        "p had 2 fixed places and has 3",
    ),
    "other values of a map": (
        message(("d", dict[str, int])),
        message(("d", dict[str, bool])),
        "d[*] was integer and is boolean",
    ),
    "anything became something": (message(("d", Any)), message(("d", int)), "d was anything and is integer"),
    "any items became some": (message(("l", list)), message(("l", list[int])), "l[] accepted anything"),
    "any map became some": (message(("d", dict)), message(("d", dict[str, int])), "d[*]"),
    "a struct within narrowed": (
        message(("i", Inner)),
        message(("i", InnerNarrower)),
        "i.size has a narrower minimum",
    ),
    "a struct within a list requires more": (
        message(("i", list[Inner])),
        message(("i", list[InnerRequiring])),
        "i[].note is new and required",
    ),
    "deep in a chain": (message(("c", Chain)), message(("c", ChainNarrower)), "c.name has a narrower maxLength"),
    "closed to unknown fields": (
        message(BASE),
        message(BASE, closed=True),
        "the message no longer accepts fields that it does not know",
    ),
}


@pytest.mark.parametrize(("old", "new"), ALLOWED.values(), ids=ALLOWED)
def test_a_change_that_reads_everything_old_is_allowed(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Growing is free."""
    assert incompatible(old, new) == []


@pytest.mark.parametrize(("old", "new", "problem"), REFUSED.values(), ids=REFUSED)
def test_a_change_that_loses_something_old_is_refused(old: dict[str, Any], new: dict[str, Any], problem: str) -> None:
    """The sentence says which field, and what about it."""
    found = incompatible(old, new)

    assert [one for one in found if problem in one], found
    assert incompatible(old, old) == incompatible(new, new) == []
