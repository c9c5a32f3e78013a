"""Every statement on schema `scheduler` beside the event store's own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from libs.database import Connection
from proto.job import Options
from services.scheduler.domain import Schedule

_encode = msgspec.json.Encoder().encode
_COLUMNS = "schedule_id, owner, slug, name, cron, url, options, priority, enabled, next_run"


def _schedule(row: asyncpg.Record) -> Schedule:
    return Schedule(**{**row, "options": msgspec.json.decode(row["options"], type=Options)})


async def save(conn: Connection, one: Schedule) -> None:
    """Raises asyncpg.UniqueViolationError when the owner has another schedule with this slug."""
    await conn.execute(
        f"insert into scheduler.schedules ({_COLUMNS}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
        " on conflict (schedule_id) do update set name = excluded.name, cron = excluded.cron,"
        " enabled = excluded.enabled, next_run = excluded.next_run",
        one.schedule_id,
        one.owner,
        one.slug,
        one.name,
        one.cron,
        one.url,
        _encode(one.options),
        one.priority,
        one.enabled,
        one.next_run,
    )


async def remove(conn: Connection, schedule_id: UUID) -> None:
    await conn.execute("delete from scheduler.schedules where schedule_id = $1", schedule_id)


async def schedule(conn: Connection, schedule_id: UUID) -> Schedule | None:
    row = await conn.fetchrow(f"select {_COLUMNS} from scheduler.schedules where schedule_id = $1", schedule_id)
    return _schedule(row) if row else None


async def lock_slugs(conn: Connection, owner: UUID) -> None:
    """Until the end of the transaction nobody else gives a schedule of this owner a slug. It is no write: an append may
    follow."""
    await conn.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", f"scheduler.slugs {owner}")


async def slugs(conn: Connection, owner: UUID) -> frozenset[str]:
    return frozenset(
        r["slug"] for r in await conn.fetch("select slug from scheduler.schedules where owner = $1", owner)
    )


async def due_schedules(conn: Connection, at: datetime) -> list[Schedule]:
    rows = await conn.fetch(
        f"select {_COLUMNS} from scheduler.schedules where next_run <= $1 order by next_run limit 100", at
    )
    return [_schedule(row) for row in rows]


async def reschedule(conn: Connection, schedule_id: UUID, next_run: datetime) -> None:
    await conn.execute(
        "update scheduler.schedules set next_run = $2 where schedule_id = $1 and enabled", schedule_id, next_run
    )


async def set_alarms(conn: Connection, alarms: Sequence[tuple[UUID, datetime]]) -> None:
    await conn.executemany(
        "insert into scheduler.alarms (job_id, due_at)"
        " values ($1, $2) on conflict (job_id) do update set due_at = excluded.due_at",
        alarms,
    )


async def ring(conn: Connection, at: datetime) -> int:
    """Take every alarm that is due; how many there were."""
    rows = await conn.fetch("delete from scheduler.alarms where due_at <= $1 returning job_id", at)
    return len(rows)


async def next_due(conn: Connection) -> datetime | None:
    found: datetime | None = await conn.fetchval(
        "select least((select min(due_at) from scheduler.alarms), (select min(next_run) from scheduler.schedules))"
    )
    return found
