"""How often one asker may ask. Only a guard: no program in its right mind comes near it."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

BURST_SECONDS = 10.0
"""Of requests at the full rate that may come at once."""
KEPT = 50_000


class TooMany(Exception):
    """Asked too often; `seconds` until it may ask again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many requests; try again in {seconds} s")
        self.seconds = seconds


class Throttle:
    """`rate` is requests per second, 0 for no limit. Who asked longest ago is forgotten first."""

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._due: OrderedDict[str, float] = OrderedDict()

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
        self._due[who] = max(self._due.pop(who, 0.0), self._clock()) + 1 / self._rate
        while len(self._due) > KEPT:
            self._due.popitem(last=False)
