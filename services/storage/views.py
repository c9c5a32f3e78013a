"""Every statement on schema `storage` beside the event store's own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from uuid import UUID

import asyncpg
from msgspec import Struct

from libs.database import Connection
from proto.storage import StoredFile, StoreFile, TargetInfo

_COLUMNS = (
    "file_id, owner, job_id, key, name, location, size, sha256, media_type, stored_at, target_id, provider, bucket"
)
_TARGET = (
    "target_id, owner, provider, bucket, endpoint, region, folder_prefix, base_folder, masked, configured_at, sealed"
)


_ADD = f"""
insert into storage.files ({_COLUMNS})
select {{0}}::uuid, {{1}}::uuid, {{2}}::uuid, {{3}}, {{4}}, {{5}}, {{6}}::bigint, {{7}}, {{8}}, {{9}}::timestamptz,
  {{10}}::uuid, {{11}}, {{12}}
"""
_ADD_ALONE = _ADD.format(*(f"${n + 1}" for n in range(13)))
ADD_BESIDE = _ADD.format(*(f"${n + 12}" for n in range(13))) + "from appended"
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


async def add(conn: Connection, file: StoredFile) -> None:
    await conn.execute(_ADD_ALONE, *row_values(file))


async def remove(conn: Connection, file_ids: Sequence[UUID]) -> None:
    await conn.execute("delete from storage.files where file_id = any($1)", list(file_ids))


async def lock_names(conn: Connection, owner: UUID) -> None:
    """Until the transaction ends, nobody else shares or removes names of this owner's."""
    await conn.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", f"storage.names {owner}")


_MET = f"""
select 'item' as what, {_COLUMNS} from storage.files where job_id = $1 and key = $2
union all
(
  select 'same', {_COLUMNS} from storage.files
  where owner = $3 and sha256 = $4 and size = $5 and target_id is null limit 1
)
union all
select 'named', {_COLUMNS} from storage.files where location = $6 and target_id is null
"""


class Met(Struct, frozen=True, kw_only=True):
    """What a file that comes meets where it would go."""

    location: PurePosixPath
    item: StoredFile | None
    """Itself, stored before."""
    same: StoredFile | None
    """A file of its owner's on our disk that was stored with the same bytes."""
    named: StoredFile | None
    """Who has its name there."""


async def met(conn: Connection, command: StoreFile, location: PurePosixPath) -> Met:
    rows = await conn.fetch(
        _MET, command.job_id, command.key, command.owner, command.sha256, command.size, str(location)
    )
    found = {row["what"]: StoredFile(**dict(list(row.items())[1:])) for row in rows}
    return Met(location=location, item=found.get("item"), same=found.get("same"), named=found.get("named"))


async def taken(conn: Connection, locations: Sequence[str]) -> frozenset[str]:
    """Those that a file on our disk has."""
    rows = await conn.fetch(
        "select location from storage.files where location = any($1) and target_id is null", list(locations)
    )
    return frozenset(row["location"] for row in rows)


class Erasure(Struct, frozen=True, kw_only=True):
    """`tries` have failed."""

    file_id: UUID
    target_id: UUID
    location: str
    tries: int


async def to_erase(conn: Connection, files: Sequence[StoredFile], at: datetime) -> None:
    if files:
        await conn.executemany(
            "insert into storage.erasures (file_id, target_id, location, due) values ($1, $2, $3, $4)"
            " on conflict do nothing",
            [(file.file_id, file.target_id, file.location, at) for file in files],
        )


async def erasures_left(conn: Connection) -> bool:
    """Whether there is anything to delete, now or later."""
    left: bool = await conn.fetchval("select exists (select from storage.erasures)")
    return left


async def claim_erasures(conn: Connection, lease: timedelta, limit: int) -> list[Erasure]:
    """What is due, and is due again for somebody else after `lease`."""
    rows = await conn.fetch(
        "update storage.erasures set due = now() + $1 where file_id in (select file_id from storage.erasures"
        " where due <= now() order by due limit $2 for update skip locked)"
        " returning file_id, target_id, location, tries",
        lease,
        limit,
    )
    return [Erasure(**row) for row in rows]


