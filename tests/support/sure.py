"""What a type leaves open and a test knows."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def sure(value: T | None) -> T:
    assert value is not None
    return value


def being(kind: type[T], value: object) -> T:
    assert isinstance(value, kind), value
    return value
