"""The clock of schedules."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from libs.eventstore import EventStore
from libs.message import new_id
from proto import REGISTRY
from proto.job import Options
from proto.scheduler import ScheduleFired
from services.scheduler import views
from services.scheduler.domain import Schedule
from services.scheduler.ticker import Ticker
from tests.support.sure import sure

YEARLY = "0 0 1 1 *"


def schedule(due: datetime | None, *, enabled: bool = True) -> Schedule:
    one = new_id()
    return Schedule(
        schedule_id=one, owner=new_id(), slug=str(one), name="a", cron=YEARLY, url="https://example.com/",
        options=Options(), priority=5, enabled=enabled, next_run=due,
    )  # fmt: skip


@asynccontextmanager
async def ticking(installation, replicas: int = 1):
    """What the clock has said, as it says it, and a store of the scheduler's."""
    pool, bus = await installation.pool("scheduler"), await installation.bus("scheduler")
    said = asyncio.Event()
    store = EventStore(pool, "scheduler", REGISTRY, said.set)
    tickers = [Ticker(pool, store, bus) for _ in range(replicas)]
    tasks = [asyncio.create_task(ticker.run()) for ticker in tickers]
    try:
        yield tickers, pool, store, said
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def fired(store, one: Schedule) -> list[ScheduleFired]:
    return [row.event for row in await store.load(one.schedule_id) if isinstance(row.event, ScheduleFired)]


async def test_a_schedule_that_came_due_many_times_while_all_was_down_fires_once_and_goes_on(installation):
    began = datetime.now(UTC)
    late = began - timedelta(days=1000)
    one, off = schedule(late), schedule(None, enabled=False)
    pool = await installation.pool("scheduler")
    async with pool.acquire() as conn:
        await views.save(conn, one)
        await views.save(conn, off)
    async with ticking(installation, replicas=2) as (_, _, store, said):
        async with asyncio.timeout(60):
            await said.wait()
        async with pool.acquire() as conn:
            after = await views.schedule(conn, one.schedule_id)
        events, quiet = await fired(store, one), await fired(store, off)

    assert [(event.due, event.by_hand) for event in events] == [(late, False)]
    assert quiet == []
    assert began < sure(sure(after).next_run) <= began + timedelta(days=366)


async def test_an_alarm_that_is_due_wakes_the_job_service_and_is_gone(installation):
    woken = asyncio.Event()

    async def wake(_) -> None:
        woken.set()

    job = await installation.bus("job")
    await job.listen("wake.job", wake)
    async with ticking(installation) as (tickers, pool, _, _):
        async with pool.acquire() as conn:
            await views.set_alarms(conn, [(new_id(), datetime.now(UTC))])
        tickers[0].changed.set()
        async with asyncio.timeout(60):
            await woken.wait()
        left = await pool.fetchval("select count(*) from scheduler.alarms")

    assert left == 0


async def test_a_clock_whose_connection_was_cut_stops_when_it_is_told_to(installation):
    """Giving up the lead fails then, and that must not be all that is left of being told."""
    async with ticking(installation) as ([ticker], pool, _, said):
        async with pool.acquire() as conn:
            await views.save(conn, schedule(datetime.now(UTC) - timedelta(hours=1)))
        ticker.changed.set()
        async with asyncio.timeout(60):
            await said.wait()
        [task] = [one for one in asyncio.all_tasks() if getattr(one.get_coro(), "__qualname__", "") == "Ticker.run"]
        await pool.execute("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'")
        task.cancel()

        _, pending = await asyncio.wait({task}, timeout=60)

    assert not pending
