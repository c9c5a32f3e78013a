"""A limit in bytes per second."""

from __future__ import annotations

import time
from collections.abc import Callable

BURST_SECONDS = 0.25
LOOK_SECONDS = 0.5
"""Who waits looks again after this at the latest: the limit may have changed meanwhile."""


class Rate:
    """A bucket that holds what may pass in BURST_SECONDS; time in which nothing came earns no more than that. Several
    connections may share one."""

    def __init__(self, per_second: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        """None is no limit."""
        self._per_second = per_second
        self._clock = clock
        self._free_at = clock()

    @property
    def per_second(self) -> int | None:
        return self._per_second

    def set(self, per_second: int | None) -> None:
        """From now on; what has passed and is not paid for yet is paid at the new rate."""
        now, before = self._clock(), self._per_second
        owed = max(0.0, self._free_at - now) * (before or 0)
        self._per_second = per_second
        self._free_at = now if per_second is None else now + owed / per_second

    def passed(self, count: int) -> float:
        """Seconds to wait before anything else may pass."""
        if self._per_second is None:
            return 0.0
        self._free_at = max(self._free_at, self._clock() - BURST_SECONDS) + count / self._per_second
        return self.owed()

    def owed(self) -> float:
        """Seconds that are still to be waited."""
        return 0.0 if self._per_second is None else max(0.0, self._free_at - self._clock())
