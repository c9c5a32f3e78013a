"""Every statement on links, what was read for them, and the traffic they cost."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from libs.database import Connection
from proto.unrestrict_proxy import HostLink, LinkState, TrafficEntry
from services.unrestrict_proxy.links.ledger import Ledger

OPEN: tuple[LinkState, ...] = ("pending", "downloading")

_encode = msgspec.json.Encoder().encode
_ledger = msgspec.json.Decoder(Ledger).decode


class Link(Struct, frozen=True, kw_only=True):
    """A row of `links`."""

    link_id: str
    owner: UUID
    job_id: UUID
    platform: str
    file_ref: str
    host: str
    name: str
    size: int | None
    state: LinkState
    max_chunks: int
    resumable: bool
    sealed_password: bytes | None
    requested_at: datetime
    dialect: str | None = None
    stored_at: datetime | None = None
    file_id: UUID | None = None
    sha256: str | None = None
    status: int | None = None

    @property
    def open(self) -> bool:
        return self.state in OPEN

    def shown(self, read: int = 0, speed: int = 0, *, early: bool = False) -> HostLink:
        """`read` bytes came so far, `speed` a second. `early`: what is not whole yet is served as well."""
        moving = self.state == "downloading" and self.size
        return HostLink(
            link_id=self.link_id,
            owner=self.owner,
            job_id=self.job_id,
            platform=self.platform,
            host=self.host,
            name=self.name,
            size=self.size,
            state=self.state,
            requested_at=self.requested_at,
            ready=self.state == "done" or bool(early and moving),
            max_chunks=self.max_chunks,
            resumable=self.resumable,
            file_id=self.file_id,
            sha256=self.sha256,
            progress=round(min(100.0, 100 * read / self.size), 1) if moving and self.size else None,
            eta=max(0, self.size - read) // speed if moving and self.size and speed else None,
            status=self.status,
        )


_COLUMNS = ", ".join(Link.__struct_fields__)


async def lock(conn: Connection, owners: Collection[UUID]) -> None:
    """Until the transaction ends nobody else changes the traffic of these users. It is no write, so that the append
    can still be the first; all ask in one order, so that no two wait for one another."""
    await conn.execute(
        "select pg_advisory_xact_lock(hashtextextended('traffic ' || owner, 0))"
        " from unnest($1::text[]) as t(owner) order by owner",
        sorted(map(str, owners)),
    )


async def put_link(conn: Connection, link: Link) -> None:
    marks = ", ".join(f"${number}" for number in range(1, len(Link.__struct_fields__) + 1))
    await conn.execute(
        f"insert into unrestrict_proxy.links ({_COLUMNS}) values ({marks})",  # names of our own struct's fields
        *msgspec.structs.astuple(link),
    )


async def link(conn: Connection, link_id: str) -> Link | None:
    row = await conn.fetchrow(f"select {_COLUMNS} from unrestrict_proxy.links where link_id = $1", link_id)
    return Link(**row) if row else None


async def usable(conn: Connection, owner: UUID, platform: str, file_ref: str) -> Link | None:
    """The user's link to this file that still leads there or will."""
    row = await conn.fetchrow(
        f"select {_COLUMNS} from unrestrict_proxy.links where owner = $1 and platform = $2 and file_ref = $3"
        " and state in ('pending', 'downloading', 'done') order by requested_at desc limit 1",
        owner,
        platform,
        file_ref,
    )
    return Link(**row) if row else None


async def open_links(conn: Connection, job_ids: Collection[UUID]) -> dict[UUID, Link]:
    """By job, those that have not ended."""
    rows = await conn.fetch(
        f"select {_COLUMNS} from unrestrict_proxy.links where job_id = any($1) and state in ('pending', 'downloading')",
        list(job_ids),
    )
    return {row["job_id"]: Link(**row) for row in rows}


async def links_of_files(conn: Connection, file_ids: Collection[UUID]) -> list[Link]:
    rows = await conn.fetch(
        f"select {_COLUMNS} from unrestrict_proxy.links where file_id = any($1) and state = 'done'", list(file_ids)
    )
    return [Link(**row) for row in rows]


async def downloading(conn: Connection, link_id: str, name: str, size: int | None, max_chunks: int) -> None:
    """A lease was taken for it; nothing that anybody decides by depends on the difference."""
    await conn.execute(
        "update unrestrict_proxy.links set state = 'downloading', name = $2, size = coalesce($3, size), max_chunks = $4"
        " where link_id = $1 and state in ('pending', 'downloading')",
        link_id,
        name,
        size,
        max_chunks,
    )


