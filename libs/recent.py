"""What was found out a moment ago and need not be asked for again yet."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Values that are good for some seconds; of more than `most` the oldest are forgotten."""

    def __init__(self, seconds: float, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._known: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def get(self, key: K) -> V | None:
        known = self._known.get(key)
        return known[1] if known is not None and known[0] > self._clock() else None

    def keep(self, key: K, value: V) -> None:
        self._known[key] = (self._clock() + self._seconds, value)
        self._known.move_to_end(key)
        while len(self._known) > self._most:
            self._known.popitem(last=False)

    def forget(self, key: K) -> None:
        self._known.pop(key, None)

    def forget_where(self, outdated: Callable[[V], bool]) -> None:
        for key in [key for key, (_, value) in self._known.items() if outdated(value)]:
            del self._known[key]

    def clear(self) -> None:
        self._known.clear()
