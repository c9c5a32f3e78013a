"""How often one asker may ask. Only a guard: no program in its right mind comes near it."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

BURST_SECONDS = 10.0
"""So many seconds' worth of requests at the full rate may come at once."""
KEPT = 50_000
TELL_SECONDS = 0.5
SELDOM = 0.01
"""The part of what the rate allows below which nobody else is told of an asker."""


class TooMany(Exception):
    """Asked too often; `seconds` until it may ask again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many requests; try again in {seconds} s")
        self.seconds = seconds


class Throttle:
    """`rate` is requests per second, 0 for no limit. Who asked longest ago is forgotten first.

    Of several processes each counts for itself, and tells the others every TELL_SECONDS whom it let through how often:
    a request costs nothing more, and what gets through all of them together is over the rate for that long at most.
    """

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._due: OrderedDict[str, float] = OrderedDict()
        self._untold: dict[str, int] = {}

    def spent(self, who: str) -> None:
        """Raises TooMany for who may not ask now; counts nothing."""
        over = self._due.get(who, 0.0) - self._clock() - BURST_SECONDS
        if self._rate and over >= 0:
            raise TooMany(max(1, math.ceil(over)))

    def count(self, who: str) -> None:
        """One request. Raises TooMany, and what is refused is not counted."""
        if not self._rate:
            return
        self.spent(who)
        self._add(who, 1)
        self._untold[who] = self._untold.get(who, 0) + 1

    def news(self) -> dict[str, int]:
        """Who was let through how often since this was last asked. Who was so seldom that it does not matter, however
        many processes there are, is left out."""
        seldom = self._rate * TELL_SECONDS * SELDOM
        told = {who: times for who, times in self._untold.items() if times >= seldom}
        self._untold.clear()
        return told

    def heard(self, counts: Mapping[str, int]) -> None:
        """Of another process."""
        for who, times in counts.items():
            self._add(who, times)

    def _add(self, who: str, times: int) -> None:
        self._due[who] = max(self._due.pop(who, 0.0), self._clock()) + times / self._rate
        while len(self._due) > KEPT:
            self._due.popitem(last=False)
