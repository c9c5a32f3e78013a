"""How many connections and requests a link and a user may have, when two processes serve them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from libs.message import new_id
from services.unrestrict_proxy.links.admission import Admission, Busy
from tests.conformance.test_downloads import HUGE, LINK_ID, OTHER_ID, OWNER, Place, asked


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def process(installation, clock):
    """Makes what each process has of its own."""

    async def started(*, user_connections=48, requests=0, patience=0.05) -> Admission:
        pool = await installation.pool("unrestrict_proxy", 3)
        one = Admission(pool, user_connections=user_connections, requests=requests, patience=patience, now=clock)
        await one.beat()
        return one

    return started


@asynccontextmanager
async def connections(count: int, *processes: Admission, link_id: str = LINK_ID):
    """In turn to each of the processes, of a link that may have four."""
    async with AsyncExitStack() as stack:
        for number in range(count):
            one = processes[number % len(processes)]
            await stack.enter_async_context(one.connection(link_id, OWNER, 4))
        yield stack


async def test_connections_to_a_link_are_counted_over_all_processes(process):
    one, two = await process(), await process()
    async with connections(4, one, two) as held:
        for each in (one, two):
            with pytest.raises(Busy) as busy:
                await held.enter_async_context(each.connection(LINK_ID, OWNER, 4))
        async with two.connection(OTHER_ID, OWNER, 4):
            pass
    async with connections(4, two):
        pass

    assert busy.value.retry_after == 5


async def test_of_many_that_come_at_once_to_two_processes_no_more_get_in_than_may(process):
    one, two = await process(), await process()
    leave = asyncio.Event()
    inside = 0

    async def come(where: Admission) -> None:
        nonlocal inside
        async with where.connection(LINK_ID, OWNER, 4):
            inside += 1
            await leave.wait()

    coming = [asyncio.create_task(come((one, two)[number % 2])) for number in range(20)]
    waiting = {*coming}
    async with asyncio.timeout(60):
        while len(waiting) > 4:
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    leave.set()
    await asyncio.gather(*waiting)

    assert (inside, len(waiting)) == (4, 4)
    assert {type(task.exception()) for task in coming if task not in waiting} == {Busy}


async def test_who_waits_gets_in_when_another_is_gone_from_another_process(process):
    one, two = await process(), await process(patience=20)
    async with connections(4, one) as held:
        waiting = asyncio.create_task(connections(1, two).__aenter__())
        await asyncio.sleep(0)
        await held.aclose()

        assert await waiting


async def test_a_user_has_so_many_connections_over_all_links_and_processes(process):
    one, two = await process(user_connections=3), await process(user_connections=3)
    async with connections(2, one), connections(1, two, link_id=OTHER_ID):
        with pytest.raises(Busy):
            async with two.connection(OTHER_ID, OWNER, 4):
                pass
        async with two.connection(OTHER_ID, new_id(), 4):
            pass


async def test_connections_of_a_process_that_was_killed_count_no_more_after_a_while(process, clock):
    killed, other = await process(), await process()
    async with connections(4, killed):
        clock.now += timedelta(seconds=31)
        await other.beat()
        async with connections(4, other):
            pass


async def test_a_connection_whose_end_the_database_did_not_hear_of_goes_with_the_next_beat(process, installation):
    one = await process()
    async with connections(4, one):
        one._open.clear()  # as when a statement failed
        await one.beat()
        rows = await (await installation.pool("unrestrict_proxy", 1)).fetch("select from unrestrict_proxy.connections")

    assert not rows


async def test_requests_of_a_link_are_counted_by_the_minute_over_all_processes(process, clock):
    one, two = await process(requests=60), await process(requests=60)
    for number in range(60):
        await (one, two)[number % 2].asked(LINK_ID)
    for each in (one, two):
        with pytest.raises(Busy) as busy:
            await each.asked(LINK_ID)
    await two.asked(OTHER_ID)
    clock.now += timedelta(seconds=1.5)
    await one.asked(LINK_ID)
    with pytest.raises(Busy):
        await two.asked(LINK_ID)
    clock.now += timedelta(minutes=3)
    await one.beat()
    await two.asked(LINK_ID)

    assert busy.value.retry_after == 1


async def test_one_connection_too_many_is_told_to_come_back_and_gets_in_when_another_is_broken_off(tmp_path, process):
    place = Place(tmp_path / "place", size=HUGE)
    async with (
        place.served(admission=await process()) as url,
        aiohttp.ClientSession() as session,
        AsyncExitStack() as stack,
    ):
        held = [await stack.enter_async_context(session.get(url + place.path())) for _ in range(4)]
        status, headers, _ = await asked(url + place.path(), Range="bytes=0-9")
        other, _, _ = await asked(url + place.path(OTHER_ID), Range="bytes=0-9")
        head, _, _ = await asked(url + place.path(), "HEAD")
        held[0].close()
        async with asyncio.timeout(60):
            while (await asked(url + place.path(), Range="bytes=0-9"))[0] == 429:
                pass

    assert [one.status for one in held] == [200] * 4
    assert (status, headers["Retry-After"]) == (429, "5")
    assert (other, head) == (206, 200)


async def test_a_connection_that_is_broken_off_and_made_anew_is_not_refused(tmp_path, process):
    place = Place(tmp_path / "place", size=HUGE)
    async with (
        place.served(admission=await process(patience=20)) as url,
        aiohttp.ClientSession() as session,
        AsyncExitStack() as stack,
    ):
        held = [await stack.enter_async_context(session.get(url + place.path())) for _ in range(4)]
        for one in held:
            one.close()
        found = await asyncio.gather(*(asked(url + place.path(), Range="bytes=0-9") for _ in range(4)))

    assert [status for status, _, _ in found] == [206] * 4


async def waiting(conn, count: int, query: str) -> None:
    """Until so many of the statements that begin so wait for a lock."""
    async with asyncio.timeout(60):
        while True:
            found = await conn.fetchval(
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like $1", f"{query}%"
            )
            if found >= count:
                return
            await asyncio.sleep(0.02)  # the interval of a polling client


async def test_a_connection_that_is_broken_off_again_while_it_ends_is_counted_no_more(process, installation):
    one, other = await process(), await installation.pool("unrestrict_proxy", 2)
    inside = asyncio.Event()

    async def come() -> None:
        async with one.connection(LINK_ID, OWNER, 4):
            inside.set()
            await asyncio.Event().wait()

    coming = asyncio.create_task(come())
    await inside.wait()
    async with other.acquire() as conn:
        async with conn.transaction():
            await conn.execute("select from unrestrict_proxy.connections for update")
            coming.cancel()
            async with other.acquire() as looking:
                await waiting(looking, 1, "delete from unrestrict_proxy.connections")
            coming.cancel()
            await asyncio.wait([coming])
        async with asyncio.timeout(60):
            while await conn.fetchval("select count(*) from unrestrict_proxy.connections"):
                await asyncio.sleep(0.02)  # the interval of a polling client


async def test_those_who_wait_for_their_turn_to_be_counted_leave_the_database_to_others(process, installation):
    one, other = await process(), await installation.pool("unrestrict_proxy", 2)
    async with other.acquire() as conn, conn.transaction():
        await conn.execute("select pg_advisory_xact_lock(hashtextextended('connections ' || $1::text, 0))", str(OWNER))
        coming = [asyncio.create_task(connections(1, one).__aenter__()) for _ in range(5)]
        try:
            async with other.acquire() as looking:
                await waiting(looking, 1, "select unrestrict_proxy.admitted")
            async with asyncio.timeout(60):
                await one.beat()
        finally:
            for each in coming:
                each.cancel()
            await asyncio.wait(coming)
