"""dramatiq on JetStream: what becomes of a ticket."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import dramatiq
import msgspec
import pytest
from dramatiq import Worker

from libs import bus as buses
from libs.broker import JetStreamBroker
from libs.bus import WorkItem, WorkQueue, enqueue
from libs.bus.topology import SECOND
from proto.topology import CONSUMERS
from tests.conformance.conftest import Installation
from tests.support.sure import sure

QUEUE = "download"


class NotYet(Exception):
    """An actor is known to raise it."""


class Actor:
    """An actor whose calls are let go one by one, and counted while they run."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.bodies: list[bytes] = []
        self.running = 0
        self.most = 0
        self.fails = 0
        self.failure: Exception = ValueError("this try fails")
        self.open = asyncio.Event()
        self._loop = loop
        self._began = asyncio.Condition()

    def __call__(self, body: bytes) -> None:
        asyncio.run_coroutine_threadsafe(self._run(body), self._loop).result(60)

    async def _run(self, body: bytes) -> None:
        async with self._began:
            self.bodies.append(body)
            self.running += 1
            self.most = max(self.most, self.running)
            self._began.notify_all()
        try:
            await self.open.wait()
            if self.fails:
                self.fails -= 1
                raise self.failure
        finally:
            self.running -= 1

    async def began(self, count: int) -> None:
        async with asyncio.timeout(30), self._began:
            await self._began.wait_for(lambda: len(self.bodies) >= count)


@asynccontextmanager
async def working(installation, slots: int = 2):
    """A worker's threads on the real queue. They end without waiting for what still runs."""
    loop = asyncio.get_running_loop()
    bus = await installation.bus("worker")
    broker = JetStreamBroker(
        loop,
        lambda queue: WorkQueue(bus, "WORK", queue),
        lambda item: dramatiq.Message(
            queue_name=QUEUE, actor_name="run", args=(item.body,), kwargs={}, options={"delivered": item.delivered}
        ),
        slots,
    )
    actor = Actor(loop)
    dramatiq.actor(broker=broker, queue_name=QUEUE, actor_name="run", throws=(NotYet,))(actor)
    threads = Worker(broker, queues={QUEUE}, worker_threads=slots)
    await asyncio.to_thread(threads.start)
    try:
        yield actor
    finally:
        actor.open.set()
        await asyncio.to_thread(threads.stop, 20_000)


async def sent(installation, count: int) -> None:
    job = await installation.bus("job")
    for number in range(count):
        await enqueue(job, "work.run.download.5", str(number).encode(), f"ticket {number}")


async def waiting(installation) -> int:
    """Messages that the queue still has, taken or not."""
    job = await installation.bus("job")
    return int((await job.api("STREAM.INFO.WORK"))["state"]["messages"])


async def until_empty(installation) -> None:
    async with asyncio.timeout(30):
        while await waiting(installation):
            await asyncio.sleep(0.05)  # the server tells nobody when a queue is empty


async def test_every_ticket_is_run_once_and_then_gone(installation):
    async with working(installation) as actor:
        actor.open.set()
        await sent(installation, 20)
        await actor.began(20)
        await until_empty(installation)

    assert sorted(actor.bodies) == sorted(str(number).encode() for number in range(20))


async def test_a_worker_takes_no_more_than_it_has_hands_for(installation):
    await sent(installation, 6)
    async with working(installation, slots=2) as first:
        await first.began(2)
        async with working(installation, slots=2) as second:
            await second.began(2)
            held = (len(first.bodies), len(second.bodies))
            first.open.set()
            second.open.set()
            await until_empty(installation)

    assert held == (2, 2)
    assert first.most == second.most == 2
    assert len(first.bodies) + len(second.bodies) == 6


async def test_a_ticket_is_gone_only_when_its_work_is_done(installation):
    await sent(installation, 1)
    async with working(installation) as actor:
        await actor.began(1)
        during = await waiting(installation)
        actor.open.set()
        await until_empty(installation)

    assert during == 1


@pytest.mark.parametrize(("failure", "logged"), [(ValueError("this try fails"), 1), (NotYet(), 0)])
async def test_a_ticket_whose_work_fails_comes_again_to_the_hand_that_failed_too_and_what_was_expected_is_no_error(
    failure, logged, installation, caplog
):
    await sent(installation, 1)
    async with working(installation, slots=1) as actor:
        actor.fails, actor.failure = 1, failure
        actor.open.set()
        await actor.began(2)
        await until_empty(installation)

    assert actor.bodies == [b"0", b"0"]
    assert len([one for one in caplog.records if one.levelname in ("WARNING", "ERROR")]) == logged


async def test_what_a_stopping_worker_has_not_begun_is_given_to_another(installation):
    async with working(installation, slots=1) as first:
        await sent(installation, 3)
        await first.began(1)
    async with working(installation, slots=1) as second:
        second.open.set()
        await until_empty(installation)

    assert sorted([*first.bodies, *second.bodies]) == [b"0", b"1", b"2"]


async def test_a_worker_goes_on_when_the_queue_was_away(installation):
    async with working(installation) as actor:
        actor.open.set()
        await sent(installation, 1)
        await actor.began(1)
        topology = await installation.bus("topology")
        await topology.api("STREAM.DELETE.WORK")
        await installation.topology()
        await sent(installation, 2)
        await actor.began(3)
        await until_empty(installation)

    assert sorted(actor.bodies) == [b"0", b"0", b"1"]


