"""The projection of jobs and batches, and every question that is asked of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from uuid import UUID

import asyncpg
import msgspec

from libs.database import Connection
from libs.eventstore.projection import Applied, Mark
from services.gateway.domain import BatchView, DayView, JobView
from services.gateway.folding import BLOCK, Rows, fold, touched

TABLES = ("gateway.jobs", "gateway.batches", "gateway.tallies", "gateway.days")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(JobView).decode

# Each has its parameters as {0}, {1}, ... and a place for the condition under which it does anything.
_JOBS = """
insert into gateway.jobs (job_id, number, owner, batch_id, state, submitted_at, doc)
select * from unnest({0}::uuid[], {1}::bigint[], {2}::uuid[], {3}::uuid[], {4}::text[], {5}::timestamptz[],
  {6}::bytea[])
where {only} on conflict (job_id) do update set state = excluded.state, doc = excluded.doc
"""
_BATCHES = """
insert into gateway.batches (batch_id, owner, label, url, folder, size, held, submitted_at, started_at)
select * from unnest({0}::uuid[], {1}::uuid[], {2}::text[], {3}::text[], {4}::text[], {5}::int[], {6}::bool[],
  {7}::timestamptz[], {8}::timestamptz[])
where {only} on conflict (batch_id) do nothing
"""
_STARTED = """
update gateway.batches b set started_at = u.at from unnest({0}::uuid[], {1}::timestamptz[]) u(batch_id, at)
where b.batch_id = u.batch_id and {only}
"""
_TALLIES = """
insert into gateway.tallies as t (owner, state, block, jobs)
select * from unnest({0}::uuid[], {1}::text[], {2}::bigint[], {3}::bigint[])
where {only} on conflict (owner, state, block) do update set jobs = t.jobs + excluded.jobs
"""
_DAYS = """
insert into gateway.days as d (owner, day, submitted, completed, failed, bytes, seconds)
select * from unnest({0}::uuid[], {1}::date[], {2}::bigint[], {3}::bigint[], {4}::bigint[], {5}::bigint[],
  {6}::float8[])
where {only} on conflict (owner, day) do update set submitted = d.submitted + excluded.submitted,
  completed = d.completed + excluded.completed, failed = d.failed + excluded.failed,
  bytes = d.bytes + excluded.bytes, seconds = d.seconds + excluded.seconds
"""
_MOVE = """
insert into gateway.checkpoints as c (name, txid, position, sequence, epoch) values ($1, $2, $3, $4, '')
on conflict (name) do update set txid = excluded.txid, position = excluded.position, sequence = excluded.sequence,
  updated_at = now() where c.sequence = $5
returning 1
"""


async def apply(conn: Connection, batch: Sequence[Applied]) -> None:
    """A whole batch: load what it touches, fold in memory, save what changed."""
    for statement, values in _statements(await _folded(conn, batch)):
        numbered = (f"${n}" for n in range(1, len(values) + 1))
        await conn.execute(statement.format(*numbered, only="true"), *values)


async def commit(pool: asyncpg.Pool, batch: Sequence[Applied], mark: Mark) -> bool:
    """As `apply`, in one statement with the mark, which is one transaction: the mark moves and the rows are saved, or
    neither."""
    async with pool.acquire() as conn:
        parts: list[str] = [f"moved as ({_MOVE})"]
        given: list[object] = [mark.name, mark.position.txid, mark.position.number, mark.sequence, mark.before]
        for statement, values in _statements(await _folded(conn, batch)):
            numbered = (f"${len(given) + n}" for n in range(1, len(values) + 1))
            done = statement.format(*numbered, only="exists (select from moved)")
            parts.append(f"part{len(parts)} as ({done})")
            given += values
        moved: bool = await conn.fetchval(f"with {', '.join(parts)} select exists (select from moved)", *given)
    return moved


async def _folded(conn: Connection, batch: Sequence[Applied]) -> Rows:
    events = [one.event for one in batch]
    wanted = touched(events)
    rows = await conn.fetch("select doc from gateway.jobs where job_id = any($1)", list(wanted)) if wanted else []
    return fold({view.job_id: view for view in (_decode(row["doc"]) for row in rows)}, events)


def _statements(rows: Rows) -> list[tuple[str, tuple[list[object], ...]]]:
    """Those that have something to save, with their parameters, a list for each column."""
    fresh = {one.batch_id for one in rows.batches}
    jobs = rows.jobs.values()
    tables: tuple[tuple[str, list[tuple[object, ...]]], ...] = (
        (
            _JOBS,
            [(v.job_id, v.number, v.owner, v.batch_id, v.outcome, v.submitted_at, _encode(v)) for v in jobs],
        ),
        (
            _BATCHES,
            [
                (b.batch_id, b.owner, b.label, b.url, b.folder, b.size, b.held, b.at, rows.started.get(b.batch_id))
                for b in rows.batches
            ],
        ),
        (_STARTED, [(batch_id, at) for batch_id, at in rows.started.items() if batch_id not in fresh]),
        (_TALLIES, [(*counted, change) for counted, change in rows.tallies.items() if change]),
        (
            _DAYS,
            [
                (owner, day, d.submitted, d.completed, d.failed, d.bytes, d.seconds)
                for (owner, day), d in rows.days.items()
            ],
        ),
    )
    return [(statement, tuple(map(list, zip(*table, strict=True)))) for statement, table in tables if table]


async def _counted(conn: Connection, owner: UUID | None) -> dict[str, int]:
    rows = await conn.fetch(
        "select state, sum(jobs)::bigint as jobs from gateway.tallies where ($1::uuid is null or owner = $1)"
        " group by state",
        owner,
    )
    return {row["state"]: row["jobs"] for row in rows}


_PLACE = """
with blocks as (
  select block, sum(jobs)::bigint as jobs from gateway.tallies
  where ($1::uuid is null or owner = $1) and ($2::text[] is null or state = any($2)) group by block)
