"""The dispatchers of two processes, of which one leads."""

from __future__ import annotations

import asyncio

from libs.bus import Message
from services.job.commit import Ledger
from services.job.dispatch import Dispatcher
from services.job.leases import Leases


async def test_the_dispatcher_that_does_not_lead_tells_the_one_that_does_of_what_is_committed_beside_it(installation):
    """Or a job that another replica took would wait for the leader's next sweep."""
    bus, told = await installation.bus("job"), asyncio.Event()

    async def heard(_: Message) -> None:
        told.set()

    await bus.listen("wake.job", heard)
    running = []
    for _ in range(2):
        pool, store = await installation.pool("job"), await installation.store("job")
        ledger = Ledger(pool, store)
        leases = Leases(ledger.changed.set)
        running.append(asyncio.create_task(Dispatcher(pool, store, ledger, bus, leases, host_limit=1).run()))
        ledger.changed.set()
    try:
        async with asyncio.timeout(60):
            await told.wait()
    finally:
        for one in running:
            one.cancel()
        await asyncio.wait(running)
