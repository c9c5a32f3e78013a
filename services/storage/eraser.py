"""Files in object storage that were given up, until they are gone from there.

Each is a row written with the event that gave it up. A row is claimed for a while by whoever works on it, so several
processes share the work and none of it is lost with one of them.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
import structlog

from libs.database import AWAY
from libs.lasting import lasting
from libs.message import Refused
from services.storage import views
from services.storage.remote import Remote
from services.storage.targets.failures import TargetAway, TargetRefused
from services.storage.views import Erasure

log = structlog.get_logger()

SECONDS = 60.0
"""For one deletion."""
CLAIM = timedelta(seconds=2 * SECONDS)
AT_ONCE = 8
POLL_SECONDS = 5.0
IDLE_SECONDS = 300.0
"""Without anything to delete. Who gives something up wakes its own eraser; what one that died left is others'."""
FIRST_DELAY = timedelta(seconds=5)
LONGEST_DELAY = timedelta(hours=6)
TRIES = 30
"""Some five days. What can not be deleted then stays there: it is its owner's, and they can."""


class Eraser:
    def __init__(self, pool: asyncpg.Pool, remote: Remote) -> None:
        self.woken = asyncio.Event()
        """Set when there may be something to do."""
        self._pool = pool
        self._remote = remote

    async def run(self) -> None:
        await lasting("eraser.interrupted", self._rounds, AWAY)

    async def _rounds(self) -> None:
        while True:
            self.woken.clear()
            while await self._round():
                pass  # there may be more that is due
            async with self._pool.acquire() as conn:
                pause = POLL_SECONDS if await views.erasures_left(conn) else IDLE_SECONDS
            try:
                async with asyncio.timeout(pause):
                    await self.woken.wait()
            except TimeoutError:
                continue

    async def _round(self) -> int:
        async with self._pool.acquire() as conn:
            claimed = await views.claim_erasures(conn, CLAIM, AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            for one in claimed:
                tasks.create_task(self._erase(one))
        return len(claimed)

    async def _erase(self, one: Erasure) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                there = await self._remote.target_of(one.target_id)
                if there is not None:  # else its credentials were removed
                    await there.delete(one.location)
        except (TargetRefused, TargetAway, Refused, TimeoutError) as error:
            given_up = one.tries + 1 >= TRIES
            say = log.aerror if given_up else log.awarning
            await say("storage.not_erased", file=str(one.file_id), tries=one.tries + 1, reason=str(error))
            if not given_up:
                delay = min(FIRST_DELAY * (1 << min(one.tries, 20)), LONGEST_DELAY)
                async with self._pool.acquire() as conn:
                    await views.erase_later(conn, one.file_id, delay)
                return
        async with self._pool.acquire() as conn:
            await views.erased(conn, one.file_id)
