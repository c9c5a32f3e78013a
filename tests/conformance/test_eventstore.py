"""The invariants of the event store, against a real Postgres."""

from __future__ import annotations

import asyncio
from uuid import UUID

import asyncpg
import pytest
from asyncpg.transaction import Transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.eventstore import AnyVersion, Exact, Exists, NoStream, NotFirstWrite, WrongVersion
from libs.message import ORIGIN, Position, new_id
from tests.support.events import opening, prioritised, submitted, write


async def feed(store, after=ORIGIN):
    found = []
    while page := await store.read(after, 100):
        found += page
        after = page[-1].position
    return found


async def test_concurrent_writers_of_one_stream_leave_versions_without_a_hole(installation):
    store = await installation.store(limit=8)
    stream = new_id()
    async with store.transaction() as tx:
        await tx.append([write(stream, submitted(stream))])

    async def bump(priority):
        async with store.transaction() as tx:
            await tx.append([write(stream, prioritised(stream, priority), expected=AnyVersion())])

    await asyncio.gather(*(bump(1 + n % 10) for n in range(40)))

    assert [one.version for one in await store.load(stream)] == list(range(1, 42))


async def waiting(conn, count: int) -> None:
    """Until so many transactions wait for another."""
    async with asyncio.timeout(60):
        while await conn.fetchval("select count(*) from pg_locks where not granted") < count:
            await asyncio.sleep(0.01)  # the server tells nobody


async def test_a_writer_that_waited_for_another_is_refused_by_what_that_one_wrote(installation):
    """It had looked before, and saw the version that it expects."""
    store = await installation.store()
    pool = await installation.pool("job", limit=1)
    stream = new_id()
    async with store.transaction() as tx:
        await tx.append([write(stream, submitted(stream))])

    async def late() -> None:
        async with store.transaction() as tx:
            await tx.append([write(stream, prioritised(stream, 2), expected=Exact(1))])

    async with store.transaction() as tx:
        await tx.append([write(stream, prioritised(stream, 1), expected=Exact(1))])
        second = asyncio.create_task(late())
        await waiting(pool, 1)
    with pytest.raises(WrongVersion) as wrong:
        await second

    assert wrong.value.actual == 2
    assert [one.version for one in await store.load(stream)] == [1, 2]


async def test_writers_of_any_version_that_wait_for_a_stream_come_in_the_feed_as_they_do_in_the_stream(installation):
    """Also one that could have written to another stream before it had to wait."""
    store = await installation.store()
    pool = await installation.pool("job", limit=1)
    busy, free = new_id(), new_id()

    async def bump(*streams: UUID) -> None:
        async with store.transaction() as tx:
            await tx.append([write(one, prioritised(one, 1), expected=AnyVersion()) for one in streams])

    async with store.transaction() as tx:
        await tx.append([write(busy, submitted(busy))])
        second = asyncio.create_task(bump(busy))
        await waiting(pool, 1)
        third = asyncio.create_task(bump(free, busy))
        await waiting(pool, 2)
    await asyncio.gather(second, third)

    assert [one.version for one in await feed(store) if one.stream_id == busy] == [1, 2, 3]


async def test_of_writers_that_expect_the_same_version_exactly_one_wins(installation):
    store = await installation.store(limit=8)
    stream = new_id()
    async with store.transaction() as tx:
        await tx.append([write(stream, submitted(stream))])

    async def bump(priority):
        try:
            async with store.transaction() as tx:
                await tx.append([write(stream, prioritised(stream, priority), expected=Exact(1))])
        except WrongVersion as wrong:
            return wrong.actual
        return "won"

    outcomes = await asyncio.gather(*(bump(n) for n in range(1, 9)))

    assert sorted(map(str, outcomes)) == ["2"] * 7 + ["won"]


MODES = [
    # (mode, for a new stream, for a stream at version 1)
    (NoStream(), True, False),
    (Exists(), False, True),
    (AnyVersion(), True, True),
    (Exact(1), False, True),
    (Exact(2), False, False),
]


