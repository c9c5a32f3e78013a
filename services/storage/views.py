"""Every statement on schema `storage` beside the event store's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from uuid import UUID

from libs.database import Connection
from proto.storage import StoredFile

_COLUMNS = "file_id, owner, job_id, key, name, location, size, sha256, media_type, stored_at"


ADD_BESIDE = f"""
insert into storage.files ({_COLUMNS})
select $12::uuid, $13::uuid, $14::uuid, $15, $16, $17, $18::bigint, $19, $20, $21::timestamptz from appended
"""
"""For `EventStore.append_and`, with the values of `row_values`. A second file of a job's item violates a key."""


def row_values(file: StoredFile) -> tuple[object, ...]:
    return (
        file.file_id,
        file.owner,
        file.job_id,
        file.key,
        file.name,
        file.location,
        file.size,
        file.sha256,
        file.media_type,
        file.stored_at,
    )


async def remove(conn: Connection, file_id: UUID) -> None:
    await conn.execute("delete from storage.files where file_id = $1", file_id)


async def by_item(conn: Connection, job_id: UUID, key: str) -> StoredFile | None:
    row = await conn.fetchrow(f"select {_COLUMNS} from storage.files where job_id = $1 and key = $2", job_id, key)
    return StoredFile(**row) if row else None


async def some(conn: Connection, file_ids: Sequence[UUID]) -> list[StoredFile]:
    rows = await conn.fetch(f"select {_COLUMNS} from storage.files where file_id = any($1)", list(file_ids))
    return [StoredFile(**row) for row in rows]


async def by_id(conn: Connection, file_id: UUID) -> StoredFile | None:
    row = await conn.fetchrow(f"select {_COLUMNS} from storage.files where file_id = $1", file_id)
    return StoredFile(**row) if row else None


async def twins(conn: Connection, location: PurePosixPath) -> int:
    """How many of the owner's files have this name or this name with a number behind it."""
    stem = str(location.with_suffix(""))
    found = await conn.fetchval(
        "select count(*) from storage.files where location = $1 or (starts_with(location, $2) and location ~ $3)",
        str(location),
        f"{stem} (",
        r" \(\d+\)(\.[^./]*)?$",
    )
    return int(found)
