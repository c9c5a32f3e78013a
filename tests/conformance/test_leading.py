"""One leader at a time, by a lock of its database session."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from libs.bus import Unreachable
from libs.leading import lead

LOCK = 7
PACE = 0.02


class Contender:
    """Leads until it is told to fail; each term puts the process id of its session on the list."""

    def __init__(self, name: str, pool) -> None:
        self.terms: asyncio.Queue[int] = asyncio.Queue()
        self.fail = asyncio.Event()
        self.may_notice = asyncio.Event()
        self.may_notice.set()
        self._name = name
        self._pool = pool

    async def run(self) -> None:
        await lead(self._name, LOCK, self._pool, self._work, PACE)

    async def _work(self, conn) -> None:
        self.terms.put_nowait(await conn.fetchval("select pg_backend_pid()"))
        try:
            while not self.fail.is_set():
                await conn.fetchval("select 1 from pg_sleep(0.01)")
        finally:
            await self.may_notice.wait()
        self.fail.clear()
        raise Unreachable("the bus is away")


@contextlib.asynccontextmanager
async def running(contender: Contender):
    task = asyncio.create_task(contender.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
async def contenders(installation):
    return [Contender(name, await installation.pool("job")) for name in ("first", "second")]


async def holders(installation) -> list[int]:
    async with (await installation.pool("job")).acquire() as conn:
        rows = await conn.fetch(
            "select pid from pg_locks where locktype = 'advisory' and classid = 0 and objid = $1", LOCK
        )
    return [row["pid"] for row in rows]


async def test_of_two_contenders_one_leads_and_the_other_follows_when_it_is_cancelled(installation, contenders):
    first, second = contenders
    async with asyncio.timeout(60), running(first) as leading:
        led = await first.terms.get()
        async with running(second):
            assert await holders(installation) == [led]
            assert second.terms.empty()
            leading.cancel()
            taken = await second.terms.get()
            assert await holders(installation) == [taken]


async def test_a_leader_whose_session_died_is_followed_before_it_notices_and_contends_again_after(
    installation, contenders
):
    first, second = contenders
    async with asyncio.timeout(60), running(first):
        session = await first.terms.get()
        async with running(second) as following:
            first.may_notice.clear()
            async with (await installation.pool("job")).acquire() as conn:
                await conn.execute("select pg_terminate_backend($1)", session)
            await second.terms.get()
            assert first.terms.empty()
            first.may_notice.set()
            following.cancel()
            assert await first.terms.get() != session


async def test_a_leader_that_fails_gives_the_lock_back_before_it_tries_again(installation, contenders):
    first, _ = contenders
    async with asyncio.timeout(60), running(first):
        session = await first.terms.get()
        first.fail.set()
        again = await first.terms.get()
        assert again != session
        assert await holders(installation) == [again]
