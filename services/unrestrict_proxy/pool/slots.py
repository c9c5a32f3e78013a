"""Every statement on slots: of each account as many rows as it has."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from libs.database import Connection
from proto.unrestrict_proxy import LinkClass


class Slot(Struct, frozen=True, kw_only=True):
    """One that is taken."""

    account_id: UUID
    slot: int
    lease_id: UUID
    holder: UUID
    platform: str
    file_ref: str
    expires_at: datetime


async def make_slots(conn: Connection, wanted: Sequence[tuple[UUID, int]]) -> None:
    """Those that are missing, of (account, number of slots)."""
    await conn.execute(
        "insert into unrestrict_proxy.slots (account_id, slot)"
        " select u.account_id, n"
        " from unnest($1::uuid[], $2::int[]) as u(account_id, slots), generate_series(1, slots) as n"
        " where exists (select from unrestrict_proxy.accounts a where a.account_id = u.account_id)"
        " on conflict do nothing",
        [account_id for account_id, _ in wanted],
        [slots for _, slots in wanted],
    )


async def take_slot(
    conn: Connection,
    wanted: Sequence[tuple[UUID, int]],
    lease_id: UUID,
    holder: UUID,
    ref: LinkClass,
    now: datetime,
    until: datetime,
) -> Slot | None:
    """The first free slot of (account, number of slots) in this order, None when there is none. One statement: the row
    is locked before it is looked at for good, and a row that another is taking is passed over.

    Raises asyncpg.UniqueViolationError when the holder has one already."""
    row = await conn.fetchrow(
        "with free as materialized (select s.account_id, s.slot from unrestrict_proxy.slots s"
        "  join unnest($1::uuid[], $2::int[]) with ordinality as u(account_id, slots, place) using (account_id)"
        "  where s.slot <= u.slots and (s.holder is null or s.expires_at <= $7)"
        "  order by u.place, s.slot limit 1 for update of s skip locked)"
        " update unrestrict_proxy.slots t set lease_id = $3, holder = $4, platform = $5, file_ref = $6,"
        "  taken_at = $7, expires_at = $8 from free where t.account_id = free.account_id and t.slot = free.slot"
        f" returning {_SLOT}",
        [account_id for account_id, _ in wanted],
        [slots for _, slots in wanted],
        lease_id,
        holder,
        ref.platform,
        ref.file_ref,
        now,
        until,
    )
    return None if row is None else Slot(**row)


_SLOT = "t.account_id, t.slot, t.lease_id, t.holder, t.platform, t.file_ref, t.expires_at"


async def slot_of(conn: Connection, holder: UUID) -> Slot | None:
    """Also one that has expired and was not taken by another."""
    row = await conn.fetchrow(f"select {_SLOT} from unrestrict_proxy.slots t where holder = $1", holder)
    return None if row is None else Slot(**row)


async def renew_slot(conn: Connection, lease_id: UUID, fresh: UUID, now: datetime, until: datetime) -> Slot | None:
    """The same slot for the same holder under another lease; None when it is another's by now."""
    row = await conn.fetchrow(
        "update unrestrict_proxy.slots t set lease_id = $2, taken_at = $3,"
        f" expires_at = greatest(expires_at, $4) where lease_id = $1 returning {_SLOT}",
        lease_id,
        fresh,
        now,
        until,
    )
    return None if row is None else Slot(**row)


async def keep_slot(conn: Connection, lease_id: UUID, until: datetime) -> bool:
    """False when the slot is another's by now."""
    found = await conn.fetchval(
        "update unrestrict_proxy.slots set expires_at = greatest(expires_at, $2) where lease_id = $1 returning true",
        lease_id,
        until,
    )
    return found is not None


async def free_slot(conn: Connection, lease_id: UUID) -> Slot | None:
    """What was freed; None when it is another's by now."""
    row = await conn.fetchrow(
        "with was as materialized (select * from unrestrict_proxy.slots where lease_id = $1 for update),"
        " freed as (update unrestrict_proxy.slots t set lease_id = null, holder = null from was"
        "  where t.account_id = was.account_id and t.slot = was.slot returning 1)"
        f" select {_SLOT} from was t",
        lease_id,
    )
    return None if row is None else Slot(**row)


async def first_free(conn: Connection, accounts: Collection[UUID]) -> datetime | None:
    """When the first of the leases of these accounts runs out unless it is kept."""
    found: datetime | None = await conn.fetchval(
        "select min(expires_at) from unrestrict_proxy.slots where account_id = any($1) and holder is not null",
        list(accounts),
    )
    return found
