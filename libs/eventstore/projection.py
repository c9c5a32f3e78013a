"""Followers of a feed that keep their place in the transaction of their effect.

A projection's effect is rows, so it can be rebuilt. A reactor's effect is an act (a command, a notice), so it has no
rebuild: running it again over history would act again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

import asyncpg
import msgspec
import structlog
from prometheus_client import Counter, Gauge

from libs.database import Connection
from libs.feed import Delivered, SinkGone
from libs.lasting import lasting
from libs.message import ORIGIN, Event, Position, Registry

log = structlog.get_logger()

TRIES = 5
"""Of a single event that fails for itself, before it is put aside as a dead letter."""

APPLIED = Counter("longshore_projection_events_total", "Events applied", ["consumer"])
DEAD = Counter("longshore_dead_letters_total", "Events put aside", ["consumer"])
SEQUENCE = Gauge("longshore_projection_sequence", "Stream sequence that was applied last", ["consumer"])

BEHIND = Gauge("longshore_projection_lag_seconds", "Age of the oldest event that waits to be applied", ["consumer"])

Apply = Callable[[Connection, Sequence["Applied"]], Awaitable[None]]


class Later(Exception):
    """What an effect needs is away. The event is tried again until it is there, and nothing behind it before."""


PASSING = (
    Later,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    OSError,
    TimeoutError,
)
"""Troubles of the moment: the batch is tried again, nobody is blamed."""

Source = Callable[[int], AbstractAsyncContextManager[AsyncIterator[list[Delivered]]]]
"""Opens a stream behind a sequence: batches in order, without gap."""


class Mark(msgspec.Struct, frozen=True):
    """Where a consumer is, and where its row must still be for it to move: `before` is the row's sequence."""

    name: str
    position: Position
    sequence: int
    before: int


Commit = Callable[[asyncpg.Pool, Sequence["Applied"], Mark], Awaitable[bool]]
"""Effect and mark in one go of the projection's own; False, and no effect, when the mark was not where it must be."""
UNMARKED = 1000
"""Events without an effect that may pass before the mark is written all the same: a restart reads them again."""


class Overtaken(Exception):
    """Another process moved this consumer's mark; read it again and go on from there."""


class Applied(msgspec.Struct, frozen=True):
    """An event with where it came from."""

    event: Event
    at: Delivered


