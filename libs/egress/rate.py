"""A limit in bytes per second."""

from __future__ import annotations

import time
from collections.abc import Callable

BURST_SECONDS = 0.25


class Rate:
    """A bucket that holds what may pass in BURST_SECONDS; time in which nothing came earns no more than that."""

    def __init__(self, per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._free_at = clock()

    def passed(self, count: int) -> float:
        """Seconds to wait before anything else may pass."""
        now = self._clock()
        self._free_at = max(self._free_at, now - BURST_SECONDS) + count / self._per_second
        return max(0.0, self._free_at - now)
