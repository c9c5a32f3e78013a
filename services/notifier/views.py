"""Every statement on schema `notifier` beside the event store's own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

from libs.database import Connection
from proto.notifier import SlackInfo
from services.notifier.domain import PROGRESS, BatchHook, Hook

Channel = Literal["webhook", "slack"]


class Delivery(Struct, frozen=True):
    delivery_id: UUID
    owner: UUID
    job_id: UUID
    url: str
    body: bytes
    attempts: int
    channel: Channel = "webhook"

    @property
    def receiver(self) -> str:
        """Its host and port, as the database takes them out of an address too."""
        return (*self.url.split("/", 3), "", "", "")[2]


async def add_hooks(conn: Connection, rows: Sequence[tuple[UUID, UUID, str, str | None, str, bool, str]]) -> None:
    await conn.executemany(
        "insert into notifier.hooks (job_id, owner, link, folder, url, progress, style)"
        " values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
        rows,
    )


async def hooked(conn: Connection) -> set[UUID]:
    """Jobs and batches that somebody wants to hear of."""
    rows = await conn.fetch("select job_id as id from notifier.hooks union all select batch_id from notifier.batches")
    return {row["id"] for row in rows}


async def add_batches(conn: Connection, batches: Sequence[BatchHook]) -> None:
    await conn.executemany(
        "insert into notifier.batches (batch_id, owner, url, link, folder, size)"
        " values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
        [(one.batch_id, one.owner, one.url, one.link, one.folder, one.size) for one in batches],
    )


async def end_in_batch(conn: Connection, batch_id: UUID, job_id: UUID, *, completed: bool) -> BatchHook | None:
    """The batch after this job's end; None when nobody wants to hear of it. A job that is retried counts once."""
    row = await conn.fetchrow(
        "select batch_id, owner, url, link, folder, size from notifier.batches where batch_id = $1", batch_id
    )
    if row is None:
        return None
    await conn.execute(
        "insert into notifier.ended (batch_id, job_id, completed)"
        " values ($1, $2, $3)"
        " on conflict (batch_id, job_id) do update set completed = excluded.completed",
        batch_id,
        job_id,
        completed,
    )
    counted = await conn.fetchrow(
        "select count(*) filter (where completed) as completed, count(*) filter (where not completed) as failed"
        " from notifier.ended where batch_id = $1",
        batch_id,
    )
    return BatchHook(**row, **counted)


async def remove_batch(conn: Connection, batch_id: UUID) -> None:
    await conn.execute("delete from notifier.ended where batch_id = $1", batch_id)
    await conn.execute("delete from notifier.batches where batch_id = $1", batch_id)


async def note_file(conn: Connection, job_id: UUID, name: str, file_id: UUID | None) -> None:
    """The first alone, by its name or its key in a storage of the user's own; there it has no id."""
    await conn.execute(
        "update notifier.hooks set first_file = $2, file_id = $3 where job_id = $1 and first_file is null",
        job_id,
        name,
        file_id,
    )


async def note_subtitle(conn: Connection, job_id: UUID, name: str) -> None:
    """The first alone."""
    await conn.execute("update notifier.hooks set subtitle = $2 where job_id = $1 and subtitle is null", job_id, name)


async def note_stage(conn: Connection, job_id: UUID, stage: str) -> None:
    """Of a job that goes on, if it had ended."""
    await conn.execute("update notifier.hooks set stage = $2, ended_at = null where job_id = $1", job_id, stage)


async def note_end(conn: Connection, job_id: UUID, at: datetime) -> None:
    await conn.execute("update notifier.hooks set ended_at = $2 where job_id = $1", job_id, at)


async def hook(conn: Connection, job_id: UUID) -> tuple[str, bool, Hook] | None:
    """(where to, whether its job had ended, what about)."""
    row = await conn.fetchrow(
        "select url, ended_at is not null as over, link, folder, first_file, progress, style, file_id, subtitle, stage"
        " from notifier.hooks where job_id = $1",
        job_id,
    )
    if row is None:
        return None
    values = dict(row)
    return values.pop("url"), values.pop("over"), Hook(**values)


async def remove_hook(conn: Connection, job_id: UUID) -> None:
    await conn.execute("delete from notifier.hooks where job_id = $1", job_id)


async def add_delivery(conn: Connection, one: Delivery, due: datetime) -> None:
    await conn.execute(
        "insert into notifier.deliveries (delivery_id, owner, job_id, url, body, attempts, due_at, channel)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing",
        one.delivery_id,
        one.owner,
        one.job_id,
        one.url,
        one.body,
        one.attempts,
        due,
        one.channel,
    )


