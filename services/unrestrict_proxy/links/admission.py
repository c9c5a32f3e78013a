"""How many connections and requests one link and one user may have at once, over all processes that serve.

A connection is a row for as long as it lasts. Rows of a process that was killed count no more when its heart has not
beaten for a while, and go with the next beat of another.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import structlog

from libs.database import AWAY
from libs.lasting import lasting
from libs.message import new_id
from libs.serving.sending import NotBegun

log = structlog.get_logger()

PATIENCE = 1.0
"""Seconds that one more connection waits for another to end: who breaks one off and asks anew is heard to do so a
moment later than he does it."""
LOOK_SECONDS = 0.2
"""So often it is looked whether a connection ended that another process serves."""
RETRY_SECONDS = 5
BEAT_SECONDS = 10.0
SILENT = timedelta(seconds=3 * BEAT_SECONDS)
MINUTE = timedelta(minutes=1)


class Busy(Exception):
    """Too much at once; `retry_after` in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("too many connections at once")
        self.retry_after = retry_after


@contextmanager
def asking() -> Iterator[None]:
    """Of the database, before an answer began: that it is away can still be said."""
    try:
        yield
    except AWAY as error:
        raise NotBegun(f"the database is away: {type(error).__name__}") from error


class Admission:
    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        user_connections: int,
        requests: int,
        patience: float = PATIENCE,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`requests` of one link in a minute, 0 for any number; as many may come at once after a minute of none."""
        self._pool = pool
        self._user_connections = user_connections
        self._requests = requests
        self._patience = patience
        self._now = now
        self._process = new_id()
        self._open: set[UUID] = set()
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()

    async def run(self) -> None:
        await lasting("admission.interrupted", self.beat, AWAY, first=BEAT_SECONDS, longest=BEAT_SECONDS)

    async def beat(self) -> None:
        """Rows of ours that outlived their connections, because the database was away when these ended, go too."""
        now = self._now()
        async with self._pool.acquire() as conn, conn.transaction():
            await conn.execute(
                "insert into unrestrict_proxy.servers (process, seen_at)"
                " values ($1, $2)"
                " on conflict (process) do update set seen_at = excluded.seen_at",
                self._process,
                now,
            )
            await conn.execute("delete from unrestrict_proxy.servers where seen_at < $1", now - SILENT)
            await conn.execute(
                "delete from unrestrict_proxy.connections c where (process = $1 and connection_id <> all($2))"
                " or not exists (select from unrestrict_proxy.servers s where s.process = c.process)",
                self._process,
                list(self._open),
            )
            await conn.execute("delete from unrestrict_proxy.requests where free_at < $1", now - MINUTE)

    async def asked(self, link_id: str) -> None:
        """Counts a request. Raises Busy."""
        if not self._requests:
            return
        now, step = self._now(), MINUTE / self._requests
        async with self._pool.acquire() as conn:
            admitted = await conn.fetchval(
                "insert into unrestrict_proxy.requests as r (link_id, free_at)"
                " values ($1, $2::timestamptz - $4::interval + $3::interval)"
                " on conflict (link_id) do update set free_at = greatest(r.free_at, $2 - $4) + $3"
                " where greatest(r.free_at, $2 - $4) + $3 <= $2 returning true",
                link_id,
                now,
                step,
                MINUTE,
            )
            if admitted:
                return
            free_at: datetime | None = await conn.fetchval(
                "select free_at from unrestrict_proxy.requests where link_id = $1", link_id
            )
        wait = step if free_at is None else free_at + step - now
        raise Busy(max(1, round(wait.total_seconds())))

    @asynccontextmanager
    async def connection(self, link_id: str, owner: UUID, most: int) -> AsyncIterator[None]:
        """One of `most` of this link. Raises Busy and NotBegun."""
        connection_id = new_id()
        self._open.add(connection_id)
        try:
            with asking():
                await self._enter(connection_id, link_id, owner, most)
            yield
        finally:
            await asyncio.shield(self._left(connection_id))

    async def _enter(self, connection_id: UUID, link_id: str, owner: UUID, most: int) -> None:
        until = time.monotonic() + self._patience
        while not await self._admitted(connection_id, link_id, owner, most):
            left = until - time.monotonic()
            if left <= 0:
                raise Busy(RETRY_SECONDS)
            await self._change(min(left, LOOK_SECONDS))

    async def _change(self, seconds: float) -> None:
        """Until one of our connections has ended, or one of another process may have."""
        try:
            async with asyncio.timeout(seconds):
                await self._freed.wait()
        except TimeoutError:
            return

    async def _admitted(self, connection_id: UUID, link_id: str, owner: UUID, most: int) -> bool:
        """Those of one user are counted one after the other."""
        async with self._turn, self._pool.acquire() as conn:
            admitted: bool = await conn.fetchval(
                "select unrestrict_proxy.admitted($1, $2, $3, $4, $5, $6, $7)",
                connection_id,
                self._process,
                link_id,
                owner,
                most,
                self._user_connections,
                self._now() - SILENT,
            )
        return admitted

    async def _left(self, connection_id: UUID) -> None:
        self._open.discard(connection_id)
        try:
            async with self._pool.acquire() as conn:
                await conn.execute("delete from unrestrict_proxy.connections where connection_id = $1", connection_id)
        except AWAY as error:
            await log.awarning("admission.not_left", reason=type(error).__name__)
        # Who waits looks again; the next to wait waits for the next one.
        self._freed.set()
        self._freed = asyncio.Event()
