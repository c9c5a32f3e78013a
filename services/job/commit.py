"""The one way in which a job changes: load, decide, and commit together with whatever else is waiting.

Changes that arrive while a transaction is under way go into the next one as a group, so many writers share one fsync
and a single writer waits for nobody. A group that meets a version conflict is taken apart and committed one by one.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID
from weakref import WeakValueDictionary

import asyncpg
import msgspec

from libs.database import AWAY, Connection
from libs.eventstore import EventStore, Exact, NoStream, Transaction, Write, WrongVersion
from libs.message import Event, Meta, Position, Refusal, Refused
from services.job import domain, views
from services.job.domain import Archived, Decision, Job
from services.job.views import Alike, Taken

GROUP_EVENTS = 2000
"""Events in one transaction at the most; it must end far below the cluster's limit for open writers."""
CACHED_JOBS = 8192
TRIES = 3
FLOOD_SECONDS = 0.1
FLOOD_JOBS = 4


class Remembered(msgspec.Struct, frozen=True):
    """An idempotency record to be kept with the change: who asks again gets `outcome`."""

    command_id: UUID
    request_hash: bytes
    outcome: bytes


class Built(msgspec.Struct, frozen=True):
    """What one change writes."""

    writes: Sequence[Write]
    jobs: Sequence[Job]
    remember: Remembered | None = None
    archived: Sequence[Archived] = ()


class _Known(msgspec.Struct, frozen=True):
    job: Job
    version: int
    origin: Meta
    """The envelope of its first event: whose request all this is for."""


class _Pending:
    __slots__ = ("build", "done", "numbers")

    def __init__(self, numbers: int, build: Callable[[tuple[int, ...]], Built]) -> None:
        self.numbers = numbers
        self.build = build
        self.done: asyncio.Future[Position] = asyncio.get_running_loop().create_future()


