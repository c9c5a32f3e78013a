"""Sends what is due, records every try, and tries again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import asyncpg

from libs.database import AWAY
from libs.eventstore import AnyVersion, EventStore, Write
from libs.lasting import lasting
from libs.message import Event, Meta, new_id
from proto.notifier import WebhookAttempted
from services.notifier import domain, views
from services.notifier.channels.posting import Answered
from services.notifier.views import Channel, Delivery

Send = Callable[[Delivery], Awaitable[Answered]]

LOOK_SECONDS = 60.0
AT_A_TIME = 20
ORDER_SECONDS = 2.0
"""For so long what is told of a job waits for what was to be told before it. A receiver that leaves what it does not
want without an answer hears soon enough of the end."""
AT_ONE_RECEIVER = 5
"""Who has so many tries under way is given no more: one who never answers keeps nobody else waiting. A single lease may
go beyond it."""


class Deliverer:
    """`changed` is set when something new is due."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        store: EventStore,
        channels: Mapping[Channel, Send],
        order_seconds: float = ORDER_SECONDS,
    ) -> None:
        self.changed = asyncio.Event()
        self._pool = pool
        self._store = store
        self._channels = channels
        self._order_seconds = order_seconds

    async def run(self) -> None:
        """Until cancelled; the loss of the database only pauses it."""
        await lasting("delivery.interrupted", self._rounds, AWAY)

    async def _rounds(self) -> None:
        busy: Counter[str] = Counter()
        latest: dict[UUID, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                self.changed.clear()
                now, free = datetime.now(UTC), AT_A_TIME - busy.total()
                full = [receiver for receiver, tries in busy.items() if tries >= AT_ONE_RECEIVER]
                async with self._pool.acquire() as conn:
                    until = now + domain.FIRST_LEASE
                    due = await views.lease(conn, now, until, min(free, AT_ONE_RECEIVER), full) if free else []
                    following = await views.next_due(conn, full) if free and not due else None
                for one in due:
                    busy[one.receiver] += 1
                    task = tasks.create_task(self._deliver(one, latest.get(one.job_id)))
                    latest[one.job_id] = task
                    task.add_done_callback(partial(self._over, busy, one.receiver))
                    task.add_done_callback(partial(_forget, latest, one.job_id))
                if not due:
                    await self._idle(following)

    def _over(self, busy: Counter[str], receiver: str, _: asyncio.Task[None]) -> None:
        busy[receiver] -= 1
        if not busy[receiver]:
            del busy[receiver]
        self.changed.set()

    async def _idle(self, following: datetime | None) -> None:
        wait = LOOK_SECONDS if following is None else (following - datetime.now(UTC)).total_seconds()
        try:
            async with asyncio.timeout(min(max(wait, 0.01), LOOK_SECONDS)):
                await self.changed.wait()
        except TimeoutError:
            return

    async def _deliver(self, one: Delivery, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait((before,), timeout=self._order_seconds)
        answered = await self._channels[one.channel](one)
        at, number = datetime.now(UTC), one.attempts + 1
        failed = answered.error is not None
        following = at + domain.DELAYS[number - 1] if failed and number <= len(domain.DELAYS) else None
        event: Event = WebhookAttempted(
            delivery_id=one.delivery_id,
            owner=one.owner,
            job_id=one.job_id,
            number=number,
            outcome="failed" if failed else "delivered",
            status=answered.status,
            error=answered.error,
            elapsed_ms=answered.elapsed_ms,
            at=at,
            next_attempt_at=following,
            channel=one.channel,
        )
        async with self._store.transaction() as tx:
            await tx.append(
                [
                    Write(
                        stream_id=one.delivery_id,
                        kind="delivery",
                        expected=AnyVersion(),
                        events=[event],
                        meta=Meta(correlation=new_id(), actor="service:notifier"),
                        tenant=one.owner,
                    )
                ]
            )
            await views.attempted(tx.conn, one.delivery_id, number, following)


def _forget(latest: dict[UUID, asyncio.Task[None]], job_id: UUID, task: asyncio.Task[None]) -> None:
    if latest.get(job_id) is task:
        del latest[job_id]
