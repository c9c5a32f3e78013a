"""One function per command or query of the auth service; the routing table is at the foot."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from libs.calls import Answer, Call
from libs.eventstore import AnyVersion, EventStore, NoStream, Transaction, Write
from libs.message import Event, Meta, Position, Refusal, Refused, new_id
from proto.auth import (
    BadCredentials,
    BadToken,
    CreateUser,
    EndSession,
    IssuedKey,
    IssueKey,
    KeyNotFound,
    KeyRevoked,
    ListKeys,
    LoggedIn,
    LogIn,
    PasswordSet,
    ReadLimits,
    ReadPublicKeys,
    ReadUser,
    RefreshSession,
    RevokeKey,
    Session,
    SessionEnded,
    SetLimits,
    SetPassword,
    User,
    UserCreated,
    UsernameTaken,
    UserNotFound,
    VerifyKey,
)
from services.auth import domain, tokens, views
from services.auth.domain import ACCESS_LIFE, SESSION_LIFE, SessionState
from services.auth.tokens import AccessTokens, RefreshTokens

BAD_CREDENTIALS = BadCredentials(message="incorrect username or password")
BAD_TOKEN = BadToken(message="this refresh token is not valid")


async def _append(
    tx: Transaction, stream_id: UUID, kind: str, events: list[Event], meta: Meta, *, new: bool = False
) -> Position:
    places = await tx.append(
        [Write(stream_id=stream_id, kind=kind, expected=NoStream() if new else AnyVersion(), events=events, meta=meta)]
    )
    return places[-1]


async def create_user(command: CreateUser, call: Call, pool: asyncpg.Pool, store: EventStore) -> Answer:
    if weak := domain.check_password(command.password):
        raise Refused(weak)
    at = datetime.now(UTC)
    hashed = await asyncio.to_thread(tokens.hash_password, command.password)
    async with pool.acquire() as conn:
        if await views.user(conn, username=command.username):
            raise Refused(_taken(command.username))
        number = await views.next_number(conn)
    user = User(
        user_id=new_id(),
        number=number,
        username=command.username,
        role=command.role,
        email=command.email,
        created_at=at,
    )
    created = UserCreated(
        user_id=user.user_id, number=number, username=user.username, role=user.role, email=user.email, at=at
    )
    try:
        async with store.transaction() as tx:
            position = await _append(tx, user.user_id, "user", [created], call.meta, new=True)
            await views.add_user(tx.conn, user, hashed)
    except asyncpg.UniqueViolationError as error:
        raise Refused(_taken(command.username)) from error
    return Answer(user, position)


def _taken(username: str) -> UsernameTaken:
    return UsernameTaken(message=f"the name {username} is taken", username=username)


async def set_password(command: SetPassword, call: Call, pool: asyncpg.Pool, store: EventStore) -> Answer:
    if weak := domain.check_password(command.password):
        raise Refused(weak)
    at = datetime.now(UTC)
    hashed = await asyncio.to_thread(tokens.hash_password, command.password)
    async with pool.acquire() as conn:
        user = await views.user(conn, username=command.username)
    if user is None:
        raise Refused(UserNotFound(message="no such user"))
    async with store.transaction() as tx:
        await views.take_turn(tx.conn, user.username)
        open_sessions = await views.open_sessions(tx.conn, user.user_id)
        events: list[Event] = [PasswordSet(user_id=user.user_id, at=at)]
        events += [
            SessionEnded(user_id=user.user_id, session_id=one, reason="password_set", at=at) for one in open_sessions
        ]
        position = await _append(tx, user.user_id, "user", events, call.meta)
        await views.set_password(tx.conn, user.user_id, hashed)
        for one in open_sessions:
            await views.end_session(tx.conn, one, at)
    return Answer(position=position)


async def set_limits(command: SetLimits, call: Call, pool: asyncpg.Pool, store: EventStore) -> Answer:
    at = datetime.now(UTC)
    async with pool.acquire() as conn:
        user = await views.user(conn, username=command.username)
        by = None if command.by is None else await views.user(conn, user_id=command.by)
        if user is None:
            raise Refused(UserNotFound(message="no such user"))
        decision = domain.set_limits(command, user, await views.limits(conn, user.user_id), by, at)
    if isinstance(decision, Refusal):
        raise Refused(decision)
    if not decision:
        return Answer(command.limits)
    async with store.transaction() as tx:
        position = await _append(tx, user.user_id, "user", decision, call.meta)
        await views.set_limits(tx.conn, user.user_id, command.limits)
    return Answer(command.limits, position)


async def read_limits(query: ReadLimits, pool: asyncpg.Pool) -> Answer:
    async with pool.acquire() as conn:
        user = await views.user(conn, username=query.username)
        if user is None:
            raise Refused(UserNotFound(message="no such user"))
        return Answer(await views.limits(conn, user.user_id))


async def log_in(
    command: LogIn, call: Call, pool: asyncpg.Pool, store: EventStore, access: AccessTokens, refreshing: RefreshTokens
) -> Answer:
    at = datetime.now(UTC)
    if not domain.is_username(command.username):
        # Nobody has it, so nothing is kept of it; it takes as long as any other.
        await asyncio.to_thread(tokens.verify_password, None, command.password)
        raise Refused(BAD_CREDENTIALS)
    async with pool.acquire() as conn:
        lockout = await views.lockout(conn, command.username)
        if locked := domain.may_try(lockout, at):
            raise Refused(locked)
        stored = await views.password_hash(conn, command.username)
    if not await asyncio.to_thread(tokens.verify_password, stored, command.password):
        async with pool.acquire() as conn, conn.transaction():
            # Read anew: of many tries at once each counts, or so many would be free as there is room for at a time.
            await views.take_turn(conn, command.username)
            lockout = await views.lockout(conn, command.username)
            await views.save_lockout(conn, command.username, domain.after_failure(lockout, at))
        raise Refused(BAD_CREDENTIALS)
    async with pool.acquire() as conn:
        user = await views.user(conn, username=command.username)
    if user is None:
        raise Refused(BAD_CREDENTIALS)
    session = SessionState(
        session_id=new_id(), user_id=user.user_id, generation=0, expires_at=at + SESSION_LIFE, ended_at=None
    )
    async with store.transaction() as tx:
        await views.take_turn(tx.conn, user.username)
        if await views.password_hash(tx.conn, user.username) != stored:
            raise Refused(BAD_CREDENTIALS)  # it was changed meanwhile: that ended all sessions which the old one opened
        position = await _append(
            tx, user.user_id, "user", [LoggedIn(user_id=user.user_id, session_id=session.session_id, at=at)], call.meta
        )
        await views.open_session(tx.conn, session)
        await views.logged_in(tx.conn, user.user_id, user.username, at)
    return Answer(_session(user, session.session_id, 1, at, access, refreshing), position)


def _session(
    user: User, session_id: UUID, generation: int, at: datetime, access: AccessTokens, refreshing: RefreshTokens
) -> Session:
    return Session(
        access_token=access.make(user, session_id, at),
        refresh_token=refreshing.make(session_id, generation),
        expires_in=int(ACCESS_LIFE.total_seconds()),
        user=user,
    )


async def refresh_session(
    command: RefreshSession,
    call: Call,
    pool: asyncpg.Pool,
    store: EventStore,
    access: AccessTokens,
    refreshing: RefreshTokens,
) -> Answer:
    at = datetime.now(UTC)
    read = refreshing.read(command.refresh_token)
    if read is None:
        raise Refused(BAD_TOKEN)
    session_id, generation = read
    async with pool.acquire() as conn:
        session = await views.session(conn, session_id)
        decision = domain.refresh(session, generation, at)
        if isinstance(decision, Refusal) or session is None:
            raise Refused(BAD_TOKEN)
        if not decision:
            await views.present(conn, session_id, generation)
            user = await views.user(conn, user_id=session.user_id)
            if user is None:
                raise Refused(BAD_TOKEN)
            return Answer(_session(user, session_id, generation + 1, at, access, refreshing))
    async with store.transaction() as tx:
        await _append(tx, session.user_id, "user", decision, call.meta)
        await views.end_session(tx.conn, session_id, at)
    raise Refused(BAD_TOKEN)


async def end_session(command: EndSession, call: Call, pool: asyncpg.Pool, store: EventStore) -> Answer:
    at = datetime.now(UTC)
    async with pool.acquire() as conn:
        session = await views.session(conn, command.session_id)
    if session is None or session.ended_at is not None:
        return Answer()
    ended = SessionEnded(user_id=session.user_id, session_id=session.session_id, reason="logged_out", at=at)
    async with store.transaction() as tx:
        position = await _append(tx, session.user_id, "user", [ended], call.meta)
        await views.end_session(tx.conn, session.session_id, at)
    return Answer(position=position)


async def issue_key(command: IssueKey, call: Call, pool: asyncpg.Pool, store: EventStore) -> Answer:
    at = datetime.now(UTC)
    async with pool.acquire() as conn:
        user = await views.user(conn, username=command.username)
    if user is None:
        raise Refused(UserNotFound(message="no such user"))
    key, key_id = tokens.new_key(command.dialect), new_id()
    issued = domain.issue_key(command, key_id, user.user_id, at)
    async with store.transaction() as tx:
        position = await _append(tx, key_id, "key", [issued], call.meta, new=True)
        await views.add_key(tx.conn, issued, tokens.digest(key))
    return Answer(IssuedKey(key_id=key_id, key=key), position)


async def revoke_key(command: RevokeKey, call: Call, pool: asyncpg.Pool, store: EventStore) -> Answer:
    at = datetime.now(UTC)
    async with pool.acquire() as conn:
        owner = await views.key_owner(conn, command.key_id)
    if owner is None or (command.owner is not None and command.owner != owner):
        raise Refused(KeyNotFound(message="no such key"))
    async with store.transaction() as tx:
        position = await _append(
            tx, command.key_id, "key", [KeyRevoked(key_id=command.key_id, owner=owner, at=at)], call.meta
        )
        await views.revoke_key(tx.conn, command.key_id, at)
    return Answer(position=position)


async def list_keys(query: ListKeys, pool: asyncpg.Pool) -> Answer:
    async with pool.acquire() as conn:
        return Answer(await views.live_keys(conn, query.username, datetime.now(UTC)))


async def verify_key(query: VerifyKey, pool: asyncpg.Pool) -> Answer:
    async with pool.acquire() as conn:
        holder = await views.key_holder(conn, bytes.fromhex(query.digest), datetime.now(UTC))
    if holder is None:
        raise Refused(BadCredentials(message="unknown key"))
    return Answer(holder)


async def read_public_keys(query: ReadPublicKeys, pool: asyncpg.Pool) -> Answer:
    del query  # it has no fields
    async with pool.acquire() as conn:
        return Answer({kid: public for kid, _, public in await views.signing_keys(conn)})


async def read_user(query: ReadUser, pool: asyncpg.Pool) -> Answer:
    async with pool.acquire() as conn:
        user = await views.user(conn, user_id=query.user_id, username=query.username)
    if user is None:
        raise Refused(UserNotFound(message="no such user"))
    return Answer(user)


HANDLERS = (
    create_user,
    set_password,
    set_limits,
    read_limits,
    log_in,
    refresh_session,
    end_session,
    issue_key,
    revoke_key,
    list_keys,
    verify_key,
    read_public_keys,
    read_user,
)
