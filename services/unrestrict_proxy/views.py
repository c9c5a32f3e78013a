"""Every statement on schema `unrestrict_proxy` beside the event store's own."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from libs.database import Connection


async def add_account(
    conn: Connection, account_id: UUID, platform: str, username: str, sealed: bytes, at: datetime
) -> None:
    """Raises asyncpg.UniqueViolationError for an id that is known."""
    await conn.execute(
        "insert into unrestrict_proxy.accounts values ($1, $2, $3, $4, $5)", account_id, platform, username, sealed, at
    )


async def platform_of(conn: Connection, account_id: UUID) -> str | None:
    found: str | None = await conn.fetchval(
        "select platform from unrestrict_proxy.accounts where account_id = $1", account_id
    )
    return found


async def remove_account(conn: Connection, account_id: UUID) -> None:
    await conn.execute("delete from unrestrict_proxy.accounts where account_id = $1", account_id)


async def accounts_by_platform(conn: Connection) -> dict[str, int]:
    rows = await conn.fetch("select platform, count(*) as n from unrestrict_proxy.accounts group by platform")
    return {row["platform"]: row["n"] for row in rows}
