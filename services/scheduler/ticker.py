"""Rings when something is due. One leader among all scheduler processes, by advisory lock."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import asyncpg

from libs.bus import Bus
from libs.eventstore import AnyVersion, EventStore, Write
from libs.leading import lead
from libs.message import Meta, new_id
from services.scheduler import domain, views
from services.scheduler.domain import Schedule

LOOK_SECONDS = 5.0
"""At the latest so often the tables are read, should another process have written them."""
CONTEND_SECONDS = 1.0
LOCK = 0x5343_4845  # any constant; advisory locks share one space per database


class Ticker:
    def __init__(self, pool: asyncpg.Pool, store: EventStore, bus: Bus) -> None:
        self.changed = asyncio.Event()
        self._pool = pool
        self._store = store
        self._bus = bus

    async def run(self) -> None:
        await lead("ticker.interrupted", LOCK, self._pool, self._lead, CONTEND_SECONDS)

    async def _lead(self, conn: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> None:
        while True:
            self.changed.clear()
            now = datetime.now(UTC)
            for one in await views.due_schedules(conn, now):
                await self._fire(one, now)
            if await views.ring(conn, now):
                await self._bus.signal("wake.job", b"")
            due = await views.next_due(conn)
            delay = LOOK_SECONDS if due is None else min(LOOK_SECONDS, (due - datetime.now(UTC)).total_seconds())
            try:
                async with asyncio.timeout(max(delay, 0)):
                    await self.changed.wait()
            except TimeoutError:
                continue

    async def _fire(self, one: Schedule, now: datetime) -> None:
        assert one.next_run is not None
        event = domain.fire(one, one.next_run, now)
        meta = Meta(correlation=new_id(), actor="service:scheduler")
        following = domain.next_run(one.cron, now)
        async with self._store.transaction() as tx:
            await tx.append(
                [
                    Write(
                        stream_id=one.schedule_id,
                        kind="schedule",
                        expected=AnyVersion(),
                        events=[event],
                        meta=meta,
                        tenant=one.owner,
                    )
                ]
            )
            await views.reschedule(tx.conn, one.schedule_id, following)