async def lease(conn: Connection, at: datetime, until: datetime, limit: int, full: Sequence[str]) -> list[Delivery]:
    """Take what is due, in that order, so that nobody else does before `until`; nothing for the receivers that are
    `full`."""
    rows = await conn.fetch(
        "with due as materialized ("
        " select delivery_id, due_at as since from notifier.deliveries"
        " where due_at <= $1 and split_part(url, '/', 3) <> all($4)"
        " order by due_at limit $3"
        " for update skip locked),"
        " leased as ("
        " update notifier.deliveries d set due_at = $2 from due where d.delivery_id = due.delivery_id"
        " returning d.delivery_id, d.owner, d.job_id, d.url, d.body, d.attempts, d.channel, due.since)"
        " select delivery_id, owner, job_id, url, body, attempts, channel from leased order by since",
        at,
        until,
        limit,
        full,
    )
    return [Delivery(**row) for row in rows]


async def attempted(conn: Connection, delivery_id: UUID, attempts: int, due: datetime | None) -> None:
    await conn.execute(
        "update notifier.deliveries set attempts = $2, due_at = $3 where delivery_id = $1", delivery_id, attempts, due
    )


async def sweep(conn: Connection, told_before: datetime, ended_before: datetime, limit: int) -> bool:
    """Removes deliveries that are made or given up, and hooks of jobs that had ended by then; whether there may be more
    of either. It waits for nobody and takes not many at a time: what is open for long holds back every feed."""
    swept = await conn.fetchrow(
        "with told as (delete from notifier.deliveries where delivery_id in ("
        "  select delivery_id from notifier.deliveries where due_at is null and noted_at < $1 limit $3"
        "  for update skip locked) returning 1),"
        " hooks as (delete from notifier.hooks where job_id in ("
        "  select job_id from notifier.hooks where ended_at < $2 limit $3 for update skip locked) returning 1)"
        " select (select count(*) from told) as told, (select count(*) from hooks) as hooks",
        told_before,
        ended_before,
        limit,
    )
    assert swept is not None
    return bool(max(swept["told"], swept["hooks"]) == limit)


async def next_due(conn: Connection, full: Sequence[str]) -> datetime | None:
    found: datetime | None = await conn.fetchval(
        "select due_at from notifier.deliveries where due_at is not null and split_part(url, '/', 3) <> all($1)"
        " order by due_at limit 1",
        full,
    )
    return found


class KeptSlack(Struct, frozen=True):
    info: SlackInfo
    sealed: bytes

    def __repr__(self) -> str:
        return f"KeptSlack({self.info.masked})"


async def slack(conn: Connection, owner: UUID) -> KeptSlack | None:
    row = await conn.fetchrow("select masked, level, configured_at, sealed from notifier.slack where owner = $1", owner)
    if row is None:
        return None
    values = dict(row)
    sealed = values.pop("sealed")
    return KeptSlack(SlackInfo(**values), sealed)


async def slack_owners(conn: Connection) -> set[UUID]:
    return {row["owner"] for row in await conn.fetch("select owner from notifier.slack")}


async def keep_slack(conn: Connection, owner: UUID, kept: KeptSlack) -> None:
    await conn.execute(
        "insert into notifier.slack (owner, sealed, masked, level, configured_at) values ($1, $2, $3, $4, $5)"
        " on conflict (owner) do update set sealed = excluded.sealed, masked = excluded.masked,"
        " level = excluded.level, configured_at = excluded.configured_at",
        owner,
        kept.sealed,
        kept.info.masked,
        kept.info.level,
        kept.info.configured_at,
    )


async def remove_slack(conn: Connection, owner: UUID) -> None:
    await conn.execute("delete from notifier.slack where owner = $1", owner)


async def secret(conn: Connection, owner: UUID) -> bytes | None:
    found: bytes | None = await conn.fetchval("select sealed from notifier.secrets where owner = $1", owner)
    return found


async def keep_secret(conn: Connection, owner: UUID, sealed: bytes, *, replace: bool) -> bytes:
    """The one that is kept: another process may have been first."""
    action = "update set sealed = excluded.sealed" if replace else "update set sealed = s.sealed"
    kept: bytes = await conn.fetchval(
        f"insert into notifier.secrets as s (owner, sealed)"
        f" values ($1, $2) on conflict (owner) do {action} returning sealed",
        owner,
        sealed,
    )
    return kept


async def deliveries_of(conn: Connection, job_id: UUID, owner: UUID | None) -> list[UUID]:
    """Of its end: receivers may leave what is told on the way unanswered."""
    rows = await conn.fetch(
        "select delivery_id from notifier.deliveries where job_id = $1 and channel = 'webhook'"
        " and ($2::uuid is null or owner = $2) and not starts_with(convert_from(body, 'UTF8'), $3)",
        job_id,
        owner,
        PROGRESS,
    )
    return [row["delivery_id"] for row in rows]
