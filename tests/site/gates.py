"""Named gates: a response waits at one until the test lets it go, so that tests wait on signals and not on time."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict


class Gates:
    def __init__(self) -> None:
        self._open: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._arrivals: Counter[str] = Counter()
        self._changed = asyncio.Event()

    async def hold(self, name: str) -> None:
        """No deadline of its own: a client that leaves cancels the wait, and so does the end of the site."""
        self._arrivals[name] += 1
        self._changed.set()
        self._changed = asyncio.Event()
        await self._open[name].wait()

    def release(self, name: str) -> None:
        """Open for good, also for those who come later."""
        self._open[name].set()

    def arrivals(self, name: str) -> int:
        return self._arrivals[name]

    async def reached(self, name: str, times: int, timeout: float) -> None:
        async with asyncio.timeout(timeout):
            while self._arrivals[name] < times:
                await self._changed.wait()
