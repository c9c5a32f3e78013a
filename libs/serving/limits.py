"""How many connections and requests one link and one user may have at once, in this process."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager

PATIENCE = 1.0
"""Seconds that one more connection waits for another to end: who breaks one off and asks anew is heard to do so a
moment later than he does it."""
RETRY_SECONDS = 5
LINKS_KEPT = 10_000
MINUTE = 60.0


class Busy(Exception):
    """Too much at once; `retry_after` in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("too many connections at once")
        self.retry_after = retry_after


class Limits:
    def __init__(
        self,
        *,
        user_connections: int,
        requests: int,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`requests` of one link in a minute, 0 for any number; as many may come at once after a minute of none."""
        self._user_connections = user_connections
        self._requests = requests
        self._patience = patience
        self._clock = clock
        self._open: Counter[Hashable] = Counter()
        self._freed = asyncio.Event()
        self._free_at: OrderedDict[Hashable, float] = OrderedDict()

    def asked(self, link: Hashable) -> None:
        """Counts a request. Raises Busy."""
        if not self._requests:
            return
        now = self._clock()
        free_at = max(self._free_at.get(link, 0.0), now - MINUTE) + MINUTE / self._requests
        if free_at > now:
            raise Busy(max(1, round(free_at - now)))
        self._free_at[link] = free_at
        self._free_at.move_to_end(link)
        while len(self._free_at) > LINKS_KEPT:
            self._free_at.popitem(last=False)

    @asynccontextmanager
    async def connection(self, link: Hashable, user: Hashable, most: int) -> AsyncIterator[None]:
        """One of `most` of this link. Raises Busy."""
        try:
            async with asyncio.timeout(self._patience):
                while self._open[link] >= most or self._open[user] >= self._user_connections:
                    await self._freed.wait()
        except TimeoutError:
            raise Busy(RETRY_SECONDS) from None
        self._open.update((link, user))
        try:
            yield
        finally:
            self._open.subtract((link, user))
            self._open = +self._open
            # Who waits looks again; the next to wait waits for the next one.
            self._freed.set()
            self._freed = asyncio.Event()
