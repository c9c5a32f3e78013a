"""What only one process at a time should do.

The leader is whose session holds an advisory lock, and it works with that same session: what it holds ends with its
connection. Until it notices that it has lost the connection another may lead beside it, so what leaders do must bear
being done twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import NoReturn

import asyncpg

from libs.bus import BusError
from libs.database import AWAY, Connection
from libs.lasting import lasting


async def lead(
    event: str,
    lock: int,
    pool: asyncpg.Pool,
    work: Callable[[Connection], Awaitable[None]],
    pace: float,
    beside: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> NoReturn:
    """Run `work` whenever the lock can be had, until cancelled; the loss of the database or of the bus is logged as
    `event` and only pauses it. Everybody tries every `pace` seconds, and does what is `beside` for that long while
    another leads. Advisory locks share one space per database."""

    async def elected() -> None:
        while True:
            async with pool.acquire() as conn:
                if await conn.fetchval("select pg_try_advisory_lock($1)", lock):
                    try:
                        await work(conn)
                    finally:
                        # Not unlocked: a session that does not answer would go back into the pool with its lock.
                        with contextlib.suppress(asyncpg.InterfaceError):  # gone already
                            conn.terminate()
            await beside(pace)

    await lasting(event, elected, (*AWAY, BusError), first=pace, longest=pace)
