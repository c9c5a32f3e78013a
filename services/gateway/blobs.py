"""What clients keep here for themselves: one opaque blob for each user and kind.

No events and no read model: this table is the truth, and belongs to the user, not to the key that wrote it.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import asyncpg
from msgspec import Struct


class Blob(Struct, frozen=True, kw_only=True):
    body: bytes
    entries: int
    """How many things the client says are in it."""
    synced_by: str | None
    updated_at: datetime


class Blobs:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def read(self, owner: UUID, kind: str) -> Blob | None:
        row = await self._pool.fetchrow(
            "select body, entries, synced_by, updated_at from gateway.blobs where owner = $1 and kind = $2",
            owner,
            kind,
        )
        return Blob(**row) if row else None

    async def write(self, owner: UUID, kind: str, blob: Blob) -> None:
        async with self._pool.acquire() as conn, conn.transaction():
            await _durably(conn)
            await conn.execute(
                "insert into gateway.blobs (owner, kind, body, entries, synced_by, updated_at)"
                " values ($1, $2, $3, $4, $5, $6) on conflict (owner, kind) do update set"
                " body = excluded.body, entries = excluded.entries, synced_by = excluded.synced_by,"
                " updated_at = excluded.updated_at",
                owner,
                kind,
                blob.body,
                blob.entries,
                blob.synced_by,
                blob.updated_at,
            )

    async def remove(self, owner: UUID, kind: str) -> bool:
        """Whether there was one."""
        async with self._pool.acquire() as conn, conn.transaction():
            await _durably(conn)
            done: str = await conn.execute("delete from gateway.blobs where owner = $1 and kind = $2", owner, kind)
        return done != "DELETE 0"


async def _durably(conn: asyncpg.Connection) -> None:
    """The gateway's connections do not wait for the disk, which is right for what can be rebuilt, and not for this."""
    await conn.execute("set local synchronous_commit = on")