select block, before, total from (
  select block, (sum(jobs) over newest - jobs)::bigint as before, (sum(jobs) over ())::bigint as total from blocks
  window newest as (order by block desc)) place
where before <= $3 order by block limit 1
"""
"""The block of numbers in which a page begins that skips `$3` jobs, how many jobs are in newer blocks, and how many
there are in all; the oldest block when there are not so many. No row when nothing was ever counted."""


def _page(*, owned: bool, states: int | None) -> str:
    """A statement for documents, newest first: `$1` is how many, `$2` how many to skip, `$3` the number to begin under,
    then the owner and each state. What is skipped is read from an index alone: a run of it for each state is in order,
    so that they are merged and not sorted."""
    runs = []
    for index in range(1 if states is None else states):
        conditions = ["number < $3", *(["owner = $4"] if owned else [])]
        if states is not None:
            conditions.append(f"state = ${4 + owned + index}")
        runs.append(f"select number from gateway.jobs where {' and '.join(conditions)}")
    numbers = " union all ".join(runs)
    return (
        f"select doc from gateway.jobs where number = any(array("
        f"select number from ({numbers}) run order by number desc limit $1 offset $2)) order by number desc"
    )


_BATCH = "batch_id, url, folder, size, held and started_at is null as held, submitted_at"


class Jobs:
    """Reads. `owner` None is an operator or an admin, who sees all; a foreign job is absent for anybody else."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def one(self, job_id: UUID, owner: UUID | None) -> JobView | None:
        row = await self._pool.fetchrow(
            "select doc from gateway.jobs where job_id = $1 and ($2::uuid is null or owner = $2)", job_id, owner
        )
        return _decode(row["doc"]) if row else None

    async def by_number(self, number: int) -> JobView | None:
        row = await self._pool.fetchrow("select doc from gateway.jobs where number = $1", number)
        return _decode(row["doc"]) if row else None

    async def some(self, job_ids: Sequence[UUID], owner: UUID | None) -> list[JobView]:
        """Those that exist, in no order."""
        rows = await self._pool.fetch(
            "select doc from gateway.jobs where job_id = any($1) and ($2::uuid is null or owner = $2)",
            list(job_ids),
            owner,
        )
        return [_decode(row["doc"]) for row in rows]

    async def page(
        self, owner: UUID | None, states: Sequence[str] | None, limit: int, offset: int
    ) -> tuple[list[JobView], int]:
        """Newest first, and how many there are under the filter."""
        async with self._pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            place = await conn.fetchrow(_PLACE, owner, None if states is None else list(states), offset)
            if place is None:
                return [], 0
            under = (place["block"] + 1) * BLOCK
            owners = [] if owner is None else [owner]
            statement = _page(owned=bool(owners), states=None if states is None else len(states))
            rows = await conn.fetch(statement, limit, offset - place["before"], under, *owners, *(states or ()))
        return [_decode(row["doc"]) for row in rows], place["total"]

    async def counted(self, owner: UUID | None) -> dict[str, int]:
        """How many jobs have which outcome now."""
        async with self._pool.acquire() as conn:
            return await _counted(conn, owner)

    async def days(self, owner: UUID | None, first: date) -> list[DayView]:
        """From `first` on, the days on which anything happened, oldest first."""
        rows = await self._pool.fetch(
            "select day, sum(submitted)::bigint as submitted, sum(completed)::bigint as completed,"
            " sum(failed)::bigint as failed, sum(bytes)::bigint as bytes, sum(seconds) as seconds"
            " from gateway.days where ($1::uuid is null or owner = $1) and day >= $2 group by day order by day",
            owner,
            first,
        )
        return [DayView(**row) for row in rows]

    async def batch(self, batch_id: UUID, owner: UUID | None) -> BatchView | None:
        row = await self._pool.fetchrow(
            f"select {_BATCH} from gateway.batches where batch_id = $1 and ($2::uuid is null or owner = $2)",
            batch_id,
            owner,
        )
        return (await self._with_jobs([row]))[0] if row else None

    async def batches(self, owner: UUID, limit: int) -> list[BatchView]:
        """Newest first."""
        return await self._with_jobs(
            await self._pool.fetch(
                f"select {_BATCH} from gateway.batches where owner = $1 order by submitted_at desc limit $2",
                owner,
                limit,
            )
        )

    async def _with_jobs(self, batches: Sequence[asyncpg.Record]) -> list[BatchView]:
        """Of all batches with one statement; jobs in the order in which they were submitted."""
        job_ids: dict[UUID, list[UUID]] = {row["batch_id"]: [] for row in batches}
        states: dict[UUID, Counter[str]] = {row["batch_id"]: Counter() for row in batches}
        for job in await self._pool.fetch(
            "select batch_id, job_id, state from gateway.jobs where batch_id = any($1) order by number", list(job_ids)
        ):
            job_ids[job["batch_id"]].append(job["job_id"])
            states[job["batch_id"]][job["state"]] += 1
        return [
            BatchView(**row, job_ids=tuple(job_ids[row["batch_id"]]), states=states[row["batch_id"]]) for row in batches
        ]
