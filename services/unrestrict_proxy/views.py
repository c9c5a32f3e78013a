"""Every statement on schema `unrestrict_proxy` beside the event store's own."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from libs.database import Connection
from proto.unrestrict_proxy import AddHostAccount


async def add_account(
    conn: Connection, command: AddHostAccount, domains: list[str], sealed: bytes, at: datetime
) -> None:
    """Raises asyncpg.UniqueViolationError for an id that is known."""
    await conn.execute(
        "insert into unrestrict_proxy.accounts (account_id, platform, username, sealed_secret, added_at, domains,"
        " base_url, slots, max_chunks) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        command.account_id,
        command.platform,
        command.username,
        sealed,
        at,
        domains,
        command.base_url,
        command.slots,
        command.max_chunks,
    )
    await conn.execute("insert into unrestrict_proxy.standings (account_id) values ($1)", command.account_id)


async def renew_account(
    conn: Connection, account_id: UUID, command: AddHostAccount, domains: list[str], sealed: bytes
) -> None:
    """What was not given stays as it was, but for the session, which was opened with another secret."""
    await conn.execute(
        "update unrestrict_proxy.accounts set sealed_secret = $2, slots = coalesce($3, slots),"
        " max_chunks = coalesce($4, max_chunks),"
        " domains = case when cardinality($5::text[]) = 0 then domains else $5 end where account_id = $1",
        account_id,
        sealed,
        command.slots,
        command.max_chunks,
        domains,
    )
    await conn.execute(
        "update unrestrict_proxy.standings set sealed_session = null, session_number = session_number + 1,"
        " reading_until = null where account_id = $1",
        account_id,
    )


async def remove_account(conn: Connection, account_id: UUID) -> None:
    await conn.execute("delete from unrestrict_proxy.accounts where account_id = $1", account_id)


async def accounts_by_platform(conn: Connection) -> dict[str, int]:
    rows = await conn.fetch("select platform, count(*) as n from unrestrict_proxy.accounts group by platform")
    return {row["platform"]: row["n"] for row in rows}


class Kept(Struct, frozen=True, kw_only=True):
    """A user's cookies of one domain as they lie there."""

    domain: str
    sealed: bytes


class Summary(Struct, frozen=True, kw_only=True):
    domain: str
    expiries: list[float | None]
    synced_by: str | None
    updated_at: datetime


async def put_cookies(
    conn: Connection,
    owner: UUID,
    kept: Kept,
    size: int,
    scopes: list[str],
    expiries: list[float | None],
    synced_by: str | None,
    at: datetime,
) -> None:
    await conn.execute(
        "insert into unrestrict_proxy.cookies (owner, domain, sealed, size, scopes, expiries, synced_by, updated_at)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8)"
        " on conflict (owner, domain) do update set sealed = excluded.sealed, size = excluded.size,"
        " scopes = excluded.scopes, expiries = excluded.expiries, synced_by = excluded.synced_by,"
        " updated_at = excluded.updated_at",
        owner,
        kept.domain,
        kept.sealed,
        size,
        scopes,
        expiries,
        synced_by,
        at,
    )


async def cookie_usage(conn: Connection, owner: UUID) -> tuple[int, int]:
    """(domains, bytes) of a user."""
    row = await conn.fetchrow(
        "select count(*) as domains, coalesce(sum(size), 0)::bigint as bytes from unrestrict_proxy.cookies"
        " where owner = $1",
        owner,
    )
    return row["domains"], row["bytes"]


async def remove_cookies(conn: Connection, owner: UUID, domains: list[str]) -> None:
    await conn.execute("delete from unrestrict_proxy.cookies where owner = $1 and domain = any($2)", owner, domains)


async def cookie_summaries(conn: Connection, owner: UUID) -> list[Summary]:
    rows = await conn.fetch(
        "select domain, expiries, synced_by, updated_at from unrestrict_proxy.cookies where owner = $1 order by domain",
        owner,
    )
    return [Summary(**row) for row in rows]


async def cookies_for(conn: Connection, owner: UUID, family: tuple[str, ...]) -> list[Kept]:
    """Synced for one of these domains or saying one of them, oldest first."""
    rows = await conn.fetch(
        "select domain, sealed from unrestrict_proxy.cookies"
        " where owner = $1 and (domain = any($2) or scopes && $2) order by updated_at, domain",
        owner,
        list(family),
    )
    return [Kept(**row) for row in rows]
