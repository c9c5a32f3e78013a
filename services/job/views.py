"""Every statement on schema `job` beside the event store's own. Rows are written in the transaction that appends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from msgspec import Struct

from libs.database import Connection
from proto.auth import Limits, Window
from services.job.domain import Archived, Job

_decode_windows = msgspec.json.Decoder(tuple[Window, ...]).decode

ACTIVE = ("admitted", "resolving", "downloading", "processing", "storing")


_TAKE_NUMBERS = "select nextval('job.job_numbers') from generate_series(1, $1)"

_SAVE = """
insert into job.jobs
  (job_id, number, owner, batch_id, state, priority, host, not_before, attempt, worker_id, waiting, kept, reserved,
   fingerprint, changed_at)
select u.*, {15}::timestamptz from {from_appended}unnest({1}::uuid[], {2}::bigint[], {3}::uuid[], {4}::uuid[],
  {5}::text[], {6}::smallint[], {7}::text[], {8}::timestamptz[], {9}::int[], {10}::uuid[], {11}::text[],
  {12}::bigint[], {13}::bigint[], {14}::uuid[]) u
on conflict (job_id) do update set
  state = excluded.state, priority = excluded.priority, not_before = excluded.not_before,
  attempt = excluded.attempt, worker_id = excluded.worker_id, waiting = excluded.waiting,
  kept = excluded.kept, reserved = excluded.reserved, changed_at = excluded.changed_at
"""

SAVE_BESIDE = _SAVE.format(*(f"${n + 11}" for n in range(16)), from_appended="appended, ")
"""For `EventStore.append_and`, with the values of `row_values`."""
ALIKE = "jobs_alike"
"""The constraint that is named when there is one."""
NONE_ALIKE = "job.none_alike($27, $28, $29)"
"""The condition beside it, with the columns of what is asked: the owners are locked until the end, and none of their
jobs does the same."""
_SAVE_ALONE = _SAVE.format(*(f"${n}" for n in range(16)), from_appended="")

_LOAD = """
select (select count(*) from job.jobs where state = any($1)) as active,
       array(select host from job.jobs where state = any($1) group by host having count(*) >= $2) as full_hosts
"""

_WINDOWS = "select owner, windows from job.limits where windows is not null"

_TAKEN = """
select coalesce(sum(kept), 0)::bigint as kept, coalesce(sum(reserved), 0)::bigint as reserved,
  (select storage from job.limits where owner = $1) as limit
