"""Changes of what is known, one at a time for each account and way, announced in the same transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID, uuid5

import asyncpg

from libs.database import Connection
from libs.eventstore import AnyVersion, EventStore, Write
from libs.message import Event, Meta, new_id
from services.unrestrict_proxy.pool import views
from services.unrestrict_proxy.pool.breaker import Breaker, Way
from services.unrestrict_proxy.pool.breaker import Change as BreakerChange
from services.unrestrict_proxy.pool.standing import Change, Standing

_WAYS = UUID("8b0cbb5e-5c0f-4b7e-9a53-0f6d2a1f7c11")
"""Any constant: a way's stream has an id that every process comes to by itself."""


class Changes:
    def __init__(self, pool: asyncpg.Pool, store: EventStore) -> None:
        self._pool = pool
        self._store = store

    async def standing(
        self, account_id: UUID, decide: Callable[[Standing], Change], *, secret: bytes | None = None
    ) -> Standing | None:
        """As it is afterwards; None when the account is gone. What a platform said to a `secret` that was replaced
        meanwhile changes nothing."""
        async with self._store.transaction() as tx:
            await views.take_turn(tx.conn, str(account_id))
            before = await views.standing(tx.conn, account_id)
            if before is None:
                return None
            if secret is not None and not await views.has_secret(tx.conn, account_id, secret):
                return before
            after, events = decide(before)
            await self._announce(tx.conn, account_id, "account", events)
            if after != before:
                await views.save_standing(tx.conn, after)
        return after

    async def breaker(self, way: Way, decide: Callable[[Breaker], BreakerChange]) -> None:
        async with self._store.transaction() as tx:
            name = f"{way.via} {way.platform} {way.what}"
            await views.take_turn(tx.conn, name)
            before = await views.breaker(tx.conn, way)
            after, events = decide(before)
            await self._announce(tx.conn, uuid5(_WAYS, name), "breaker", events)
            if after != before:
                await views.save_breaker(tx.conn, after)

    async def _announce(self, conn: Connection, stream: UUID, kind: str, events: Sequence[Event]) -> None:
        if not events:
            return
        meta = Meta(correlation=new_id(), actor="service:unrestrict_proxy")
        write = Write(stream_id=stream, kind=kind, expected=AnyVersion(), events=events, meta=meta)
        await self._store.append(conn, [write])
