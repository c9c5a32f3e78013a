"""An owner's bandwidth, dealt out to the workers that fetch for it."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg

from proto.job import Dealt
from services.job import views
from services.job.allowances import Allowances
from services.job.pacing import share

COUNTED_SECONDS = 0.5
"""How long the count of an owner's attempts is good; each report of progress asks for a share."""
KEPT = 10_000


class Shares:
    def __init__(
        self,
        pool: asyncpg.Pool,
        allowances: Allowances,
        tell: Callable[[Dealt], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._tell = tell
        self._allowances = allowances
        self._clock = clock
        self._counted: OrderedDict[UUID, tuple[float, dict[UUID, int]]] = OrderedDict()

    async def deal(self, owner: UUID) -> None:
        """Something has begun or ended for the owner: whoever runs anything for it hears of it at once."""
        bandwidth = (await self._allowances.of(owner)).bandwidth
        if bandwidth is not None:
            running = await self._count(owner)
            await self._tell(Dealt(owner=owner, bandwidth=bandwidth, running=running))

    def dealt(self, owner: UUID, running: dict[UUID, int]) -> None:
        """By us, or by another process."""
        self._counted[owner] = (self._clock() + COUNTED_SECONDS, running)
        while len(self._counted) > KEPT:
            self._counted.popitem(last=False)

    async def of(self, owner: UUID, worker: UUID) -> int | None:
        """None where there is no limit."""
        bandwidth = (await self._allowances.of(owner)).bandwidth
        if bandwidth is None:
            return None
        until, running = self._counted.get(owner, (0.0, {}))
        if until <= self._clock():
            running = await self._count(owner)
        return share(bandwidth, running, worker)

    async def _count(self, owner: UUID) -> dict[UUID, int]:
        async with self._pool.acquire() as conn:
            running = await views.moving(conn, owner)
        self.dealt(owner, running)
        return running
