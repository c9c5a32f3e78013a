"""In which order receivers of webhooks are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

from libs.message import new_id
from proto.notifier import WebhookAttempted
from services.notifier import views
from services.notifier.channels.posting import Answered
from services.notifier.delivery import Deliverer
from services.notifier.domain import DELAYS
from services.notifier.views import Delivery
from tests.support.sure import being

PATIENCE = 60.0


class Receiver:
    """Takes words; leaves those of `silent` without an answer until the last one has come."""

    def __init__(self, last: str, silent: frozenset[str] = frozenset()) -> None:
        self.came: list[str] = []
        self.answered: list[str] = []
        self.over = asyncio.Event()
        self._last, self._silent = last, silent
        self._came_last = asyncio.Event()

    async def send(self, one: Delivery) -> Answered:
        word = one.body.decode()
        self.came.append(word)
        if word == self._last:
            self._came_last.set()
        elif word in self._silent:
            await self._came_last.wait()
        else:
            for _ in range(100 // len(self.came)):
                await asyncio.sleep(0)  # who comes later has less to do, and would be through before
        self.answered.append(word)
        if word == self._last:
            self.over.set()
        return Answered(200, None, 0)


@asynccontextmanager
async def delivering(installation, receiver: Receiver, order_seconds: float, *words: str) -> AsyncIterator[None]:
    """Of one job, in this order, due at once."""
    pool, store = await installation.pool("notifier"), await installation.store("notifier")
    job_id, owner, at = new_id(), new_id(), datetime.now(UTC)
    async with pool.acquire() as conn:
        for number, word in enumerate(words):
            one = Delivery(UUID(int=99 - number), owner, job_id, "http://receiver.test/hook", word.encode(), 0)
            await views.add_delivery(conn, one, at + timedelta(microseconds=number))
    deliverer = Deliverer(pool, store, {"webhook": receiver.send}, order_seconds)
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(deliverer.run())
        await receiver.over.wait()
        yield
        task.cancel()


async def test_what_is_told_of_a_job_is_told_in_its_order(installation) -> None:
    """The next word when the one before was answered, and the answer recorded; also of more than go out at once."""
    words = (*(f"stage {number}" for number in range(7)), "completed")
    receiver = Receiver("completed")
    async with delivering(installation, receiver, PATIENCE, *words):
        assert receiver.came == receiver.answered == list(words)


async def test_a_word_that_is_not_answered_holds_up_the_end_only_for_a_moment(installation) -> None:
    receiver = Receiver("completed", silent=frozenset({"downloading", "uploading"}))
    async with delivering(installation, receiver, 0.01, "downloading", "uploading", "completed"):
        assert receiver.answered[0] == "completed"


async def test_after_a_try_that_failed_comes_another_as_long_as_there_is_a_delay_for_it(installation) -> None:
    pool, store = await installation.pool("notifier"), await installation.store("notifier")
    tried = len(DELAYS)
    async with pool.acquire() as conn:
        for attempts in (0, tried - 1, tried):
            one = Delivery(new_id(), new_id(), new_id(), "http://receiver.test/hook", b"", attempts)
            await views.add_delivery(conn, one, datetime.now(UTC))

    async def send(_: Delivery) -> Answered:
        return Answered(500, "it answered 500", 0)

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(Deliverer(pool, store, {"webhook": send}).run())
        while len(found := [being(WebhookAttempted, one.event) for one in await store.read()]) < 3:
            await asyncio.sleep(0.02)  # the interval of a polling client
        task.cancel()

    after = {one.number: one.next_attempt_at and one.next_attempt_at - one.at for one in found}
    assert after == {1: DELAYS[0], tried: DELAYS[-1], tried + 1: None}
