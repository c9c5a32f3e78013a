"""Every statement of the pool on schema `unrestrict_proxy`, but for those on slots."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from libs.database import Connection
from services.unrestrict_proxy.adapters.contract import AccountState
from services.unrestrict_proxy.pool.breaker import Breaker, Way
from services.unrestrict_proxy.pool.standing import Standing

_state = msgspec.json.Decoder(AccountState).decode
_instants = msgspec.json.Decoder(dict[str, datetime]).decode
_encode = msgspec.json.Encoder().encode


class Account(Struct, frozen=True, kw_only=True):
    """What its operator told, and what is known of it. `session` counts the logins; `leases` its slots in use."""

    account_id: UUID
    platform: str
    username: str
    domains: tuple[str, ...]
    base_url: str | None
    slots: int | None
    max_chunks: int | None
    added_at: datetime
    sealed_secret: bytes
    standing: Standing
    session: int
    leases: int


class Login(Struct, frozen=True, kw_only=True):
    number: int
    sealed: bytes | None


_STANDING = "state, hosts, read_at, wait_until, cool_until, cool_reason, broken, strikes, paused, doubts"
_ACCOUNTS = (
    "select a.account_id, a.platform, username, domains, base_url, slots, max_chunks, added_at, sealed_secret,"
    f" session_number, {_STANDING}, (select count(*) from unrestrict_proxy.slots s"
    " where s.account_id = a.account_id and s.holder is not null and s.expires_at > $1) as leases"
    " from unrestrict_proxy.accounts a join unrestrict_proxy.standings using (account_id)"
)


async def accounts(conn: Connection, now: datetime) -> list[Account]:
    """By platform and then by age."""
    return [_account(row) for row in await conn.fetch(f"{_ACCOUNTS} order by a.platform, added_at, account_id", now)]


async def account(conn: Connection, account_id: UUID, now: datetime) -> Account | None:
    row = await conn.fetchrow(f"{_ACCOUNTS} where a.account_id = $2", now, account_id)
    return None if row is None else _account(row)


def _account(row: Mapping[str, Any]) -> Account:
    values = dict(row)
    return Account(
        account_id=values["account_id"],
        platform=values["platform"],
        username=values["username"],
        domains=tuple(values["domains"]),
        base_url=values["base_url"],
        slots=values["slots"],
        max_chunks=values["max_chunks"],
        added_at=values["added_at"],
        sealed_secret=values["sealed_secret"],
        standing=_standing(values),
        session=values["session_number"],
        leases=values["leases"],
    )


def _standing(values: Mapping[str, Any]) -> Standing:
    return Standing(
        account_id=values["account_id"],
        platform=values["platform"],
        state=None if values["state"] is None else _state(values["state"]),
        hosts=frozenset(values["hosts"]),
        read_at=values["read_at"],
        wait_until=values["wait_until"],
        cool_until=values["cool_until"],
        cool_reason=values["cool_reason"],
        broken=values["broken"],
        strikes=values["strikes"],
        paused=_instants(values["paused"]),
        doubts=_instants(values["doubts"]),
    )


# ---- what is known of accounts ---------------------------------------------------------------------------------


async def standing(conn: Connection, account_id: UUID) -> Standing | None:
    row = await conn.fetchrow(
        f"select account_id, platform, {_STANDING} from unrestrict_proxy.standings"
        " join unrestrict_proxy.accounts using (account_id) where account_id = $1",
        account_id,
    )
    return None if row is None else _standing(dict(row))


async def save_standing(conn: Connection, one: Standing) -> None:
    await conn.execute(
        "update unrestrict_proxy.standings set state = $2, hosts = $3, read_at = $4, wait_until = $5, cool_until = $6,"
        " cool_reason = $7, broken = $8, strikes = $9, paused = $10,"
        " doubts = $11 where account_id = $1",
        one.account_id,
        None if one.state is None else _encode(one.state).decode(),
        sorted(one.hosts),
        one.read_at,
        one.wait_until,
        one.cool_until,
        one.cool_reason,
        one.broken,
        one.strikes,
        _encode(one.paused).decode(),
        _encode(one.doubts).decode(),
    )


async def claim_reading(conn: Connection, known: Standing, now: datetime, until: datetime) -> bool:
    """Whether it is ours to ask the platform, until then: nobody is at it, and nobody has since it was `known`."""
    found = await conn.fetchval(
        "update unrestrict_proxy.standings set reading_until = $3"
        " where account_id = $1 and (reading_until is null or reading_until <= $2)"
        " and read_at is not distinct from $4 and wait_until is not distinct from $5 returning true",
        known.account_id,
        now,
        until,
        known.read_at,
        known.wait_until,
    )
    return found is not None


async def end_reading(conn: Connection, account_id: UUID) -> None:
    await conn.execute("update unrestrict_proxy.standings set reading_until = null where account_id = $1", account_id)


async def has_secret(conn: Connection, account_id: UUID, sealed: bytes) -> bool:
    """Still the one that is sealed there."""
    found: bool = await conn.fetchval(
        "select exists (select from unrestrict_proxy.accounts where account_id = $1 and sealed_secret = $2)",
        account_id,
        sealed,
    )
    return found


async def login(conn: Connection, account_id: UUID) -> Login | None:
    row = await conn.fetchrow(
        "select session_number, sealed_session from unrestrict_proxy.standings where account_id = $1", account_id
    )
    return None if row is None else Login(number=row["session_number"], sealed=row["sealed_session"])


async def save_login(conn: Connection, account_id: UUID, sealed: bytes) -> int | None:
    """The number of the new session; None when the account is gone."""
    number: int | None = await conn.fetchval(
        "update unrestrict_proxy.standings set session_number = session_number + 1, sealed_session = $2"
        " where account_id = $1 returning session_number",
        account_id,
        sealed,
    )
    return number


# ---- links -----------------------------------------------------------------------------------------------------


async def kept_links(conn: Connection, platform: str, file_ref: str, now: datetime) -> dict[UUID, bytes]:
    """Sealed, by account."""
    rows = await conn.fetch(
        "select account_id, sealed from unrestrict_proxy.host_links"
        " where platform = $1 and file_ref = $2 and expires_at > $3",
        platform,
        file_ref,
        now,
    )
    return {row["account_id"]: row["sealed"] for row in rows}


async def keep_link(
    conn: Connection, platform: str, file_ref: str, account_id: UUID, sealed: bytes, until: datetime
) -> None:
    await conn.execute(
        "insert into unrestrict_proxy.host_links (platform, file_ref, account_id, sealed, expires_at)"
        " select $1, $2, account_id, $4, $5 from unrestrict_proxy.accounts"
        " where account_id = $3 on conflict (platform, file_ref, account_id)"
        " do update set sealed = excluded.sealed, expires_at = excluded.expires_at",
        platform,
        file_ref,
        account_id,
        sealed,
        until,
    )


async def forget_link(conn: Connection, platform: str, file_ref: str, account_id: UUID) -> None:
    await conn.execute(
        "delete from unrestrict_proxy.host_links where platform = $1 and file_ref = $2 and account_id = $3",
        platform,
        file_ref,
        account_id,
    )


async def forget_expired(conn: Connection, now: datetime) -> None:
    await conn.execute("delete from unrestrict_proxy.host_links where expires_at <= $1", now)


# ---- breakers --------------------------------------------------------------------------------------------------

_BREAKER = "via, platform, what, failures, open_until, probe_until"


async def breakers(conn: Connection) -> dict[Way, Breaker]:
    """Those that are not as new."""
    found = [_breaker(row) for row in await conn.fetch(f"select {_BREAKER} from unrestrict_proxy.breakers")]
    return {one.way: one for one in found}


async def breaker(conn: Connection, way: Way) -> Breaker:
    row = await conn.fetchrow(
        f"select {_BREAKER} from unrestrict_proxy.breakers where via = $1 and platform = $2 and what = $3", *_way(way)
    )
    return Breaker(way=way) if row is None else _breaker(row)


def _breaker(row: Mapping[str, Any]) -> Breaker:
    values = dict(row)
    way = Way(values.pop("via"), values.pop("platform"), values.pop("what"))
    return Breaker(way=way, **values)


def _way(way: Way) -> tuple[str, str, str]:
    return way.via, way.platform, way.what


async def save_breaker(conn: Connection, one: Breaker) -> None:
    if one.failures == 0:
        await conn.execute(
            "delete from unrestrict_proxy.breakers where via = $1 and platform = $2 and what = $3", *_way(one.way)
        )
        return
    await conn.execute(
        "insert into unrestrict_proxy.breakers (via, platform, what, failures, open_until, probe_until)"
        " values ($1, $2, $3, $4, $5, $6) on conflict (via, platform, what)"
        " do update set failures = excluded.failures, open_until = excluded.open_until,"
        " probe_until = excluded.probe_until",
        *_way(one.way),
        one.failures,
        one.open_until,
        one.probe_until,
    )


async def claim_probe(conn: Connection, way: Way, now: datetime, until: datetime) -> bool:
    """Whether the one question to a half open platform is ours."""
    found = await conn.fetchval(
        "update unrestrict_proxy.breakers set probe_until = $5 where via = $1 and platform = $2 and what = $3"
        " and open_until <= $4 and (probe_until is null or probe_until <= $4) returning true",
        *_way(way),
        now,
        until,
    )
    return found is not None


# ---- turns -----------------------------------------------------------------------------------------------------

_TURNS = 0x504F_4F4C
"""The first of two keys, so that these locks are none of the event store's."""
_LOGINS = 0x4C4F_474E


async def take_turn(conn: Connection, key: str) -> None:
    """Until the end of the transaction nobody else has it. It is no write: an append may follow."""
    await conn.execute("select pg_advisory_xact_lock($1, hashtext($2))", _TURNS, key)


async def take_login(conn: Connection, account_id: UUID, seconds: float) -> None:
    """As `take_turn`, of an account's login. The transaction may then be idle for so many seconds, while the platform
    answers: until it writes it holds no feed back. Roles have a `transaction_timeout` of ten seconds, which would end
    it, or who waits for it, before that; only 0 takes it away from a transaction that has begun."""
    await conn.execute(
        f"set local idle_in_transaction_session_timeout = '{int(seconds * 1000)}ms'; set local transaction_timeout = 0"
    )
    await conn.execute("select pg_advisory_xact_lock($1, hashtext($2))", _LOGINS, str(account_id))
