"""Every statement on schema `storage` beside the event store's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from uuid import UUID

import asyncpg
from msgspec import Struct

from libs.database import Connection
from proto.storage import StoredFile, TargetInfo

_COLUMNS = (
    "file_id, owner, job_id, key, name, location, size, sha256, media_type, stored_at, target_id, provider, bucket"
)
_TARGET = (
    "target_id, owner, provider, bucket, endpoint, region, folder_prefix, base_folder, masked, configured_at, sealed"
)


ADD_BESIDE = f"""
insert into storage.files ({_COLUMNS})
select $12::uuid, $13::uuid, $14::uuid, $15, $16, $17, $18::bigint, $19, $20, $21::timestamptz,
  $22::uuid, $23, $24 from appended
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
        file.target_id,
        file.provider,
        file.bucket,
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


class Target(Struct, frozen=True, kw_only=True):
    info: TargetInfo
    owner: UUID
    sealed: bytes

    def __repr__(self) -> str:
        return f"Target({self.info.target_id})"


def _target(row: asyncpg.Record) -> Target:
    values = dict(row)
    owner, sealed = values.pop("owner"), values.pop("sealed")
    return Target(info=TargetInfo(**values), owner=owner, sealed=sealed)


async def add_target(conn: Connection, target: Target, *, standing: bool) -> None:
    """A standing one takes the place of the owner's last of its kind. The same id again changes nothing."""
    info = target.info
    if standing:
        await conn.execute(
            "update storage.targets set standing = false where owner = $1 and provider = $2",
            target.owner,
            info.provider,
        )
    await conn.execute(
        f"insert into storage.targets ({_TARGET}, standing)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) on conflict do nothing",
        info.target_id,
        target.owner,
        info.provider,
        info.bucket,
        info.endpoint,
        info.region,
        info.folder_prefix,
        info.base_folder,
        info.masked,
        info.configured_at,
        target.sealed,
        standing,
    )


async def target(conn: Connection, target_id: UUID) -> Target | None:
    row = await conn.fetchrow(
        f"select {_TARGET} from storage.targets where target_id = $1 and sealed is not null", target_id
    )
    return _target(row) if row else None


async def standing_target(conn: Connection, owner: UUID, provider: str | None = None) -> Target | None:
    """Of this kind, or the one that was configured last."""
    row = await conn.fetchrow(
        f"select {_TARGET} from storage.targets where owner = $1 and standing and sealed is not null"
        " and ($2::text is null or provider = $2) order by configured_at desc limit 1",
        owner,
        provider,
    )
    return _target(row) if row else None


async def remove_target(conn: Connection, target_id: UUID) -> None:
    await conn.execute("update storage.targets set standing = false, sealed = null where target_id = $1", target_id)