async def stored(
    conn: Connection, link_id: str, file_id: UUID, name: str, size: int, sha256: str, at: datetime
) -> None:
    await conn.execute(
        "update unrestrict_proxy.links set state = 'done', file_id = $2, name = $3, size = $4, sha256 = $5,"
        " stored_at = $6, sealed_password = null where link_id = $1",
        link_id,
        file_id,
        name,
        size,
        sha256,
        at,
    )


async def overdue(conn: Connection, before: datetime | None, most: int | None, limit: int) -> list[Link]:
    """Kept files that a download manager asked for, the oldest first: those stored before `before`, and those without
    which no more than `most` bytes would be left."""
    rows = await conn.fetch(
        f"select {_COLUMNS} from (select *, sum(size) over (order by stored_at desc, link_id) as newer"
        " from unrestrict_proxy.links where state = 'done' and dialect = 'external') as kept"
        " where stored_at < $1 or newer > $2 order by stored_at limit $3",
        before,
        most,
        limit,
    )
    return [Link(**row) for row in rows]


async def ended(conn: Connection, link_id: str, state: LinkState, status: int | None) -> None:
    await conn.execute(
        "update unrestrict_proxy.links set state = $2, status = $3, sealed_password = null where link_id = $1",
        link_id,
        state,
        status,
    )


# ---- what was read --------------------------------------------------------------------------------------------


async def begin_reading(conn: Connection, lease_id: UUID, job_id: UUID, at: datetime) -> None:
    await conn.execute(
        "insert into unrestrict_proxy.reads (lease_id, job_id, bytes, speed, at)"
        " values ($1, $2, 0, 0, $3) on conflict do nothing",
        lease_id,
        job_id,
        at,
    )


async def make_up(conn: Connection, row_id: UUID, job_id: UUID, have: int, at: datetime) -> None:
    """Counts what of these bytes nobody has reported."""
    await conn.execute(
        "insert into unrestrict_proxy.reads (lease_id, job_id, bytes, speed, at)"
        " select $1, $2, $3 - known, 0, $4"
        " from (select coalesce(sum(bytes), 0)::bigint as known from unrestrict_proxy.reads where job_id = $2) as r"
        " where known < $3",
        row_id,
        job_id,
        have,
        at,
    )


async def reading(conn: Connection, lease_id: UUID, count: int, at: datetime) -> None:
    """`count` is all bytes of this lease; a report that was overtaken takes nothing back."""
    await conn.execute(
        "update unrestrict_proxy.reads set bytes = $2, at = $3,"
        " speed = ($2 - bytes) / greatest(extract(epoch from $3 - at), 0.001) where lease_id = $1 and bytes < $2",
        lease_id,
        count,
        at,
    )


async def read(conn: Connection, job_ids: Collection[UUID]) -> dict[UUID, tuple[int, int]]:
    """(bytes, bytes a second lately) by job."""
    rows = await conn.fetch(
        "select job_id, sum(bytes)::bigint as bytes, (array_agg(speed order by at desc))[1] as speed"
        " from unrestrict_proxy.reads where job_id = any($1) group by job_id",
        list(job_ids),
    )
    return {row["job_id"]: (row["bytes"], row["speed"]) for row in rows}


async def forget_reading(conn: Connection, job_ids: Collection[UUID]) -> None:
    await conn.execute("delete from unrestrict_proxy.reads where job_id = any($1)", list(job_ids))


# ---- traffic --------------------------------------------------------------------------------------------------


async def ledgers(conn: Connection, owners: Collection[UUID]) -> dict[UUID, Ledger]:
    rows = await conn.fetch("select owner, body from unrestrict_proxy.ledgers where owner = any($1)", list(owners))
    return {row["owner"]: _ledger(row["body"]) for row in rows}


async def put_ledger(conn: Connection, ledger: Ledger) -> None:
    await conn.execute(
        "insert into unrestrict_proxy.ledgers (owner, body)"
        " values ($1, $2) on conflict (owner) do update set body = excluded.body",
        ledger.owner,
        _encode(ledger),
    )


async def add_entries(conn: Connection, owner: UUID, entries: Sequence[TrafficEntry]) -> None:
    await conn.executemany(
        "insert into unrestrict_proxy.traffic (number, owner, at, kind, bytes, link_id, platform, name)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8)",
        [(one.position, owner, one.at, one.kind, one.bytes, one.link_id, one.platform, one.name) for one in entries],
    )


async def entries(conn: Connection, owner: UUID, before: int | None, limit: int) -> list[TrafficEntry]:
    rows = await conn.fetch(
        "select number as position, at, kind, bytes, link_id, platform, name from unrestrict_proxy.traffic"
        " where owner = $1 and ($2::bigint is null or number < $2) order by number desc limit $3",
        owner,
        before,
        limit,
    )
    return [TrafficEntry(**row) for row in rows]
