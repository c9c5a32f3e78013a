"""The relay and its followers, against a real Postgres and a real NATS."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from libs.bus import Stream, follow
from libs.eventstore.projection import Applied, Follower, rebuild
from libs.eventstore.relay import Relay
from libs.feed import SinkGone, WrongSequence
from libs.message import ORIGIN, new_id
from proto import REGISTRY
from services.gateway import domain, views
from tests.support.events import opening, prioritised, submitted, write

STREAM = "EV_JOB"


async def stored(store):
    return [str(one.event_id) for one in await store.read(ORIGIN, 10_000)]


async def published(bus, count):
    """Event ids by their sequence, as soon as there are `count`."""
    found: dict[int, str] = {}
    async with asyncio.timeout(60), follow(bus, STREAM) as batches:
        async for batch in batches:
            found |= {one.sequence: one.headers["ce-id"] for one in batch}
            if len(found) >= count:
                return found
    raise AssertionError("unreachable")


async def append(store, count):
    for _ in range(count):
        async with store.transaction() as tx:
            await tx.append([opening()])


@asynccontextmanager
async def relaying(installation, store, sink, *, wake=None, poll_seconds=0.1, **more):
    url, wake = installation.servers.database_urls["job"], wake or installation.wake
    relay = Relay(store, sink, url=url, wake=wake, poll_seconds=poll_seconds, **more)
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_the_stream_is_the_feed_in_its_order(installation):
    store, bus = await installation.store(), await installation.bus("job")
    gateway = await installation.bus("gateway")
    async with relaying(installation, store, Stream(bus, STREAM)):
        await append(store, 30)
        async with store.transaction() as tx:
            await tx.append([opening() for _ in range(700)])

        found = await published(gateway, 730)

    assert list(found.values()) == await stored(store)
    assert list(found) == list(range(1, 731))


async def test_two_relays_at_once_publish_everything_once(installation):
    store, bus = await installation.store(), await installation.bus("job")
    other, gateway = await installation.bus("job"), await installation.bus("gateway")
    async with (
        relaying(installation, store, Stream(bus, STREAM)),
        relaying(installation, store, Stream(other, STREAM)),
    ):
        await append(store, 60)
        found = await published(gateway, 60)

    assert list(found.values()) == await stored(store)
    assert await Stream(bus, STREAM).last_sequence() == 60


async def test_what_is_committed_beside_the_leader_is_published_without_waiting_for_its_poll(installation):
    """Who does not lead tells who does, and is not woken by what it said itself."""
    store, bus, gateway = await installation.store(), await installation.bus("job"), await installation.bus("gateway")
    relays: list[Relay] = []
    told = 0

    async def tell() -> None:
        nonlocal told
        told += 1
        for one in relays:
            one.woken()

    async with AsyncExitStack() as stack:
        for number in (1, 2):
            wake = asyncio.Event()
            context = relaying(installation, store, Stream(bus, STREAM), wake=wake, tell=tell, poll_seconds=1000)
            relays.append(await stack.enter_async_context(context))
            await append(store, 1)
            wake.set()
            await published(gateway, number)

    assert told == 1


class Dying:
    """A sink whose relay is killed at its n-th await: before the call reaches the stream, or after it did."""

    def __init__(self, stream, at: int, *, after: bool) -> None:
        self._stream = stream
        self._at = at
        self._after = after
        self._calls = 0
        self.victim: asyncio.Task | None = None
        self.died = asyncio.Event()

    async def last(self):
        return await self._step(self._stream.last)

    async def publish(self, batch, expected_last):
        return await self._step(lambda: self._stream.publish(batch, expected_last))

    async def _step(self, call):
        self._calls += 1
        if self._calls != self._at:
            return await call()
        if self._after:
            await call()
        self.died.set()
        assert self.victim is not None
        self.victim.cancel()
        return await asyncio.Event().wait()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
async def test_a_relay_killed_at_any_await_loses_and_doubles_nothing(installation, at, after):
    store, bus = await installation.store(), await installation.bus("job")
    gateway = await installation.bus("gateway")
    sink = Dying(Stream(bus, STREAM), at, after=after)
    relay = Relay(store, sink, url=installation.servers.database_urls["job"], wake=installation.wake, poll_seconds=0.1)
    sink.victim = asyncio.create_task(relay.run())
    for _ in range(4):
        await append(store, 3)
        installation.wake.set()
        if sink.died.is_set():
            break
        await asyncio.wait({sink.victim}, timeout=0.2)
    async with asyncio.timeout(60):
        while not sink.died.is_set():
            await append(store, 1)
            await asyncio.wait({sink.victim}, timeout=0.2)
    await asyncio.wait({sink.victim})

    ids = await stored(store)
    async with relaying(installation, store, Stream(bus, STREAM)):
        found = await published(gateway, len(ids))

    assert list(found.values()) == ids
    assert list(found) == list(range(1, len(ids) + 1))


async def test_a_stream_deleted_under_the_relay_comes_back_with_the_same_event_at_each_sequence(installation):
    store, bus = await installation.store(), await installation.bus("job")
    gateway = await installation.bus("gateway")
    async with relaying(installation, store, Stream(bus, STREAM)):
        await append(store, 40)
        before = await published(gateway, 40)
        topology = await installation.bus("topology")
        await topology.api(f"STREAM.DELETE.{STREAM}")
        await append(store, 5)
        await installation.topology()
        after = await published(gateway, 45)

    assert {sequence: after[sequence] for sequence in before} == before
    assert list(after.values()) == await stored(store)


async def test_a_relay_that_was_replaced_is_refused_by_the_stream(installation):
    store, bus = await installation.store(), await installation.bus("job")
    async with relaying(installation, store, Stream(bus, STREAM)):
        await append(store, 3)
        await published(await installation.bus("gateway"), 3)
    zombie = Relay(store, Stream(bus, STREAM), url="", wake=installation.wake)
    rows, _ = await store.ahead(ORIGIN, 10)

    for expected in (0, 1, 2):
        with pytest.raises(WrongSequence):
            await Stream(bus, STREAM).publish(zombie._outgoing(rows[2:]), expected)


@asynccontextmanager
async def projecting(installation, **options):
    pool, bus = await installation.pool("gateway"), await installation.bus("gateway")
    follower = Follower(
        "gateway.jobs", pool, "gateway", lambda after: follow(bus, STREAM, after), REGISTRY, domain.WANTED,
        options.pop("apply", views.apply), **options,
    )  # fmt: skip
    task = asyncio.create_task(follower.run())
    try:
        yield follower, pool
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.mark.parametrize("commit", [None, views.commit], ids=["two steps", "one statement"])
async def test_a_rebuilt_view_equals_the_live_one(installation, commit):
    store, bus = await installation.store(), await installation.bus("job")
    jobs = [submitted() for _ in range(20)]
    async with relaying(installation, store, Stream(bus, STREAM)):
        async with projecting(installation, commit=commit) as (follower, pool):
            for job in jobs:
                async with store.transaction() as tx:
                    await tx.append([write(job.job_id, job, prioritised(job.job_id, 2), prioritised(job.job_id, 7))])
            await follower.passed(60)
            live = await pool.fetch("select * from gateway.jobs order by number")
        async with asyncio.timeout(60):
            await rebuild(follower, views.TABLES, 60)
        again = await pool.fetch("select * from gateway.jobs order by number")

    assert len(live) == 20
    assert [tuple(row) for row in again] == [tuple(row) for row in live]


async def test_an_event_that_can_not_be_applied_is_put_aside_and_can_be_redriven(installation):
    store, bus = await installation.store(), await installation.bus("job")
    poison = submitted(url="https://files.test/poison")
    broken = True

    async def apply(conn, batch: list[Applied]) -> None:
        if broken and any(one.event == poison for one in batch):
            raise ValueError("poison")
        await views.apply(conn, batch)

    async with (
        relaying(installation, store, Stream(bus, STREAM)),
        projecting(installation, apply=apply) as (follower, pool),
    ):
        async with store.transaction() as tx:
            await tx.append([opening(), write(poison.job_id, poison), opening()])
        async with asyncio.timeout(60):
            await follower.passed(3)
        letters = await pool.fetch("select sequence, error from gateway.dead_letters")
        shown = await pool.fetchval("select count(*) from gateway.jobs")
        broken = False
        redriven = await follower.redrive(letters[0]["sequence"])

        assert [letter["sequence"] for letter in letters] == [2]
        assert "poison" in letters[0]["error"]
        assert shown == 2
        assert redriven
        assert await pool.fetchval("select count(*) from gateway.jobs") == 3
        assert await pool.fetchval("select count(*) from gateway.dead_letters") == 0


async def test_two_processes_of_one_projection_apply_every_event_once(installation):
    """Seen by an effect that can be had twice, unlike a row of the view."""
    store, bus = await installation.store(), await installation.bus("job")

    async def apply(conn, batch: list[Applied]) -> None:
        letter = "insert into gateway.dead_letters values ($1, $2, '', $3, '', '{}', '')"
        await conn.executemany(letter, [(str(new_id()), one.at.sequence, new_id()) for one in batch])

    async with (
        relaying(installation, store, Stream(bus, STREAM)),
        projecting(installation, apply=apply) as (first, pool),
        projecting(installation, apply=apply) as (second, _),
    ):
        await append(store, 50)
        async with asyncio.timeout(60):
            await first.passed(50)
            await second.passed(50)
        rows = await pool.fetch("select sequence from gateway.dead_letters order by sequence")

    assert [row["sequence"] for row in rows] == list(range(1, 51))


async def test_a_follower_that_can_not_go_on_is_behind_and_one_that_has_everything_is_not(installation):
    """By the age of the oldest event that waits: readiness is made of it."""
    store, bus = await installation.store(), await installation.bus("job")
    held, meanwhile = asyncio.Event(), []

    async def apply(conn, batch: list[Applied]) -> None:
        meanwhile.append(follower.lag_seconds)
        await held.wait()
        await views.apply(conn, batch)

    async with (
        relaying(installation, store, Stream(bus, STREAM)),
        projecting(installation, apply=apply) as (follower, _),
    ):
        before = follower.lag_seconds
        await append(store, 1)
        held.set()
        async with asyncio.timeout(60):
            await follower.passed(1)

        assert before == 0
        assert meanwhile[0] > 0
        assert follower.lag_seconds == 0


class Missing:
    """A stream that nobody made."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def last(self):
        self.asked.set()
        raise SinkGone("no stream")


async def test_a_relay_without_a_stream_is_behind_though_it_can_not_lead(installation):
    """Else a service whose events nobody hears would call itself ready. One beside a leader is not behind."""
    store, bus, sink = await installation.store(), await installation.bus("job"), Missing()
    async with relaying(installation, store, sink) as lost:
        async with asyncio.timeout(60):
            await sink.asked.wait()

        assert lost.lag_seconds > 0

    async with relaying(installation, store, Stream(bus, STREAM)):
        await append(store, 1)
        await published(await installation.bus("gateway"), 1)
        url = installation.servers.database_urls["job"]
        beside = Relay(store, Stream(bus, STREAM), url=url, wake=installation.wake)
        task = asyncio.create_task(beside.run())
        async with asyncio.timeout(60):
            while beside.lag_seconds > 0:
                await asyncio.wait({task}, timeout=0.05)
        task.cancel()
        await asyncio.wait({task})