class Follower:
    """One durable consumer of one stream, with its mark in `<schema>.checkpoints`.

    `wanted` are the tags it knows: others are passed over, a wanted one that can not be decoded becomes a dead letter.
    `relevant` says of a decoded event whether it has an effect; it is asked of every one, in order. `committed` is
    called with every event that has one, in order, when its effect can be read, whichever replica made it. `apply`
    makes the effect in a transaction that also moves the mark; a projection that can do both in fewer round trips
    gives `commit` as well.
    """

    def __init__(
        self,
        name: str,
        pool: asyncpg.Pool,
        schema: str,
        source: Source,
        registry: Registry,
        wanted: frozenset[str],
        apply: Apply,
        *,
        commit: Commit | None = None,
        relevant: Callable[[Event], bool] = lambda _: True,
        committed: Callable[[Sequence[Applied]], None] | None = None,
    ) -> None:
        self.name = name
        self.position = ORIGIN
        self.sequence = 0
        self._pool = pool
        self._schema = schema
        self._source = source
        self._registry = registry
        self._wanted = wanted
        self._apply = apply
        self._commit_own = commit
        self._relevant = relevant
        self._committed = committed
        self._written = 0
        self._placed = False
        self._held = 0
        self._unapplied: datetime | None = None
        """When the oldest event was recorded that waits to be applied; None when none does."""
        self._waiting: dict[asyncio.Future[None], Callable[[], bool]] = {}

    async def run(self) -> None:
        """Follows for ever; the loss of Postgres or of the bus only pauses it."""
        BEHIND.labels(self.name).set_function(lambda: self.lag_seconds)
        await lasting("follower.interrupted", self._follow, (*PASSING, SinkGone, Overtaken), consumer=self.name)

    async def _follow(self) -> None:
        await self._load_mark()
        if self.sequence >= self._held:  # another replica applied it
            self._unapplied = None
        async with self._source(self.sequence) as batches:
            async for batch in batches:
                await self._take(batch)

    @property
    def lag_seconds(self) -> float:
        """The age of the oldest event that waits to be applied."""
        return 0.0 if self._unapplied is None else max((datetime.now(UTC) - self._unapplied).total_seconds(), 0.0)

    async def reached(self, position: Position, timeout: float) -> bool:
        """Whether the mark came to `position` within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._until(lambda: self.position >= position)
        except TimeoutError:
            return False
        return True

    async def passed(self, sequence: int) -> None:
        """Waits until the stream is applied through `sequence`."""
        await self._until(lambda: self.sequence >= sequence)

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Only those are woken for whom it holds: many wait, and each batch is for a few of them."""
        if holds():
            return
        moved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[moved] = holds
        try:
            await moved
        finally:
            del self._waiting[moved]

    async def forget(self, tables: Sequence[str]) -> None:
        async with self._pool.acquire() as conn, conn.transaction():
            await conn.execute(f"truncate {', '.join(tables)}")
            await conn.execute(f"delete from {self._schema}.checkpoints where name = $1", self.name)
        self._written, self._placed = 0, False
        self._move(ORIGIN, 0)

    async def _load_mark(self) -> None:
        """Where the mark is. A process that began further back goes on from its own place, or its listeners would miss
        what another replica applied meanwhile."""
        row = await self._pool.fetchrow(
            f"select txid, position, sequence from {self._schema}.checkpoints where name = $1", self.name
        )
        before, self._written = self._written, row["sequence"] if row else 0
        if not self._placed or self._written < before:
            self._move(Position(row["txid"], row["position"]) if row else ORIGIN, self._written)
            self._placed = True

    def _move(self, position: Position, sequence: int) -> None:
        self.position, self.sequence = position, sequence
        SEQUENCE.labels(self.name).set(sequence)
        for moved, holds in self._waiting.items():
            if not moved.done() and holds():
                moved.set_result(None)

    async def _take(self, batch: Sequence[Delivered]) -> None:
        self._held = batch[-1].sequence
        self._unapplied = batch[0].recorded_at
        await self._take_fresh([one for one in batch if one.sequence > self.sequence])
        self._unapplied = batch[-1].recorded_at if batch[-1].pending else None

    async def _take_fresh(self, fresh: list[Delivered]) -> None:
        while fresh:
            await self._passed_over([one for one in fresh if one.sequence <= self._written])
            fresh = [one for one in fresh if one.sequence > self._written]
            if not fresh:
                return
            try:
                await self._commit(fresh)
            except PASSING:
                raise
            except Overtaken:
                before = self._written
                await self._load_mark()
                if self._written < before:
                    raise  # it was set back: begin anew from there
                continue
            except Exception as error:  # noqa: BLE001 - one event is at fault: find it, put it aside, go on
                await log.awarning("follower.batch_failed", consumer=self.name, reason=repr(error))
                for one in fresh:
                    await self._alone(one)
            return

    async def _passed_over(self, applied: Sequence[Delivered]) -> None:
        """Another replica made their effect."""
        if applied:
            events = self._events(applied)
            self._move(applied[-1].position, applied[-1].sequence)
            if events and self._committed is not None:
                self._committed(events)

    async def _alone(self, one: Delivered) -> None:
        for _ in range(TRIES - 1):
            try:
                await self._commit([one])
            except (*PASSING, Overtaken):
                raise
            except Exception as error:  # noqa: BLE001 - tried again below, then kept with its text
                await log.ainfo(
                    "follower.event_failed", consumer=self.name, event_type=one.event_type, reason=repr(error)
                )
            else:
                return
        try:
            await self._commit([one])
        except (*PASSING, Overtaken):
            raise
        except Exception as error:  # noqa: BLE001 - kept with its text, to be read and redriven
            await self._bury(one, repr(error))

    async def _commit(self, batch: Sequence[Delivered]) -> None:
        events = self._events(batch)
        last = batch[-1]
        if events or last.sequence - self._written >= UNMARKED:
            if self._commit_own is not None:
                mark = Mark(self.name, last.position, last.sequence, self._written)
                if not await self._commit_own(self._pool, events, mark):
                    raise Overtaken(self.name)
            else:
                async with self._pool.acquire() as conn, conn.transaction():
                    if events:
                        await self._apply(conn, events)
                    await self._save_mark(conn, last)
            self._written = last.sequence
        self._move(last.position, last.sequence)
        APPLIED.labels(self.name).inc(len(batch))
        if events and self._committed is not None:
            self._committed(events)

    def _events(self, batch: Sequence[Delivered]) -> list[Applied]:
        return [
            Applied(event, one) for one in batch if (event := self._decode(one)) is not None and self._relevant(event)
        ]

    def _decode(self, one: Delivered) -> Event | None:
        if one.event_type not in self._wanted:
            return None
        return self._registry.event(one.event_type, one.schema_version, one.body)

    async def _save_mark(self, conn: Connection, last: Delivered) -> None:
        """Only from where this process believes the mark to be: two replicas may follow, one of them commits."""
        moved = await conn.fetchval(
            f"insert into {self._schema}.checkpoints as c (name, txid, position, sequence, epoch)"
            " values ($1, $2, $3, $4, '') on conflict (name) do update set"
            " txid = excluded.txid, position = excluded.position, sequence = excluded.sequence, updated_at = now()"
            " where c.sequence = $5 returning sequence",
            self.name,
            last.position.txid,
            last.position.number,
            last.sequence,
            self._written,
        )
        if moved is None:
            raise Overtaken(self.name)

    async def _bury(self, one: Delivered, error: str) -> None:
        async with self._pool.acquire() as conn, conn.transaction():
            await conn.execute(
                f"insert into {self._schema}.dead_letters (consumer, sequence, type, stream_id, body, headers, error)"
                " values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
                self.name,
                one.sequence,
                one.event_type,
                one.stream_id,
                one.body,
                msgspec.json.encode(one.headers).decode(),
                error,
            )
            await self._save_mark(conn, one)
        self._written = one.sequence
        self._move(one.position, one.sequence)
        DEAD.labels(self.name).inc()
        await log.aerror(
            "follower.dead_letter", consumer=self.name, sequence=one.sequence, event_type=one.event_type, reason=error
        )

    async def redrive(self, sequence: int) -> bool:
        """Apply a dead letter now, out of order; True, and the letter is gone, when it went well; else it raises."""
        async with self._pool.acquire() as conn, conn.transaction():
            row = await conn.fetchrow(
                f"delete from {self._schema}.dead_letters where consumer = $1 and sequence = $2 returning *",
                self.name,
                sequence,
            )
            if row is None:
                return False
            headers = msgspec.json.decode(row["headers"], type=dict[str, str])
            version = int(headers["ce-dataschema"].rpartition(".v")[2])
            letter = Delivered(
                sequence=sequence,
                position=Position.parse(headers["Pos"]),
                event_type=row["type"],
                schema_version=version,
                stream_id=row["stream_id"],
                version=int(headers["version"]),
                recorded_at=row["at"],
                headers=headers,
                body=row["body"],
            )
            event = self._registry.event(letter.event_type, version, letter.body)
            await self._apply(conn, [Applied(event, letter)])
        return True


async def rebuild(follower: Follower, tables: Sequence[str], until: int) -> None:
    """Empty a projection's tables and fill them from the start of the stream to sequence `until`.

    For projections alone: a reactor has no rows to empty, and must not act on history. Nobody else may run the follower
    meanwhile.
    """
    await follower.forget(tables)
    running = asyncio.create_task(follower.run())
    try:
        await follower.passed(until)
    finally:
        running.cancel()
        await asyncio.wait({running})


__all__ = ["Applied", "Follower", "Later", "Overtaken", "rebuild"]