DEAD = timedelta(hours=1)


async def claim_upload(conn: Connection, job_id: UUID, key: str, holder: UUID, lease: timedelta) -> bool:
    """Whether `holder` is to carry this file, for `lease` from now. Asking for it keeps whoever does at it."""
    row = await conn.fetchrow(
        "insert into storage.uploads as u (job_id, key, holder, until, asked_at) values ($1, $2, $3, now() + $4, now())"
        " on conflict (job_id, key) do update set asked_at = now(),"
        " holder = case when u.until < now() then excluded.holder else u.holder end,"
        " until = case when u.until < now() or u.holder = excluded.holder then excluded.until else u.until end"
        " returning holder",
        job_id,
        key,
        holder,
        lease,
    )
    assert row is not None
    return bool(row["holder"] == holder)


async def take_place(conn: Connection, job_id: UUID, key: str, place: bytes) -> bool:
    """Whether this file is to go there; not if another that is under way does. What a process that died long ago left
    behind, for a job that nobody asks for any more, is under way no more."""
    await conn.execute(
        "update storage.uploads set place = null where place = $1 and until < now() - $2::interval", place, DEAD
    )
    try:
        await conn.execute("update storage.uploads set place = $3 where job_id = $1 and key = $2", job_id, key, place)
    except asyncpg.UniqueViolationError:
        return False
    return True


async def go_on_uploading(conn: Connection, job_id: UUID, key: str, holder: UUID, lease: timedelta) -> timedelta | None:
    """How long ago the file was asked for; None when another process carries it now."""
    ago: timedelta | None = await conn.fetchval(
        "update storage.uploads set until = now() + $4 where job_id = $1 and key = $2 and holder = $3"
        " returning now() - asked_at",
        job_id,
        key,
        holder,
        lease,
    )
    return ago


async def uploaded(conn: Connection, job_id: UUID, key: str, holder: UUID) -> None:
    """Or failed: the next one may begin."""
    await conn.execute(
        "delete from storage.uploads where job_id = $1 and key = $2 and holder = $3", job_id, key, holder
    )


async def erase_later(conn: Connection, file_id: UUID, delay: timedelta) -> None:
    await conn.execute(
        "update storage.erasures set tries = tries + 1, due = now() + $2 where file_id = $1", file_id, delay
    )


async def erased(conn: Connection, file_id: UUID) -> None:
    await conn.execute("delete from storage.erasures where file_id = $1", file_id)


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
    """How many of the owner's files on our disk have this name or this name with a number behind it."""
    stem = str(location.with_suffix(""))
    found = await conn.fetchval(
        "select count(*) from storage.files"
        " where (location = $1 or (starts_with(location, $2) and location ~ $3)) and target_id is null",
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
        f"insert into storage.targets ({_TARGET}, standing, for_one_job)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, not $12) on conflict do nothing",
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


async def target_there(conn: Connection, target_id: UUID) -> Target | None:
    """The same, or the place of it as its owner configured it last: keys are changed, and what is kept there stays."""
    names = ", ".join(f"now.{name}" for name in _TARGET.split(", "))
    row = await conn.fetchrow(
        f"select {names} from storage.targets one join storage.targets now"
        " on now.owner = one.owner and now.provider = one.provider and now.bucket = one.bucket"
        " and now.endpoint is not distinct from one.endpoint"
        " and (one.provider <> 'blob' or now.masked = one.masked)"  # an account of Azure is not in its address
        " and (now.target_id = one.target_id or not now.for_one_job)"
        " where one.target_id = $1 and now.sealed is not null"
        " order by now.configured_at desc limit 1",
        target_id,
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


async def remove_targets(conn: Connection, owner: UUID, provider: str) -> None:
    """All that the owner ever configured of this kind; not what was told with a job, which may be under way."""
    await conn.execute(
        "update storage.targets set standing = false, sealed = null"
        " where owner = $1 and provider = $2 and not for_one_job",
        owner,
        provider,
    )
