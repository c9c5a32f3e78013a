"""How the server plans what the job service writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import NamedTuple

import asyncpg

from libs.database import open_pool
from libs.message import Meta, new_id
from proto.job import Request, SubmitJobs
from services.job.commit import FEW_EVENTS, Ledger
from services.job.submitting import fingerprints, written

META = Meta(correlation=new_id())


class Writing(NamedTuple):
    ledger: Ledger
    few: asyncpg.Pool
    """One connection."""

    async def submit(self, count: int) -> None:
        requests = tuple(Request(job_id=new_id(), url=f"https://files.test/{n}.bin") for n in range(count))
        command = SubmitJobs(owner=new_id(), dialect="jobs", requests=requests)
        prints, at = fingerprints(command), datetime.now(UTC)
        await self.ledger.submit(count, lambda numbers: written(command, prints, numbers, META, at))

    async def plans(self) -> tuple[int, int]:
        """Of the append: how often one that was made for good was used, and how often one was made anew."""
        row = await self.few.fetchrow(
            "select coalesce(sum(generic_plans), 0) as kept, coalesce(sum(custom_plans), 0) as anew"
            " from pg_prepared_statements where statement like 'with provided%'"
        )
        assert row is not None
        return int(row["kept"]), int(row["anew"])

    async def whole_tables(self) -> int:
        """Times that a table of the service was read whole, by whomever."""
        async with self.few.acquire() as conn:
            await conn.fetchval("select pg_stat_force_next_flush()")
            return int(await conn.fetchval("select sum(seq_scan) from pg_stat_user_tables where schemaname = 'job'"))


@asynccontextmanager
async def writing(installation) -> AsyncIterator[Writing]:
    store = await installation.store("job")
    few = await open_pool(installation.servers.database_urls["job"], "job", 1, planned_once=True)
    ledger = Ledger(store._pool, store, few)
    running = asyncio.create_task(ledger.run())
    try:
        yield Writing(ledger, few)
    finally:
        running.cancel()
        await asyncio.wait([running])
        await few.close()


async def test_a_single_submission_is_written_by_a_plan_that_was_made_before(installation):
    async with writing(installation) as jobs:
        for _ in range(3):
            await jobs.submit(1)

        assert await jobs.plans() == (3, 0)


async def test_a_plan_that_was_made_while_a_table_was_empty_reads_no_table_whole(installation):
    async with writing(installation) as jobs:
        await jobs.submit(1)
        before = await jobs.whole_tables()
        for _ in range(5):
            await jobs.submit(1)

        assert await jobs.whole_tables() == before


async def test_many_at_once_are_written_by_a_plan_for_their_number(installation):
    async with writing(installation) as jobs:
        await jobs.submit(FEW_EVENTS + 1)

        assert await jobs.plans() == (0, 0)
