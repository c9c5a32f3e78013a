"""Asking platforms for the state of accounts: no more often than they like, one asker at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import asyncpg
import structlog

from libs.database import AWAY
from services.unrestrict_proxy.adapters.contract import AccountState, Adapter, HostError
from services.unrestrict_proxy.pool import breaker, standing, views
from services.unrestrict_proxy.pool.breaker import Way
from services.unrestrict_proxy.pool.changes import Changes
from services.unrestrict_proxy.pool.serving import Platforms
from services.unrestrict_proxy.pool.sessions import Sessions
from services.unrestrict_proxy.pool.views import Account

log = structlog.get_logger()

READING_SECONDS = 120.0
"""After which a reading that told nothing is given to another: more than a login, its wait and the two calls take."""
AT_ONCE = 4
LOOK_MOST = 600.0
LOOK_LEAST = 5.0
"""Seconds between two looks whether anything is due."""

Pair = tuple[Account, Adapter]


class Readings:
    def __init__(
        self,
        pool: asyncpg.Pool,
        changes: Changes,
        sessions: Sessions,
        platforms: Platforms,
        now: Callable[[], datetime],
    ) -> None:
        self._pool = pool
        self._changes = changes
        self._sessions = sessions
        self._platforms = platforms
        self._now = now
        self._places = asyncio.Semaphore(AT_ONCE)
        self._turns: dict[UUID, asyncio.Lock] = {}
        self._look = asyncio.Event()

    def look(self) -> None:
        """There may be something due."""
        self._look.set()

    async def due(self, pairs: Iterable[Pair]) -> bool:
        """Read what is due of these; whether there was any."""
        now = self._now()
        due = [pair for pair in pairs if pair[0].standing.due(now, pair[1].caps.state_seconds)]
        async with asyncio.TaskGroup() as tasks:
            for account, adapter in due:
                tasks.create_task(self.read(account, adapter))
        return bool(due)

    async def read(self, account: Account, adapter: Adapter) -> None:
        """Not again when another did meanwhile. What the platform answers is in the account's standing afterwards."""
        async with self._turns.setdefault(account.account_id, asyncio.Lock()), self._places:
            now = self._now()
            async with self._pool.acquire() as conn:
                until = now + timedelta(seconds=READING_SECONDS)
                if not await views.claim_reading(conn, account.standing, now, until):
                    return
            try:
                await self._read(account, adapter)
            finally:
                async with self._pool.acquire() as conn:
                    await views.end_reading(conn, account.account_id)

    async def _read(self, account: Account, adapter: Adapter) -> None:
        way = Way(adapter.platform, adapter.platform)
        try:
            state, hosts = await self._asked(account, adapter)
        except HostError as error:
            await self._not_read(account, way, error)
            return
        now = self._now()
        read = partial(standing.was_read, state=state, hosts=hosts, now=now)
        await self._changes.standing(account.account_id, read, secret=account.sealed_secret)
        await self._changes.breaker(way, partial(breaker.worked, now=now))

    async def _not_read(self, account: Account, way: Way, error: HostError) -> None:
        now = self._now()
        await log.awarning(
            "host.account_not_read",
            platform=account.platform,
            code=error.code,
            reason=error.message,
            detail=error.detail,
        )
        if error.scope == "account":
            refused = partial(standing.refused, error=error, now=now)
            await self._changes.standing(account.account_id, refused, secret=account.sealed_secret)
            return
        await self._changes.standing(account.account_id, partial(standing.was_not_read, now=now))
        if error.scope == "host":
            await self._changes.breaker(
                way, partial(breaker.failed, reason=error.message, retry_after=error.retry_after, now=now)
            )

    async def _asked(self, account: Account, adapter: Adapter) -> tuple[AccountState, frozenset[str]]:
        state = await self._sessions.call(account, adapter, adapter.account)
        if not adapter.caps.multihost or not state.usable:
            return state, account.standing.hosts
        hosts = await self._sessions.call(account, adapter, adapter.hosts)
        return state, frozenset(host.lower().removeprefix("www.") for host in hosts)

    async def run(self) -> None:
        """Reads states when they are due, so that nobody who asks for a link waits for it."""
        while True:
            self._look.clear()
            try:
                pause = await self._looked()
            except* AWAY as errors:
                await log.awarning("pool.interrupted", reason=type(errors.exceptions[0]).__name__)
                pause = LOOK_LEAST
            try:
                async with asyncio.timeout(pause):
                    await self._look.wait()
            except TimeoutError:
                continue

    async def _looked(self) -> float:
        """Seconds until it is worth looking again. Without accounts nothing holds a connection."""
        await self.due(await self._pairs())
        now = self._now()
        pairs = await self._pairs()
        for account, _ in pairs:
            if account.standing.recovers(now):
                await self._changes.standing(account.account_id, partial(standing.recovered, now=now))
        if pairs:
            async with self._pool.acquire() as conn:
                await views.forget_expired(conn, now)
        times = [one.standing.next_look(now, adapter.caps.state_seconds) for one, adapter in pairs]
        due = [(end - now).total_seconds() for end in times if end is not None]
        return min(max(min(due, default=LOOK_MOST), LOOK_LEAST), LOOK_MOST)

    async def _pairs(self) -> list[Pair]:
        async with self._pool.acquire() as conn:
            accounts = await views.accounts(conn, self._now())
        return self._platforms.known(accounts)
