"""What owners may take, kept from what auth announces."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from libs.calls import Answer
from libs.database import Connection
from libs.eventstore.projection import Applied
from proto.auth import LimitsSet
from proto.job import (
    ReadUsage,
    Usage,
)
from services.job import views

LIMITS = frozenset({"auth.limits_set"})


async def keep_limits(conn: Connection, batch: Sequence[Applied]) -> None:
    for one in batch:
        if isinstance(one.event, LimitsSet):
            await views.set_limits(conn, one.event.user_id, one.event.limits)


async def read_usage(query: ReadUsage, pool: asyncpg.Pool) -> Answer:
    async with pool.acquire() as conn:
        limits, taken = await views.limits(conn, query.owner), await views.take(conn, query.owner)
    return Answer(Usage(limits=limits, kept=taken.kept, reserved=taken.reserved))