@pytest.mark.parametrize(("mode", "new", "known"), MODES, ids=str)
async def test_each_expectation_takes_and_refuses_what_its_name_says(installation, mode, new, known):
    store = await installation.store()
    stream = new_id()
    async with store.transaction() as tx:
        await tx.append([write(stream, submitted(stream))])

    for target, taken in ((new_id(), new), (stream, known)):
        try:
            async with store.transaction() as tx:
                await tx.append([write(target, prioritised(target, 3), expected=mode)])
        except WrongVersion as wrong:
            assert not taken
            assert wrong.stream_id == target
            assert wrong.actual == (1 if target == stream else 0)
        else:
            assert taken


async def test_an_append_that_is_not_the_first_write_is_refused(installation):
    store = await installation.store()

    with pytest.raises(NotFirstWrite):
        async with store.transaction() as tx:
            await tx.conn.execute("insert into job.commands values ($1, $2, $3)", new_id(), b"", b"")
            await tx.append([opening()])

    assert await feed(store) == []


async def test_without_that_refusal_the_feed_would_show_a_stream_backwards(installation):
    """The mutant: rows written as the append writes them, by transactions that wrote elsewhere first."""
    store = await installation.store()
    pool = await installation.pool("job")
    stream = new_id()
    insert = (
        "insert into job.events (stream_id, version, event_id, kind, type, schema_version, data, meta)"
        " values ($1, $2, $3, 'job', 'job.prioritised', 1, '{}', '{}')"
    )
    async with pool.acquire() as early, pool.acquire() as late:
        first, second = early.transaction(), late.transaction()
        await first.start()
        await early.execute("insert into job.commands values ($1, $2, $3)", new_id(), b"", b"")
        await second.start()
        await late.execute(insert, stream, 1, new_id())
        await second.commit()
        await early.execute(insert, stream, 2, new_id())
        await first.commit()

    rows, _ = await store.ahead(ORIGIN, 100)

    assert [row["version"] for row in rows] == [2, 1]


SCHEDULES = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["append", "commit", "rollback", "read"])), min_size=4, max_size=24
)


class Naive:
    """How most people read an outbox: everything behind the highest position seen. It is here to lose events."""

    def __init__(self, pool) -> None:
        self._pool = pool
        self._seen = 0
        self.found: list[UUID] = []

    async def start(self) -> None:
        self._seen = await self._pool.fetchval("select coalesce(max(position), 0) from job.events")

    async def read(self) -> None:
        rows = await self._pool.fetch(
            "select position, stream_id from job.events where position > $1 order by position", self._seen
        )
        for row in rows:
            self._seen = row["position"]
            self.found.append(row["stream_id"])


class Writers:
    """Three connections whose transactions interleave as a schedule says."""

    def __init__(self, store, conns) -> None:
        self._store = store
        self._conns = conns
        self._open: dict[int, tuple[Transaction, list[UUID]]] = {}
        self.committed: set[UUID] = set()

    async def step(self, who: int, what: str) -> None:
        if what == "append":
            if who in self._open:
                return
            transaction = self._conns[who].transaction()
            await transaction.start()
            one = opening()
            await self._store.append(self._conns[who], [one])
            self._open[who] = (transaction, [one.stream_id])
        elif who in self._open:
            transaction, streams = self._open.pop(who)
            if what == "commit":
                await transaction.commit()
                self.committed |= set(streams)
            else:
                await transaction.rollback()

    async def finish(self) -> None:
        for who in list(self._open):
            await self.step(who, "commit")


