"""Every statement on schema `auth` beside the event store's own."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from libs.database import Connection
from proto.auth import KeyHolder, KeyInfo, KeyIssued, Limits, User
from services.auth.domain import Lockout, SessionState

_USER = "user_id, number, username, role, email, created_at, last_login"


async def next_number(conn: Connection) -> int:
    return int(await conn.fetchval("select nextval('auth.user_numbers')"))


async def add_user(conn: Connection, user: User, password_hash: str) -> None:
    """Raises asyncpg.UniqueViolationError for a name that is taken."""
    await conn.execute(
        "insert into auth.users (user_id, number, username, role, email, password_hash, created_at)"
        " values ($1, $2, $3, $4, $5, $6, $7)",
        user.user_id,
        user.number,
        user.username,
        user.role,
        user.email,
        password_hash,
        user.created_at,
    )


async def user(conn: Connection, *, user_id: UUID | None = None, username: str | None = None) -> User | None:
    row = await conn.fetchrow(f"select {_USER} from auth.users where user_id = $1 or username = $2", user_id, username)
    return User(**row) if row else None


async def password_hash(conn: Connection, username: str) -> str | None:
    found: str | None = await conn.fetchval("select password_hash from auth.users where username = $1", username)
    return found


async def set_password(conn: Connection, user_id: UUID, hashed: str) -> None:
    """Wrong tries at the old one are forgotten with it."""
    username = await conn.fetchval(
        "update auth.users set password_hash = $2 where user_id = $1 returning username", user_id, hashed
    )
    await conn.execute("delete from auth.lockouts where username = $1", username)


async def limits(conn: Connection, user_id: UUID) -> Limits:
    found = await conn.fetchval("select limits from auth.users where user_id = $1", user_id)
    return msgspec.json.decode(found, type=Limits) if found is not None else Limits()


async def set_limits(conn: Connection, user_id: UUID, limits: Limits) -> None:
    await conn.execute("update auth.users set limits = $2 where user_id = $1", user_id, msgspec.json.encode(limits))


async def take_turn(conn: Connection, username: str) -> None:
    """Until the end of the transaction nobody else decides by what this user's password is, what sessions it opened or
    how often it was wrong. It is no write: an append may follow."""
    await conn.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", f"auth.user {username}")


async def lockout(conn: Connection, username: str) -> Lockout | None:
    row = await conn.fetchrow("select failures, locked_until from auth.lockouts where username = $1", username)
    return Lockout(row["failures"], row["locked_until"]) if row else None


async def save_lockout(conn: Connection, username: str, state: Lockout) -> None:
    await conn.execute(
        "insert into auth.lockouts (username, failures, locked_until)"
        " values ($1, $2, $3)"
        " on conflict (username) do update set failures = excluded.failures, locked_until = excluded.locked_until",
        username,
        state.failures,
        state.locked_until,
    )


async def logged_in(conn: Connection, user_id: UUID, username: str, at: datetime) -> None:
    await conn.execute("update auth.users set last_login = $2 where user_id = $1", user_id, at)
    await conn.execute("delete from auth.lockouts where username = $1", username)


async def open_session(conn: Connection, session: SessionState) -> None:
    await conn.execute(
        "insert into auth.sessions (session_id, user_id, generation, expires_at, ended_at)"
        " values ($1, $2, $3, $4, null)",
        session.session_id,
        session.user_id,
        session.generation,
        session.expires_at,
    )


async def session(conn: Connection, session_id: UUID) -> SessionState | None:
    row = await conn.fetchrow(
        "select session_id, user_id, generation, expires_at, ended_at from auth.sessions where session_id = $1",
        session_id,
    )
    return SessionState(**row) if row else None


async def present(conn: Connection, session_id: UUID, generation: int) -> None:
    await conn.execute(
        "update auth.sessions set generation = greatest(generation, $2) where session_id = $1", session_id, generation
    )


async def end_session(conn: Connection, session_id: UUID, at: datetime) -> None:
    await conn.execute("update auth.sessions set ended_at = $2 where session_id = $1", session_id, at)


async def open_sessions(conn: Connection, user_id: UUID) -> list[UUID]:
    rows = await conn.fetch("select session_id from auth.sessions where user_id = $1 and ended_at is null", user_id)
    return [row["session_id"] for row in rows]


async def sweep(conn: Connection, sessions_before: datetime, lockouts_before: datetime, limit: int) -> bool:
    """Removes sessions and lockouts that were over by then; whether there may be more of either. It waits for nobody
    and takes not many at a time: what is open for long holds back every feed."""
    swept = await conn.fetchrow(
        "with sessions as (delete from auth.sessions where session_id in ("
        "  select session_id from auth.sessions where least(expires_at, ended_at) < $1 limit $3"
        "  for update skip locked) returning 1),"
        " lockouts as (delete from auth.lockouts where username in ("
        "  select username from auth.lockouts where locked_until < $2 limit $3 for update skip locked) returning 1)"
        " select (select count(*) from sessions) as sessions, (select count(*) from lockouts) as lockouts",
        sessions_before,
        lockouts_before,
        limit,
    )
    assert swept is not None
    return bool(max(swept["sessions"], swept["lockouts"]) == limit)


async def add_key(conn: Connection, key: KeyIssued, digest: bytes) -> None:
    await conn.execute(
        "insert into auth.keys (key_id, digest, owner, dialect, name, expires_at, webhook_style, status_style)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8)",
        key.key_id,
        digest,
        key.owner,
        key.dialect,
        key.name,
        key.expires_at,
        key.webhook_style,
        key.status_style,
    )


async def key_holder(conn: Connection, digest: bytes, at: datetime) -> KeyHolder | None:
    row = await conn.fetchrow(
        "select k.key_id, k.name as key_name, k.dialect, k.owner, k.expires_at, k.webhook_style, k.status_style,"
        " u.username, u.role"
        " from auth.keys k join auth.users u on u.user_id = k.owner"
        " where k.digest = $1 and k.revoked_at is null and (k.expires_at is null or k.expires_at > $2)",
        digest,
        at,
    )
    return KeyHolder(**row) if row else None


async def live_keys(conn: Connection, username: str | None, at: datetime) -> list[KeyInfo]:
    """Oldest first: an id begins with its time."""
    rows = await conn.fetch(
        "select k.key_id, k.name, k.dialect, k.expires_at, u.username"
        " from auth.keys k join auth.users u on u.user_id = k.owner"
        " where k.revoked_at is null and (k.expires_at is null or k.expires_at > $2)"
        " and ($1::text is null or u.username = $1) order by k.key_id",
        username,
        at,
    )
    return [KeyInfo(**row) for row in rows]


async def key_owner(conn: Connection, key_id: UUID) -> UUID | None:
    """None for a key that is not there or is revoked."""
    owner: UUID | None = await conn.fetchval(
        "select owner from auth.keys where key_id = $1 and revoked_at is null", key_id
    )
    return owner


async def revoke_key(conn: Connection, key_id: UUID, at: datetime) -> None:
    await conn.execute("update auth.keys set revoked_at = $2 where key_id = $1", key_id, at)


async def signing_keys(conn: Connection) -> list[tuple[str, bytes, str]]:
    """(kid, sealed private key, public PEM), newest first."""
    rows = await conn.fetch("select kid, sealed, public_pem from auth.signing_keys order by created_at desc")
    return [(row["kid"], row["sealed"], row["public_pem"]) for row in rows]


async def add_signing_key(conn: Connection, kid: str, sealed: bytes, public_pem: str, at: datetime) -> None:
    await conn.execute(
        "insert into auth.signing_keys (kid, sealed, public_pem, created_at) values ($1, $2, $3, $4)",
        kid,
        sealed,
        public_pem,
        at,
    )
