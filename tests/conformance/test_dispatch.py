"""The dispatchers of two processes, of which one leads."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from libs.bus import Message
from libs.message import Meta, new_id
from proto.job import JobAdmitted, Request, SubmitJobs, WorkerHeartbeat
from services.job.commit import Ledger
from services.job.dispatch import Dispatcher
from services.job.leases import Leases
from services.job.submitting import fingerprints, written


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


async def test_no_more_attempts_than_the_limit_are_under_way_at_one_host_while_others_have_room(installation):
    bus, pool, store = await installation.bus("job"), await installation.pool("job"), await installation.store("job")
    ledger = Ledger(pool, store)
    leases = Leases(ledger.changed.set)
    beat = msgspec.json.encode(WorkerHeartbeat(worker_id=new_id(), slots=8))

    async def submit(*hosts: str) -> list[UUID]:
        requests = tuple(Request(job_id=new_id(), url=f"https://{host}/a.bin") for host in hosts)
        command = SubmitJobs(owner=new_id(), dialect="jobs", requests=requests)
        prints, at = fingerprints(command), datetime.now(UTC)
        await ledger.submit(
            len(hosts), lambda numbers: written(command, prints, numbers, Meta(correlation=new_id()), at)
        )
        return [request.job_id for request in requests]

    async def admitted(last: UUID) -> set[UUID]:
        """All that were, once the last is."""
        async with asyncio.timeout(60):
            while True:
                await leases.heartbeat(Message("cmd.job.heartbeat", {}, beat))
                found = {one.event.job_id for one in await store.read() if isinstance(one.event, JobAdmitted)}
                if last in found:
                    return found
                await asyncio.sleep(0.05)  # the pace of a worker's heartbeats

    tasks = [asyncio.create_task(ledger.run())]
    try:
        first = await submit("full.test", "full.test", "full.test", "other.test")
        tasks.append(asyncio.create_task(Dispatcher(pool, store, ledger, bus, leases, host_limit=2).run()))
        await admitted(first[3])
        (later,) = await submit("third.test")

        assert await admitted(later) == {*first, later} - {first[2]}
    finally:
        for one in tasks:
            one.cancel()
        await asyncio.wait(tasks)
