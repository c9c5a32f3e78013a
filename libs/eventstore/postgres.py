"""Append and read, one schema per store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct

from libs.database import Connection
from libs.message import ORIGIN, Event, Meta, Position, Registry, new_id, tag


class Exact(Struct, frozen=True):
    """The stream is at exactly this version (1 or more)."""

    version: int


class NoStream(Struct, frozen=True):
    """There is no such stream yet."""


class Exists(Struct, frozen=True):
    """There is one, at whatever version."""


class AnyVersion(Struct, frozen=True):
    """No expectation; the later of two writers waits for the earlier."""


Expected = Exact | NoStream | Exists | AnyVersion


def _code(expected: Expected) -> int:
    match expected:
        case Exact(version):
            return version
        case NoStream():
            return 0
        case Exists():
            return -1
        case AnyVersion():
            return -2


class WrongVersion(Exception):
    """Another writer was there first. Decide again on the new state; never re-append the same events."""

    def __init__(self, stream_id: UUID, expected: Expected, actual: int) -> None:
        super().__init__(f"{stream_id} is at version {actual}, not {expected}")
        self.stream_id = stream_id
        self.expected = expected
        self.actual = actual


class NotFirstWrite(Exception):
    """The transaction had written before it appended, which can reorder the feed."""


class Write(Struct, frozen=True, kw_only=True):
    """Events for one stream. A stream may come once in a call. `tenant` is whose stream it is."""

    stream_id: UUID
    kind: str
    expected: Expected
    events: Sequence[Event]
    meta: Meta
    tenant: UUID | None = None


class Recorded(Struct, frozen=True, kw_only=True):
    position: Position
    stream_id: UUID
    version: int
    event_id: UUID
    kind: str
    type: str
    schema_version: int
    recorded_at: datetime
    event: Event
    meta: Meta


class Outcome(Struct, frozen=True):
    """What an earlier command with the same id was answered."""

    request_hash: bytes
    outcome: bytes


class Transaction:
    """`append` first and once, then whatever must commit with it on `conn`."""

    def __init__(self, store: EventStore, conn: Connection) -> None:
        self.conn = conn
        self._store = store

    async def append(self, writes: Sequence[Write]) -> list[Position]:
        """The place of every event, in the order given. Raises WrongVersion and NotFirstWrite."""
        return await self._store.append(self.conn, writes)

    async def append_and(
        self, writes: Sequence[Write], beside: str, *values: object, provided: str = "true"
    ) -> list[Position]:
        """See `EventStore.append_and`."""
        return await self._store.append_beside(self.conn, writes, beside, *values, provided=provided)


_encode = msgspec.json.Encoder().encode
_decode_meta = msgspec.json.Decoder(Meta).decode


class EventStore:
    """One service's store. `wake` is called after every commit, to hurry the relay."""

    def __init__(self, pool: asyncpg.Pool, schema: str, registry: Registry, wake: Callable[[], None]) -> None:
        self.schema = schema
        self._pool = pool
        self._registry = registry
        self._wake = wake
        self._statements: dict[tuple[str, str], str] = {}
        self._append = f"select * from {schema}.append($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11)"
        columns = (
            "position, txid::text, stream_id, version, event_id, kind, type, schema_version, data, meta, recorded_at"
        )
        self._load = f"select {columns} from {schema}.events where stream_id = $1 and version > $2 order by version"
        # Qualified, because `order by txid` would mean the output column, which is text: 1000 before 999.
        self._ahead = (
            f"select {columns}, txid < pg_snapshot_xmin(pg_current_snapshot()) as visible,"
            f" extract(epoch from clock_timestamp() - recorded_at)::float8 as age from {schema}.events"
            " where (txid, position) > ($1::text::xid8, $2)"
            f" order by {schema}.events.txid, {schema}.events.position limit $3"
        )

    @asynccontextmanager
    async def transaction(self, conn: Connection | None = None) -> AsyncIterator[Transaction]:
        """On a connection of the store's pool, or on one that the caller has."""
        async with AsyncExitStack() as stack:
            used: Connection = conn or await stack.enter_async_context(self._pool.acquire())
            await stack.enter_async_context(used.transaction())
            yield Transaction(self, used)
        self._wake()

    async def append_and(
        self, conn: Connection, writes: Sequence[Write], beside: str, *values: object, provided: str = "true"
    ) -> list[Position]:
        """Append and one more write in a single statement, which is a transaction of its own on a `conn` that has none
        open: one round trip instead of four. `beside` is an insert or update whose parameters begin at $12 and which
        selects from `appended`, so that it can not run first. `provided` is an expression that is true or raises; it is
        evaluated before anything is appended, because the append's argument depends on it."""
        positions = await self.append_beside(conn, writes, beside, *values, provided=provided)
        self._wake()
        return positions

    async def append_beside(
        self, conn: Connection, writes: Sequence[Write], beside: str, *values: object, provided: str
    ) -> list[Position]:
        """As `append_and`, in a transaction of the caller's."""
        return await self._call(conn, self._beside(beside, provided), writes, values)

    def _beside(self, statement: str, provided: str) -> str:
        known = self._statements.get((statement, provided))
        if known is None:
            known = self._statements[statement, provided] = (
                f"with provided as materialized (select {provided} as sure), appended as materialized ("
                f"select a.* from provided, {self.schema}.append(case when provided.sure then $1::uuid[] end,"
                f"$2,$3,$4,$5,$6,$7,$8,$9,$10,$11) a), beside as ({statement}) select * from appended"
            )
        return known

    async def append(self, conn: Connection, writes: Sequence[Write]) -> list[Position]:
        return await self._call(conn, self._append, writes, ())

    async def _call(
        self, conn: Connection, statement: str, writes: Sequence[Write], values: Sequence[object]
    ) -> list[Position]:
        streams, kinds, tenants, expected, counts, metas = [], [], [], [], [], []
        ids: list[UUID] = []
        types, versions, data, owners = [], [], [], []
        for index, write in enumerate(writes, 1):
            streams.append(write.stream_id)
            kinds.append(write.kind)
            tenants.append(write.tenant)
            expected.append(_code(write.expected))
            counts.append(len(write.events))
            metas.append(_encode(write.meta))
            ids.extend(new_id() for _ in write.events)
            for event in write.events:
                types.append(tag(event))
                versions.append(type(event).schema_version)
                data.append(_encode(event))
                owners.append(index)
        try:
            row = await conn.fetchrow(
                statement, streams, kinds, tenants, expected, counts, ids, types, versions, data, metas, owners, *values
            )
        except asyncpg.PostgresError as error:
            raise _translated(error) from error
        assert row is not None
        txid = int(row["txid"])
        return [Position(txid, number) for number in row["positions"]]

    async def load(self, stream_id: UUID, after: int = 0, conn: Connection | None = None) -> list[Recorded]:
        """One stream's events in version order; empty when there is no such stream."""
        source = conn if conn is not None else self._pool
        return [self._recorded(row) for row in await source.fetch(self._load, stream_id, after)]

    async def read(self, after: Position = ORIGIN, limit: int = 500) -> list[Recorded]:
        """The feed in its one order, behind the barrier that hides what a transaction still open may precede."""
        rows, _ = await self.ahead(after, limit)
        return [self._recorded(row) for row in rows]

    async def ahead(
        self, after: Position, limit: int, conn: Connection | None = None
    ) -> tuple[list[asyncpg.Record], float | None]:
        """As `read`, undecoded, and the age in seconds of the oldest event that is committed but still behind the
        barrier; None when none is, or when more than `limit` events come before it."""
        source = conn if conn is not None else self._pool
        rows = await source.fetch(self._ahead, str(after.txid), after.number, limit)
        for index, row in enumerate(rows):
            if not row["visible"]:
                return rows[:index], row["age"]
        return rows, None

    def _recorded(self, row: asyncpg.Record) -> Recorded:
        return Recorded(
            position=Position(int(row["txid"]), row["position"]),
            stream_id=row["stream_id"],
            version=row["version"],
            event_id=row["event_id"],
            kind=row["kind"],
            type=row["type"],
            schema_version=row["schema_version"],
            recorded_at=row["recorded_at"],
            event=self._registry.event(row["type"], row["schema_version"], row["data"]),
            meta=_decode_meta(row["meta"]),
        )

    async def remember(self, conn: Connection, command_id: UUID, request_hash: bytes, outcome: bytes) -> None:
        """After the append, in its transaction. Raises asyncpg.UniqueViolationError when another answer came first."""
        await conn.execute(
            f"insert into {self.schema}.commands (command_id, request_hash, outcome) values ($1, $2, $3)",
            command_id,
            request_hash,
            outcome,
        )

    async def forget(self, conn: Connection, before: datetime) -> None:
        """Outcomes that were remembered before then: who repeats a command later acts anew."""
        await conn.execute(f"delete from {self.schema}.commands where at < $1", before)

    async def recall(self, command_id: UUID) -> Outcome | None:
        row = await self._pool.fetchrow(
            f"select request_hash, outcome from {self.schema}.commands where command_id = $1", command_id
        )
        return Outcome(row["request_hash"], row["outcome"]) if row else None


def _translated(error: Exception) -> Exception:
    state = getattr(error, "sqlstate", None)
    if state == "LS001":
        return NotFirstWrite(str(error))
    if state == "LS002":
        stream_id, expected, actual = str(getattr(error, "detail", "")).split(" ")
        return WrongVersion(UUID(stream_id), _expected(int(expected)), int(actual))
    return error


def _expected(code: int) -> Expected:
    if code > 0:
        return Exact(code)
    return NoStream() if code == 0 else Exists() if code == -1 else AnyVersion()
