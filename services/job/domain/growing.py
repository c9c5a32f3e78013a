"""What a long job gathers item by item, without copying what it has with each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TypeVar

Value = TypeVar("Value")


class Growing(Mapping[str, Value]):
    """A mapping of which every state stays as it is: one with more shares what it has with those before it, as long as
    it grows from the last of them."""

    __slots__ = ("_count", "_shared")

    def __init__(self, shared: dict[str, tuple[int, Value]] | None = None, count: int = 0) -> None:
        self._shared = {} if shared is None else shared
        self._count = count

    def plus(self, key: str, value: Value) -> Growing[Value]:
        """A key that is there already keeps its value."""
        if key in self:
            return self
        shared = self._shared
        if len(shared) > self._count:  # somebody grew from here already
            shared = dict(islice(shared.items(), self._count))
        shared[key] = (self._count, value)
        return Growing(shared, self._count + 1)

    def __getitem__(self, key: str) -> Value:
        place, value = self._shared[key]
        if place >= self._count:
            raise KeyError(key)
        return value

    def __contains__(self, key: object) -> bool:
        found = self._shared.get(key)  # type: ignore[call-overload]  # a mapping may be asked for anything
        return found is not None and found[0] < self._count

    def __iter__(self) -> Iterator[str]:
        return islice(self._shared, self._count)

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"Growing({dict(self)!r})"
