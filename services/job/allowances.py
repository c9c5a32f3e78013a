"""What owners may take, as it is asked about with every submission and every report."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from libs.recent import Recent
from proto.auth import Limits
from proto.job import QuotaExceeded
from services.job import views
from services.job.domain import quota

TRUSTED_SECONDS = 1.0
"""How long limits are good, should another process have heard of new ones first."""
KEPT = 10_000


class Allowances:
    """For what need not be exact. What must be is read in the transaction that depends on it."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._known: Recent[UUID, Limits] = Recent(TRUSTED_SECONDS, KEPT)

    async def of(self, owner: UUID) -> Limits:
        limits = self._known.get(owner)
        if limits is None:
            async with self._pool.acquire() as conn:
                limits = await views.limits(conn, owner)
            self._known.keep(owner, limits)
        return limits

    async def full(self, owner: UUID) -> QuotaExceeded | None:
        """Whether the owner's storage is, so that nothing more need be begun."""
        if (await self.of(owner)).storage is None:
            return None
        async with self._pool.acquire() as conn:
            taken = await views.take(conn, owner)
        return quota.full(taken.limit, taken.kept + taken.reserved)

    def forget(self) -> None:
        self._known.clear()
