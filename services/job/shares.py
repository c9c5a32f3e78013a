"""An owner's bandwidth, dealt out to the workers that fetch for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg

from libs.recent import Recent
from proto.job import Dealt
from services.job import views
from services.job.allowances import Allowances
from services.job.domain.sharing import share

COUNTED_SECONDS = 0.5
"""How long the count of an owner's attempts is good; each report of progress asks for a share."""
KEPT = 10_000


class Shares:
    def __init__(self, pool: asyncpg.Pool, allowances: Allowances, tell: Callable[[Dealt], Awaitable[None]]) -> None:
        self._pool = pool
        self._tell = tell
        self._allowances = allowances
        self._counted: Recent[UUID, dict[UUID, int]] = Recent(COUNTED_SECONDS, KEPT)

    async def deal(self, owner: UUID) -> None:
        """Something has begun or ended for the owner: whoever runs anything for it hears of it at once."""
        bandwidth = (await self._allowances.of(owner)).bandwidth
        if bandwidth is not None:
            running = await self._count(owner)
            await self._tell(Dealt(owner=owner, bandwidth=bandwidth, running=running))

    def dealt(self, owner: UUID, running: dict[UUID, int]) -> None:
        """By us, or by another process."""
        self._counted.keep(owner, running)

    async def of(self, owner: UUID, worker: UUID) -> int | None:
        """None where there is no limit."""
        bandwidth = (await self._allowances.of(owner)).bandwidth
        if bandwidth is None:
            return None
        running = self._counted.get(owner)
        if running is None:
            running = await self._count(owner)
        return share(bandwidth, running, worker)

    async def _count(self, owner: UUID) -> dict[UUID, int]:
        async with self._pool.acquire() as conn:
            running = await views.moving(conn, owner)
        self.dealt(owner, running)
        return running