from job.jobs where owner = $1 and kept + reserved > 0 and job_id is distinct from $2
"""

_SHUT_OUT = """
select job_id, owner from job.jobs
where state = 'queued' and owner = any($1) and (not_before is null or not_before <= $2) limit $3
"""
_SHUT_IN_VAIN = """
select job_id from job.jobs
where state = 'queued' and waiting = 'window' and not_before > $2 and owner <> all($1) limit $3
"""

# Owners are found by skipping through the index, not by reading the backlog; each then offers its best few. An owner's
# n-th offer is ranked behind the (n-1)-th of everyone with as much running, which is round-robin without a counter.
_CANDIDATES = """
with recursive owners as (
  (select owner from job.jobs where state = 'queued' order by owner limit 1)
  union all
  select (select j.owner from job.jobs j where j.state = 'queued' and j.owner > o.owner order by j.owner limit 1)
  from owners o where o.owner is not null
), busy as (
  select owner, count(*) as n from job.jobs where state = any($3) group by owner
), offers as (
  select offer.*, coalesce(busy.n, 0) + offer.place as rank
  from owners o
  cross join lateral (
    select job_id, priority, number, host, row_number() over (order by priority, number) as place
    from job.jobs
    where state = 'queued' and owner = o.owner and (not_before is null or not_before <= $1) and host <> all($4)
    order by priority, number limit $2
  ) offer
  left join busy using (owner)
  left join job.limits using (owner)
  where o.owner is not null and o.owner <> all($6)
    and (limits.concurrent is null or coalesce(busy.n, 0) + offer.place <= limits.concurrent)
)
select job_id from (
  select offers.*, row_number() over (partition by host order by rank, priority, number) as host_place from offers
) ranked
where host_place + coalesce((select count(*) from job.jobs a where a.host = ranked.host and a.state = any($3)), 0) <= $5
order by rank, priority, number limit $2
"""

_UNCLAIMED = """
select job_id, attempt, priority from job.jobs
where state = 'admitted' and changed_at < $1 order by changed_at limit 500
"""

_HELD_BY_OTHERS = """
select job_id, worker_id from job.jobs
where state = any($1) and worker_id is not null and worker_id <> all($2) and changed_at < $3
"""

_HELD_BY = "select job_id from job.jobs where state = any($1) and worker_id = $2"


_ARCHIVE = """
insert into job.archive (owner, site, key, file_id, stored)
select * from unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::bool[])
on conflict (owner, site, key, file_id) do update set stored = excluded.stored
"""
_ARCHIVE_SITES = """
insert into job.archive_sites (host, site) select * from unnest($1::text[], $2::text[]) on conflict do nothing
"""
# Site by site through the key of the table, so that a page costs what is on it, however much the owner has.
_ARCHIVED = """
select sites.site, found.key
from (select site from job.archive_sites where host = $2 and site >= $4) sites
cross join lateral (
  select distinct key from job.archive
  where owner = $1 and site = sites.site and key > case when sites.site = $4 then $5 else '' end and (stored or $3)
  order by key limit $6
) found
order by sites.site, found.key limit $6
"""


class Unclaimed(Struct, frozen=True):
    job_id: UUID
    attempt: int
    priority: int


async def take_numbers(conn: Connection, count: int) -> tuple[int, ...]:
    """Gapless while nothing fails. Outside the append's transaction: `nextval` may take a transaction id, and the
    append must be the first write of its own."""
    return tuple(row[0] for row in await conn.fetch(_TAKE_NUMBERS, count))


async def save(conn: Connection, jobs: Sequence[Job], at: datetime) -> None:
    """Of jobs that are there already."""
    await conn.execute(_SAVE_ALONE, *row_values(jobs, {}, at))


def row_values(jobs: Sequence[Job], prints: Mapping[UUID, UUID], at: datetime) -> tuple[object, ...]:
    """The last state of a job wins when it comes twice. `prints` are the fingerprints of the jobs that are new."""
    last = {job.job_id: job for job in jobs}.values()
    return (
        [j.job_id for j in last],
        [j.number for j in last],
        [j.owner for j in last],
        [j.batch_id for j in last],
        [j.state for j in last],
        [j.priority for j in last],
        [j.host for j in last],
        [j.not_before for j in last],
        [j.attempt for j in last],
        [j.worker_id for j in last],
        [j.waiting for j in last],
        [j.kept for j in last],
        [j.reserved for j in last],
        [prints.get(j.job_id) for j in last],
        at,
    )


async def windows(conn: Connection) -> dict[UUID, tuple[Window, ...]]:
    """Of the owners whose jobs may not begin at any time."""
    return {row["owner"]: _decode_windows(row["windows"]) for row in await conn.fetch(_WINDOWS)}


async def shut_out(conn: Connection, owners: Iterable[UUID], now: datetime, limit: int) -> list[tuple[UUID, UUID]]:
    """(job, owner) for what waits for nothing but these owners' hours and does not know it yet."""
    return [(row["job_id"], row["owner"]) for row in await conn.fetch(_SHUT_OUT, list(owners), now, limit)]


async def shut_in_vain(conn: Connection, owners: Iterable[UUID], now: datetime, limit: int) -> list[UUID]:
    """Jobs that wait for hours, of owners who are not among those whose hours are over."""
    return [row["job_id"] for row in await conn.fetch(_SHUT_IN_VAIN, list(owners), now, limit)]


async def set_limits(conn: Connection, owner: UUID, limits: Limits) -> None:
    await conn.execute(
        "insert into job.limits (owner, concurrent, bandwidth, storage, windows) values ($1, $2, $3, $4, $5)"
        " on conflict (owner) do update set concurrent = excluded.concurrent, bandwidth = excluded.bandwidth,"
        " storage = excluded.storage, windows = excluded.windows",
        owner,
        limits.concurrent,
        limits.bandwidth,
        limits.storage,
        msgspec.json.encode(limits.windows) if limits.windows else None,
    )


async def limits(conn: Connection, owner: UUID) -> Limits:
    row = await conn.fetchrow("select concurrent, bandwidth, storage, windows from job.limits where owner = $1", owner)
    if row is None:
        return Limits()
    hours = _decode_windows(row["windows"]) if row["windows"] is not None else ()
    return Limits(concurrent=row["concurrent"], bandwidth=row["bandwidth"], storage=row["storage"], windows=hours)


class Taken(Struct, frozen=True, kw_only=True):
    """Bytes that jobs of one owner take of its storage, and what the owner may take."""

    kept: int
    reserved: int
    limit: int | None


async def moving(conn: Connection, owner: UUID) -> dict[UUID, int]:
    """How many of the owner's attempts each worker fetches or stores bytes for."""
    rows = await conn.fetch(
        "select worker_id, count(*) as n from job.jobs where owner = $1 and worker_id is not null"
        " and state in ('resolving', 'downloading', 'storing') group by worker_id",
        owner,
    )
    return {row["worker_id"]: row["n"] for row in rows}


