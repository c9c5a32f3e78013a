"""An owner's bandwidth, dealt out to the workers that fetch for it."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from uuid import UUID

import asyncpg

from services.job import views
from services.job.allowances import Allowances

COUNTED_SECONDS = 0.5
"""How long the count of an owner's attempts is good; each report of progress asks for a share."""
KEPT = 10_000


def share(bandwidth: int, running: Mapping[UUID, int], worker: UUID) -> int:
    """By how many attempts each worker runs: those of one worker share a bucket. Bytes per second, at least one."""
    mine = max(1, running.get(worker, 0))
    total = mine + sum(count for other, count in running.items() if other != worker)
    return max(1, bandwidth * mine // total)


class Shares:
    def __init__(self, pool: asyncpg.Pool, allowances: Allowances, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._allowances = allowances
        self._clock = clock
        self._counted: OrderedDict[UUID, tuple[float, dict[UUID, int]]] = OrderedDict()

    async def of(self, owner: UUID, worker: UUID, *, anew: bool = False) -> int | None:
        """None where there is no limit. `anew` when the worker has just begun something for the owner."""
        bandwidth = (await self._allowances.of(owner)).bandwidth
        if bandwidth is None:
            return None
        until, running = self._counted.get(owner, (0.0, {}))
        now = self._clock()
        if anew or until <= now:
            async with self._pool.acquire() as conn:
                running = await views.fetching(conn, owner)
            self._counted[owner] = (now + COUNTED_SECONDS, running)
            while len(self._counted) > KEPT:
                self._counted.popitem(last=False)
        return share(bandwidth, running, worker)
