"""The one way in which a job changes: load, decide, and commit together with whatever else is waiting.

Changes that arrive while a transaction is under way go into the next one as a group, so many writers share one fsync
and a single writer waits for nobody. A group that meets a version conflict is taken apart and committed one by one.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import islice
from uuid import UUID
from weakref import WeakValueDictionary

import asyncpg
import msgspec

from libs.database import AWAY, Connection
from libs.eventstore import EventStore, Exact, NoStream, Transaction, Write, WrongVersion
from libs.message import Event, Meta, Position, Refusal, Refused
from services.job import domain, views
from services.job.domain import Archived, Decision, Job
from services.job.views import Alike, Asked, Taken

GROUP_EVENTS = 2000
"""Events in one transaction at the most; it must end far below the cluster's limit for open writers."""
FEW_EVENTS = 32
"""A plan that is made for any number is as good as any for so many; for hundreds it compares each with each."""
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
    prints: Mapping[UUID, UUID] = {}
    """By id, what each job that begins here is known by to others that would do the same."""
    remember: Remembered | None = None
    archived: Sequence[Archived] = ()


class _Known(msgspec.Struct, frozen=True):
    job: Job
    version: int
    origin: Meta
    """The envelope of its first event: whose request all this is for."""


Build = Callable[[tuple[int, ...], Mapping[UUID, Alike]], Built]
"""What to write, given the integers for its jobs, and by fingerprint the jobs that do already what was asked about."""


class _Pending:
    __slots__ = ("asked", "build", "done", "numbers")

    def __init__(self, numbers: int, asked: Sequence[Asked], build: Build) -> None:
        self.numbers = numbers
        """At the most: one for each job that is asked about and not there yet."""
        self.asked = asked
        self.build = build
        self.done: asyncio.Future[Position | None] = asyncio.get_running_loop().create_future()


class Ledger:
    """All writes of the job service go through one of these; several processes may each have their own."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        store: EventStore,
        few: asyncpg.Pool | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Small groups are written through `few`, whose connections may plan their statements once."""
        self.clock = clock
        self.changed = asyncio.Event()
        """Set after every commit; the dispatcher waits for it and clears it."""
        self._pool = pool
        self._few = few or pool
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
        position = await self._enqueue(numbers, (), lambda given, _: build(given))
        assert position is not None
        return position

    async def submit_unlike(self, asked: Sequence[Asked], build: Build) -> Position | None:
        """As `submit`, for jobs that are wanted only where none does the same: of several that race, in whatever
        process, one is made and the others are given it. `build` makes a job for each fingerprint that it is given none
        for, in their order; None when that was nothing."""
        return await self._enqueue(len(asked), asked, build)

    async def _enqueue(self, numbers: int, asked: Sequence[Asked], build: Build) -> Position | None:
        if numbers:
            self._intake.append((asyncio.get_running_loop().time(), numbers))
        pending = _Pending(numbers, asked, build)
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
        except (WrongVersion, asyncpg.UniqueViolationError, asyncpg.CardinalityViolationError) as error:
            if len(group) == 1 and getattr(error, "constraint_name", None) != views.ALIKE:
                _fail(group[0], error)
                return
            # One alone that another process was faster than is given what that made: each turn here is its success.
            for pending in group:
                await self._settle([pending])
        except AWAY as error:
            # The database went away: every asker is told, none is left waiting, and the loop goes on.
            for pending in group:
                _fail(pending, error)

    async def _commit(self, group: list[_Pending]) -> None:
        few = sum(pending.numbers or 1 for pending in group) <= FEW_EVENTS
        async with asyncio.timeout(10), (self._few if few else self._pool).acquire() as conn:
            built, unlike = await self._build(conn, group)
            places = await self._write(conn, built, unlike)
        if places:
            self.changed.set()
        index = 0
        for pending, one in zip(group, built, strict=True):
            events = sum(len(write.events) for write in one.writes)
            index += events
            if not pending.done.done():
                pending.done.set_result(places[index - 1] if events else None)

    async def _build(self, conn: Connection, group: Sequence[_Pending]) -> tuple[list[Built], list[Asked]]:
        """What the group writes, and what nobody may have begun before it is written."""
        asked = [one for pending in group for one in pending.asked]
        known = await views.alike(conn, asked) if asked else {}
        fresh = {one.name: one for one in asked if one.name not in known}
        total = len(fresh) + sum(pending.numbers for pending in group if not pending.asked)
        numbers = iter(await views.take_numbers(conn, total) if total else ())
        built = []
        for pending in group:
            names = dict.fromkeys(one.name for one in pending.asked)
            missing = [name for name in names if name not in known]
            taken = tuple(islice(numbers, len(missing) if names else pending.numbers))
            made = pending.build(taken, {name[1]: known[name] for name in names if name in known})
            if names:
                known.update(zip(missing, (Alike(job.job_id, job.number) for job in made.jobs), strict=True))
            built.append(made)
        return built, list(fresh.values())

    async def _write(self, conn: Connection, built: Sequence[Built], unlike: Sequence[Asked]) -> list[Position]:
        writes = [write for one in built for write in one.writes]
        if not writes:
            return []
        prints = {job_id: name for one in built for job_id, name in one.prints.items()}
        values = views.row_values([job for one in built for job in one.jobs], prints, self.clock())
        provided = "true"
        if unlike:
            values, provided = (*values, *views.columns(unlike)), views.NONE_ALIKE
        if not any(one.remember or one.archived for one in built):
            return await self._store.append_and(conn, writes, views.SAVE_BESIDE, *values, provided=provided)
        async with self._store.transaction(conn) as tx:
            places = await tx.append_and(writes, views.SAVE_BESIDE, *values, provided=provided)
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
