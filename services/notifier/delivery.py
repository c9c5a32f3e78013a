"""Sends what is due, records every try, and tries again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

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


class Deliverer:
    """`changed` is set when something new is due."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        store: EventStore,
        channels: Mapping[Channel, Send],
    ) -> None:
        self.changed = asyncio.Event()
        self._pool = pool
        self._store = store
        self._channels = channels

    async def run(self) -> None:
        """Until cancelled; the loss of the database only pauses it."""
        await lasting("delivery.interrupted", self._rounds, AWAY)

    async def _rounds(self) -> None:
        while True:
            await self._round()

    async def _round(self) -> None:
        self.changed.clear()
        now = datetime.now(UTC)
        async with self._pool.acquire() as conn:
            due = await views.lease(conn, now, now + domain.FIRST_LEASE, AT_A_TIME)
        if due:
            async with asyncio.TaskGroup() as tasks:
                for one in due:
                    tasks.create_task(self._deliver(one))
            return
        async with self._pool.acquire() as conn:
            following = await views.next_due(conn)
        wait = LOOK_SECONDS if following is None else (following - datetime.now(UTC)).total_seconds()
        try:
            async with asyncio.timeout(min(max(wait, 0.01), LOOK_SECONDS)):
                await self.changed.wait()
        except TimeoutError:
            return

    async def _deliver(self, one: Delivery) -> None:
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
