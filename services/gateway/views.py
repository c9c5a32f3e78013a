"""The projection of jobs, and every question that is asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast
from uuid import UUID

import asyncpg
import msgspec

from libs.database import Connection
from libs.eventstore.projection import Applied, Mark
from proto.job import JobSubmitted
from services.gateway import domain
from services.gateway.domain import JobView

TABLES = ("gateway.jobs",)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(JobView).decode

_SAVE = """
insert into gateway.jobs (job_id, number, owner, batch_id, state, submitted_at, doc)
select * from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[], $5::text[], $6::timestamptz[], $7::bytea[])
{condition}
on conflict (job_id) do update set state = excluded.state, doc = excluded.doc
"""
_SAVE_ALONE = _SAVE.format(condition="")

# The mark moves and the rows are saved, or neither: one statement is one transaction.
_SAVE_AND_MOVE = f"""
with moved as (
  insert into gateway.checkpoints as c (name, txid, position, sequence, epoch) values ($8, $9, $10, $11, '')
  on conflict (name) do update set txid = excluded.txid, position = excluded.position, sequence = excluded.sequence,
    updated_at = now() where c.sequence = $12
  returning 1
), saved as ({_SAVE.format(condition="where exists (select from moved)")})
select exists (select from moved)
"""


async def apply(conn: Connection, batch: Sequence[Applied]) -> None:
    """A whole batch in two statements: load what it touches, fold in memory, save what changed."""
    await conn.execute(_SAVE_ALONE, *await _folded(conn, batch))


async def commit(pool: asyncpg.Pool, batch: Sequence[Applied], mark: Mark) -> bool:
    """As `apply`, with the mark in the second statement."""
    async with pool.acquire() as conn:
        moved: bool = await conn.fetchval(
            _SAVE_AND_MOVE,
            *await _folded(conn, batch),
            mark.name,
            mark.position.txid,
            mark.position.number,
            mark.sequence,
            mark.before,
        )
    return moved


async def _folded(conn: Connection, batch: Sequence[Applied]) -> tuple[object, ...]:
    opened = {one.event.job_id: domain.opened(one.event) for one in batch if isinstance(one.event, JobSubmitted)}
    touched = {cast("UUID", getattr(one.event, "job_id")) for one in batch} - opened.keys()  # noqa: B009 - every wanted event has it
    views = dict(opened)
    if touched:
        rows = await conn.fetch("select doc from gateway.jobs where job_id = any($1)", list(touched))
        views |= {view.job_id: view for view in (_decode(row["doc"]) for row in rows)}
    for one in batch:
        if not isinstance(one.event, JobSubmitted):
            job_id = getattr(one.event, "job_id")  # noqa: B009 - see above
            views[job_id] = domain.evolve(views[job_id], one.event)
    done = list(views.values())
    return (
        [v.job_id for v in done],
        [v.number for v in done],
        [v.owner for v in done],
        [v.batch_id for v in done],
        [v.state for v in done],
        [v.submitted_at for v in done],
        [_encode(v) for v in done],
    )


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
        where = "($1::uuid is null or owner = $1) and ($2::text[] is null or state = any($2))"
        chosen = list(states) if states is not None else None
        async with self._pool.acquire() as conn:
            rows = await conn.fetch(
                f"select doc from gateway.jobs where {where} order by number desc limit $3 offset $4",
                owner,
                chosen,
                limit,
                offset,
            )
            total = await conn.fetchval(f"select count(*) from gateway.jobs where {where}", owner, chosen)
        return [_decode(row["doc"]) for row in rows], int(total)