async def follow(installation, schedule) -> tuple[list[UUID], list[UUID], set[UUID]]:
    store = await installation.store()
    pool = await installation.pool("job", limit=6)
    naive = Naive(pool)
    await naive.start()
    tail = await pool.fetchrow(
        "select txid::text, position from job.events order by events.txid desc, position desc limit 1"
    )
    cursor = Position(int(tail["txid"]), tail["position"]) if tail else ORIGIN
    found: list[UUID] = []

    async def read() -> None:
        nonlocal cursor
        for one in await store.read(cursor, 100):
            cursor = one.position
            found.append(one.stream_id)

    async with pool.acquire() as a, pool.acquire() as b, pool.acquire() as c:
        writers = Writers(store, (a, b, c))
        for who, what in schedule:
            if what == "read":
                await read()
                await naive.read()
            else:
                await writers.step(who, what)
        await writers.finish()
    await read()
    await naive.read()
    return found, naive.found, writers.committed


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schedule=SCHEDULES)
def test_the_feed_has_every_committed_event_once_however_transactions_interleave(running_installation, schedule):
    found, _, committed = running_installation(lambda one: follow(one, schedule))

    assert len(found) == len(set(found))
    assert set(found) == committed


def test_the_naive_reader_loses_an_event_that_commits_late(running_installation):
    late = [(0, "append"), (1, "append"), (1, "commit"), (0, "read"), (0, "commit")]

    found, naive, committed = running_installation(lambda one: follow(one, late))

    assert set(found) == committed
    assert set(naive) < committed


async def test_what_follows_from_an_event_comes_after_it_in_the_feed(installation):
    store = await installation.store()
    cause, effect = opening(), opening()
    async with store.transaction() as tx:
        await tx.append([cause])
    async with store.transaction() as tx:
        await tx.append([effect])

    assert [one.stream_id for one in await feed(store)] == [cause.stream_id, effect.stream_id]


async def test_the_feed_is_in_the_order_of_transactions_also_when_their_numbers_gain_a_digit(installation):
    store = await installation.store()
    pool = await installation.pool("job")
    insert = (
        "insert into job.events (txid, stream_id, version, event_id, kind, type, schema_version, data, meta)"
        " values ($1::text::xid8, $2, 1, $3, 'job', 'job.prioritised', 1, '{}', '{}')"
    )
    for txid in ("9", "10", "99", "100"):
        await pool.execute(insert, txid, new_id(), new_id())

    rows, _ = await store.ahead(ORIGIN, 10)

    assert [row["txid"] for row in rows] == ["9", "10", "99", "100"]


async def test_append_and_its_neighbour_are_one_transaction(installation):
    store = await installation.store()
    pool = await installation.pool("job")
    beside = "insert into job.commands select $12::uuid, $13::bytea, $14::bytea from appended"
    known = new_id()
    one = opening()
    async with pool.acquire() as conn:
        await store.append_and(conn, [one], beside, known, b"h", b"o")

        with pytest.raises(asyncpg.UniqueViolationError):
            await store.append_and(conn, [opening()], beside, known, b"h", b"o")

    assert [found.stream_id for found in await feed(store)] == [one.stream_id]
    assert await pool.fetchval("select count(*) from job.commands") == 1


async def test_what_an_append_is_provided_with_is_looked_at_before_anything_is_written(installation):
    store = await installation.store()
    pool = await installation.pool("job")
    await pool.execute(
        "create function job.none_yet() returns boolean language plpgsql as $$ begin"
        " if exists (select from job.events) or pg_current_xact_id_if_assigned() is not null then"
        " raise 'not the first'; end if; return true; end $$"
    )
    beside = "insert into job.commands select $12::uuid, $13::bytea, $14::bytea from appended"
    one = opening()
    async with pool.acquire() as conn:
        await store.append_and(conn, [one], beside, new_id(), b"h", b"o", provided="job.none_yet()")

        with pytest.raises(asyncpg.RaiseError, match="not the first"):
            await store.append_and(conn, [opening()], beside, new_id(), b"h", b"o", provided="job.none_yet()")

    assert [found.stream_id for found in await feed(store)] == [one.stream_id]
    assert await pool.fetchval("select count(*) from job.commands") == 1


async def test_a_remembered_command_gives_its_first_outcome(installation):
    store = await installation.store()
    command = new_id()
    async with store.transaction() as tx:
        await tx.append([opening()])
        await store.remember(tx.conn, command, b"hash", b"outcome")

    recalled = await store.recall(command)

    assert recalled is not None
    assert (recalled.request_hash, recalled.outcome) == (b"hash", b"outcome")
    assert await store.recall(new_id()) is None