async def test_what_no_hand_is_free_for_stays_in_the_queue(installation: Installation) -> None:
    topology = await installation.bus("topology")
    await sent(installation, 6)
    async with working(installation, slots=2) as actor:
        await actor.began(2)
        queue = await topology.api(f"CONSUMER.INFO.WORK.{QUEUE}")

    assert (queue["num_ack_pending"], queue["num_pending"]) == (2, 4)


async def test_a_hand_that_is_done_while_the_rest_is_given_back_keeps_none_of_it_here(
    installation: Installation,
) -> None:
    giving, going = asyncio.Event(), asyncio.Event()
    given: list[bytes] = []

    class Slow(WorkQueue):
        async def release(self, item: WorkItem, delay: float = 0.0) -> None:
            given.append(item.body)
            giving.set()
            await going.wait()
            await super().release(item, delay)

    await sent(installation, 3)
    bus = await installation.bus("worker")
    broker = JetStreamBroker(
        asyncio.get_running_loop(),
        lambda queue: Slow(bus, "WORK", queue),
        lambda item: dramatiq.Message(queue_name=QUEUE, actor_name="run", args=(item.body,), kwargs={}, options={}),
        3,
    )
    consumer = broker.consume(QUEUE)
    held = {one.args[0]: one for one in [sure(await asyncio.to_thread(next, consumer)) for _ in range(3)]}
    closing = asyncio.create_task(asyncio.to_thread(consumer.close))
    async with asyncio.timeout(60):
        await giving.wait()
        [done, kept] = held.keys() - set(given)
        await asyncio.to_thread(consumer.ack, held[done])
        going.set()
        await closing

    assert given[1:] == [kept]
    assert await waiting(installation) == 2


HOLDER = """
import asyncio, sys
from pathlib import Path
import dramatiq
from libs import bus as buses
from libs.broker import JetStreamBroker

async def hold(url: str, seed: str) -> None:
    bus = await buses.open(url, user="worker", seed=Path(seed))
    loop = asyncio.get_running_loop()
    def decode(item):
        return dramatiq.Message(queue_name="download", actor_name="run", args=(item.delivered,), kwargs={}, options={})
    broker = JetStreamBroker(loop, lambda queue: buses.WorkQueue(bus, "WORK", queue), decode, 1)
    def run(delivered: int) -> None:
        print("began", delivered, flush=True)
        asyncio.run_coroutine_threadsafe(asyncio.Event().wait(), loop).result()
    dramatiq.actor(broker=broker, queue_name="download", actor_name="run")(run)
    await asyncio.to_thread(dramatiq.Worker(broker, queues={"download"}, worker_threads=1).start)
    await asyncio.Event().wait()

asyncio.run(hold(*sys.argv[1:]))
"""
"""A worker process that takes one ticket, says so, and never ends by itself."""


async def impatient(installation: Installation) -> None:
    """The queue gives a silent worker's ticket away after two seconds, not thirty."""
    [spec] = [one for one in CONSUMERS if one.name == QUEUE]
    spec = msgspec.structs.replace(spec, config={**spec.config, "ack_wait": 2 * SECOND})
    await buses.ensure_topology(await installation.bus("topology"), (), [spec])


async def test_the_ticket_of_a_killed_worker_process_comes_again_as_its_second_delivery(
    installation: Installation,
) -> None:
    await impatient(installation)
    await sent(installation, 1)
    servers = installation.servers
    holder = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLDER, servers.nats_url, str(servers.nats_seeds["worker"])),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    assert holder.stdout is not None
    try:
        async with asyncio.timeout(30):
            first = await holder.stdout.readline()
    finally:
        holder.kill()
        await holder.wait()
    queue = WorkQueue(await installation.bus("worker"), "WORK", QUEUE)
    again: list[WorkItem] = []
    async with asyncio.timeout(30):
        while not again:
            again = await queue.fetch(1, 30)
        await queue.ack(again[0])
    await queue.close()

    assert first == b"began 1\n"
    assert [(one.body, one.delivered) for one in again] == [(b"0", 2)]
    assert await waiting(installation) == 0


async def test_a_worker_takes_no_more_than_it_has_hands_for_when_the_server_was_killed(
    alone: Installation,
) -> None:
    topology = await alone.bus("topology")
    await sent(alone, 1)
    async with working(alone, slots=2) as first:
        await first.began(1)
        async with asyncio.timeout(30):
            while (await topology.api(f"CONSUMER.INFO.WORK.{QUEUE}"))["num_waiting"] != 1:
                await asyncio.sleep(0.05)  # the server tells nobody that the free hand asks
        os.kill(sure(alone.servers.nats.child).pid, signal.SIGKILL)
        async with asyncio.timeout(30):
            await alone.servers.restarted.wait()
        job = await alone.bus("job")
        for number in (1, 2, 3):
            await enqueue(job, "work.run.download.5", str(number).encode(), f"ticket {number}")
        await first.began(2)
        async with working(alone, slots=4) as second:
            # A killed server may have forgotten that it gave ticket 0 out, and gives it out again.
            async with asyncio.timeout(30):
                while {*first.bodies, *second.bodies} != {b"0", b"1", b"2", b"3"}:
                    await second.began(len(second.bodies) + 1)

    assert len(first.bodies) == 2
