"""What owners may take, as it is asked about with every submission and every report."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from uuid import UUID

import asyncpg

from proto.auth import Limits
from proto.job import QuotaExceeded
from services.job import views
from services.job.domain import quota

TRUSTED_SECONDS = 1.0
"""How long limits are good, should another process have heard of new ones first."""
KEPT = 10_000


class Allowances:
    """For what need not be exact. What must be is read in the transaction that depends on it."""

    def __init__(self, pool: asyncpg.Pool, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._clock = clock
        self._known: OrderedDict[UUID, tuple[float, Limits]] = OrderedDict()

    async def of(self, owner: UUID) -> Limits:
        until, limits = self._known.get(owner, (0.0, Limits()))
        now = self._clock()
        if until > now:
            return limits
        async with self._pool.acquire() as conn:
            limits = await views.limits(conn, owner)
        self._known[owner] = (now + TRUSTED_SECONDS, limits)
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
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