async def lock_owner(conn: Connection, owner: UUID) -> None:
    """Until this transaction ends nobody else gets this far for the owner."""
    await conn.execute("select pg_advisory_xact_lock(hashtextextended($1::text, 1))", str(owner))


class Alike(Struct, frozen=True):
    """A job under way that does what a new submission asks for, and is given to it in place of a new one."""

    job_id: UUID
    number: int


class Asked(Struct, frozen=True):
    """A submission that wants no second job: it looks for one of this owner with this fingerprint that was submitted
    `since` then and has not ended."""

    owner: UUID
    fingerprint: UUID
    since: datetime

    @property
    def name(self) -> tuple[UUID, UUID]:
        return self.owner, self.fingerprint


def columns(asked: Iterable[Asked]) -> tuple[list[UUID], list[UUID], list[datetime]]:
    """Owners, fingerprints and times, as the functions of migration 0007 take them."""
    owners, prints, since = [], [], []
    for one in asked:
        owners.append(one.owner)
        prints.append(one.fingerprint)
        since.append(one.since)
    return owners, prints, since


async def alike(conn: Connection, asked: Iterable[Asked]) -> dict[tuple[UUID, UUID], Alike]:
    """By owner and fingerprint, the first of the jobs that do it."""
    rows = await conn.fetch("select * from job.alike($1, $2, $3)", *columns(asked))
    return {(row["owner"], row["fingerprint"]): Alike(row["job_id"], row["number"]) for row in rows}


async def take(conn: Connection, owner: UUID, besides: UUID | None = None) -> Taken:
    """What the owner's jobs take now, those `besides` one job where it is given."""
    row = await conn.fetchrow(_TAKEN, owner, besides)
    return Taken(**row)


async def candidates(conn: Connection, now: datetime, window: int, host_limit: int, shut: Iterable[UUID]) -> list[UUID]:
    """Up to `window` jobs to admit, fewer when that many attempts are already on their way. Owners who are `shut` have
    none."""
    load = await conn.fetchrow(_LOAD, ACTIVE, host_limit)
    assert load is not None
    free = window - load["active"]
    if free <= 0:
        return []
    rows = await conn.fetch(_CANDIDATES, now, free, ACTIVE, load["full_hosts"], host_limit, list(shut))
    return [row["job_id"] for row in rows]


async def unclaimed(conn: Connection, now: datetime, grace: timedelta) -> list[Unclaimed]:
    """Admitted attempts that nobody has taken for `grace`: their ticket may be lost."""
    return [Unclaimed(**row) for row in await conn.fetch(_UNCLAIMED, now - grace)]


async def held_by_others(
    conn: Connection, alive: Iterable[UUID], now: datetime, grace: timedelta
) -> list[tuple[UUID, UUID]]:
    """(job, worker) for every running attempt whose worker is not among the living."""
    rows = await conn.fetch(_HELD_BY_OTHERS, ACTIVE, list(alive), now - grace)
    return [(row["job_id"], row["worker_id"]) for row in rows]


async def held_in(conn: Connection, batch_id: UUID) -> list[UUID]:
    """In the order in which they were submitted."""
    rows = await conn.fetch(
        "select job_id from job.jobs where batch_id = $1 and state = 'held' order by number", batch_id
    )
    return [row["job_id"] for row in rows]


async def held_by(conn: Connection, worker_id: UUID) -> list[UUID]:
    return [row["job_id"] for row in await conn.fetch(_HELD_BY, ACTIVE, worker_id)]


async def keep_archived(conn: Connection, entries: Sequence[Archived]) -> None:
    """The last word on a file wins when it comes twice. In one order, so that no two writers wait for each other."""
    last = {(one.owner, one.site, one.key, one.file_id): one.stored for one in entries}
    rows = [(*row, stored) for row, stored in sorted(last.items())]
    await conn.execute(_ARCHIVE, *map(list, zip(*rows, strict=True)))
    pairs = sorted({(one.host, one.site) for one in entries if one.stored})
    if pairs:
        await conn.execute(_ARCHIVE_SITES, *map(list, zip(*pairs, strict=True)))


async def archived(
    conn: Connection, owner: UUID, host: str, after: tuple[str, str], limit: int, *, deleted: bool
) -> list[tuple[str, str]]:
    """(site, key) in that order, of what the owner has of the sites that links of `host` led to. `deleted`: also what
    the owner gave up since."""
    rows = await conn.fetch(_ARCHIVED, owner, host, deleted, *after, limit)
    return [(row["site"], row["key"]) for row in rows]
