"""Work without an end: what pauses it, what ends it."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from libs.database import AWAY
from libs.lasting import ended, lasting


class Work:
    """Meets one trouble after the other, then only waits."""

    def __init__(self, *troubles: BaseException) -> None:
        self.troubles = list(troubles)
        self.going = asyncio.Event()

    async def once(self) -> None:
        if self.troubles:
            raise self.troubles.pop(0)
        self.going.set()
        await asyncio.Event().wait()

    async def in_a_group(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.once())

    async def without_a_clean_end(self) -> None:
        try:
            await self.once()
        finally:
            raise asyncpg.InterfaceError("connection is closed")


CUT = asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")


@pytest.mark.parametrize("how", ["once", "in_a_group"])
async def test_a_server_that_goes_away_pauses_the_work(how):
    """However its loss is met: as a lost connection, as the driver's confusion, alone or in a group of tasks."""
    work = Work(asyncpg.ConnectionDoesNotExistError(), CUT, ConnectionResetError(), TimeoutError())
    task = asyncio.create_task(lasting("test.interrupted", getattr(work, how), AWAY, first=0))

    async with asyncio.timeout(60):
        await work.going.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_bug_ends_the_work():
    work = Work(ConnectionResetError(), ValueError("bug"))

    with pytest.raises(ValueError, match="bug"):
        await lasting("test.interrupted", work.once, AWAY, first=0)


async def test_a_cancellation_that_a_failing_clean_up_hid_ends_the_work():
    work = Work()
    task = asyncio.create_task(lasting("test.interrupted", work.without_a_clean_end, AWAY, first=0))
    await work.going.wait()
    work.going.clear()
    task.cancel()

    _, pending = await asyncio.wait({task}, timeout=60)

    assert not pending
    assert task.cancelled()


async def test_a_task_that_loses_a_cancellation_is_ended_all_the_same():
    lost = asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)  # it begins
    async with asyncio.timeout(60):
        await ended(task)

    assert lost.is_set()
    assert task.cancelled()
