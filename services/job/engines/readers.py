"""Where others who read a file along, while it comes, wait for its bytes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

WAITING_SECONDS = 3.0
"""Who waits says so every second; who has not for so long is gone."""


class Readers:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: dict[int, float] = {}
        self._news = asyncio.Event()

    def wait_at(self, at: int) -> None:
        self._waiting[at] = self._clock()
        self._news.set()

    async def more(self) -> None:
        """Until somebody waits who has not been heard of since the last call."""
        await self._news.wait()
        self._news.clear()

    def waiting(self) -> list[int]:
        """From the start of the file on."""
        since = self._clock() - WAITING_SECONDS
        self._waiting = {at: when for at, when in self._waiting.items() if when > since}
        return sorted(self._waiting)