class Ledger:
    """All writes of the job service go through one of these; several processes may each have their own."""

    def __init__(
        self, pool: asyncpg.Pool, store: EventStore, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.clock = clock
        self.changed = asyncio.Event()
        """Set after every commit; the dispatcher waits for it and clears it."""
        self._pool = pool
        self._store = store
        self._queue: asyncio.Queue[_Pending] = asyncio.Queue(maxsize=10_000)
        self._cache: OrderedDict[UUID, _Known] = OrderedDict()
        self._intake: deque[tuple[float, int]] = deque(maxlen=FLOOD_JOBS)
        self._locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    @property
    def flooded(self) -> bool:
        """Whether new jobs come in so fast, call after call, that the machine is busy with taking them."""
        since = asyncio.get_running_loop().time() - FLOOD_SECONDS
        while self._intake and self._intake[0][0] < since:
            self._intake.popleft()
        return len(self._intake) > 1 and sum(jobs for _, jobs in self._intake) >= FLOOD_JOBS

    async def submit(self, numbers: int, build: Callable[[tuple[int, ...]], Built]) -> Position:
        """New streams. `build` gets the integers for its jobs and is called again if its group falls apart."""
        if numbers:
            self._intake.append((asyncio.get_running_loop().time(), numbers))
        pending = _Pending(numbers, build)
        await self._queue.put(pending)
        return await pending.done

    async def change(self, job_id: UUID, decide: Callable[[Job], Decision], meta: Meta) -> tuple[Job, Position | None]:
        """Decide on the job's current state and commit. The position is None when nothing had to change.

        Raises Refused, also for a job that does not exist. On a conflict the decision is made again, never the events
        appended under another version.
        """
        async with self._lock(job_id):
            for attempt in range(TRIES):
                cached = job_id in self._cache
                known = await self._load(job_id)
                job, version = known.job, known.version
                decision = decide(job)
                if isinstance(decision, Refusal):
                    if cached and attempt < TRIES - 1 and await self._catch_up(known):
                        continue  # another process changed it: what is refused is the past
                    raise Refused(decision)
                if not decision:
                    return job, None
                after = _fold(job, decision)
                write = _write(known, decision, meta)
                built = Built((write,), (after,), archived=domain.archived(job, decision))
                try:
                    position = await self.submit(0, lambda _, b=built: b)  # type: ignore[misc]  # the default binds the loop's value
                except WrongVersion:
                    await self._catch_up(known)
                    if attempt == TRIES - 1:
                        raise
                    continue
                self._keep(_Known(after, version + len(decision), known.origin))
                return after, position
        raise AssertionError("unreachable")

    async def change_among(
        self, job_id: UUID, decide: Callable[[Job, Taken], Decision], meta: Meta
    ) -> tuple[Job, Position | None]:
        """As `change`, for a decision about what the owner's jobs take together: while it is made and committed nobody
        else decides so for the same owner, in whatever process."""
        owner = (await self.read(job_id)).owner
        async with self._lock(job_id):
            for attempt in range(TRIES):
                known = await self._load(job_id)
                try:
                    async with self._alone(owner) as tx:
                        taken = await views.take(tx.conn, owner, job_id)
                        decision = decide(known.job, taken)
                        if isinstance(decision, Refusal):
                            raise Refused(decision)
                        if not decision:
                            return known.job, None
                        after = _fold(known.job, decision)
                        places = await tx.append([_write(known, decision, meta)])
                        await views.save(tx.conn, [after], self.clock())
                except WrongVersion:
                    await self._catch_up(known)
                    if attempt == TRIES - 1:
                        raise
                    continue
                self._keep(_Known(after, known.version + len(decision), known.origin))
                return after, places[-1]
        raise AssertionError("unreachable")

    async def submit_among(
        self, owner: UUID, numbers: int, build: Callable[[Connection, tuple[int, ...]], Awaitable[Built | None]]
    ) -> Position | None:
        """As `submit`, for new streams that depend on what else the owner has; None when `build` makes none. Numbers
        that it does not use are lost."""
        async with self._pool.acquire() as conn:
            taken = await views.take_numbers(conn, numbers)
        async with self._alone(owner) as tx:
            built = await build(tx.conn, taken)
            if built is None:
                return None
            places = await tx.append(built.writes)
            await views.save(tx.conn, built.jobs, self.clock())
        self.changed.set()
        return places[-1]

    async def alike(self, owner: UUID, prints: Sequence[UUID], since: datetime) -> dict[UUID, Alike]:
        async with self._pool.acquire() as conn:
            return await views.alike(conn, owner, prints, since)

    @asynccontextmanager
    async def _alone(self, owner: UUID) -> AsyncIterator[Transaction]:
        """Nobody else is in here for the same owner, in this process or another."""
        async with self._lock(owner), asyncio.timeout(10), self._store.transaction() as tx:
            await views.lock_owner(tx.conn, owner)
            yield tx

    def _lock(self, one: UUID) -> asyncio.Lock:
        return self._locks.setdefault(one, asyncio.Lock())

    async def _catch_up(self, known: _Known) -> bool:
        """Whether the store has more of the job; only that is read, for a long job has thousands of events."""
        newer = await self._store.load(known.job.job_id, known.version)
        if newer:
            job = _fold(known.job, [one.event for one in newer])
            self._keep(_Known(job, newer[-1].version, known.origin))
        return bool(newer)

    async def read(self, job_id: UUID) -> Job:
        """As it is stored, whichever process changed it last. Raises Refused when there is no such job."""
        cached = job_id in self._cache
        known = await self._load(job_id)
        if cached and await self._catch_up(known):
            known = await self._load(job_id)
        return known.job

    async def origin(self, job_id: UUID) -> Meta:
        """The envelope of the request that submitted this job. Raises Refused when there is no such job."""
        return (await self._load(job_id)).origin

    async def _load(self, job_id: UUID) -> _Known:
        known = self._cache.get(job_id)
        if known is not None:
            self._cache.move_to_end(job_id)
            return known
        recorded = await self._store.load(job_id)
        job: Job | None = None
        for one in recorded:
            job = domain.evolve(job, one.event)
        if job is None:
            raise Refused(domain.not_found(job_id))
        known = _Known(job, recorded[-1].version, recorded[0].meta)
        self._keep(known)
        return known

    def _keep(self, known: _Known) -> None:
        self._cache[known.job.job_id] = known
        self._cache.move_to_end(known.job.job_id)
        while len(self._cache) > CACHED_JOBS:
            self._cache.popitem(last=False)

    async def run(self) -> None:
        """Commits groups until cancelled."""
        while True:
            group = [await self._queue.get()]
            size = group[0].numbers
            while size < GROUP_EVENTS and not self._queue.empty():
                pending = self._queue.get_nowait()
                group.append(pending)
                size += max(pending.numbers, 1)
            await self._settle(group)

    async def _settle(self, group: list[_Pending]) -> None:
        try:
            await self._commit(group)
        except asyncio.CancelledError:
            for pending in group:
                pending.done.cancel()
            raise
        except (WrongVersion, asyncpg.UniqueViolationError) as error:
            if len(group) == 1:
                _fail(group[0], error)
                return
            for pending in group:
                await self._settle([pending])
        except AWAY as error:
            # The database went away: every asker is told, none is left waiting, and the loop goes on.
            for pending in group:
                _fail(pending, error)

    async def _commit(self, group: list[_Pending]) -> None:
        async with asyncio.timeout(10):
            async with self._pool.acquire() as conn:
                total = sum(pending.numbers for pending in group)
                numbers = await views.take_numbers(conn, total) if total else ()
                built, start = [], 0
                for pending in group:
                    built.append(pending.build(numbers[start : start + pending.numbers]))
                    start += pending.numbers
                writes = [write for one in built for write in one.writes]
                jobs = [job for one in built for job in one.jobs]
                if not any(one.remember or one.archived for one in built):
                    values = views.row_values(jobs, self.clock())
                    places = await self._store.append_and(conn, writes, views.SAVE_BESIDE, *values)
                else:
                    places = await self._with_more(built, writes, jobs)
        self.changed.set()
        index = 0
        for pending, one in zip(group, built, strict=True):
            index += sum(len(write.events) for write in one.writes)
            if not pending.done.done():
                pending.done.set_result(places[index - 1])

    async def _with_more(self, built: Sequence[Built], writes: Sequence[Write], jobs: Sequence[Job]) -> list[Position]:
        async with self._store.transaction() as tx:
            places = await tx.append(writes)
            await views.save(tx.conn, jobs, self.clock())
            for one in built:
                if one.remember is not None:
                    await self._store.remember(
                        tx.conn, one.remember.command_id, one.remember.request_hash, one.remember.outcome
                    )
            if archived := [entry for one in built for entry in one.archived]:
                await views.keep_archived(tx.conn, archived)
        return places


def opened(events: Sequence[Event], meta: Meta) -> tuple[Write, Job]:
    """A new job's stream and first state."""
    job = domain.evolve(None, events[0])
    write = Write(stream_id=job.job_id, kind="job", expected=NoStream(), events=events, meta=meta, tenant=job.owner)
    return write, _fold(job, events[1:])


def _write(known: _Known, events: Sequence[Event], meta: Meta) -> Write:
    job = known.job
    return Write(
        stream_id=job.job_id, kind="job", expected=Exact(known.version), events=events, meta=meta, tenant=job.owner
    )


def _fold(job: Job, events: Sequence[Event]) -> Job:
    for event in events:
        job = domain.evolve(job, event)
    return job


def _fail(pending: _Pending, error: Exception) -> None:
    if not pending.done.done():
        pending.done.set_exception(error)
