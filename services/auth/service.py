"""Wiring of the auth service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Self

import asyncpg
import msgspec

from libs.calls import Call, serve
from libs.database import AWAY
from libs.eventstore import EventStore
from libs.lasting import lasting
from libs.message import Meta, Refused, new_id
from libs.runtime import Resources, Service, ServiceSettings
from libs.sealing import Sealer
from proto import REGISTRY
from proto.auth import CreateUser, Username, UsernameTaken
from services.auth import tokens, views
from services.auth.domain import FORGIVEN_AFTER, check_password
from services.auth.handlers import HANDLERS, create_user
from services.auth.tokens import AccessTokens, RefreshTokens
from services.operations import answer_operator

SWEEP_SECONDS = 600.0
AT_ONCE = 1000
"""Rows that one statement of a sweep removes."""
USERNAME = "a name of letters, digits, `.`, `_` and `-`"


class Password(str):
    """The administrator's, from the settings: held to the same rules as any user's password."""

    __slots__ = ()

    @classmethod
    def read_setting(cls, value: object) -> Self:
        """Raises ValueError."""
        if value and (weak := check_password(str(value))) is not None:
            raise ValueError(weak.message)
        return cls(value)


class AuthSettings(ServiceSettings, frozen=True, kw_only=True):
    admin_username: Annotated[Username, msgspec.Meta(description=USERNAME)] = "admin"
    admin_password: Password = Password()
    """Makes the administrator at the start when there is none, unless it is empty. An existing one's is not touched."""
    admin_email: str = ""


@asynccontextmanager
async def start(settings: AuthSettings, resources: Resources) -> AsyncIterator[None]:
    pool, bus, store = await resources.event_source(settings, "auth", REGISTRY, kept=0)
    access = await _access_tokens(pool, Sealer(settings.secret_key, "signing-key"))
    if settings.admin_password:
        await _administrator(settings, settings.admin_password, pool, store)
    sweeping = partial(sweep, pool, lambda: datetime.now(UTC))
    resources.spawn(lasting("auth.unswept", sweeping, AWAY, first=SWEEP_SECONDS, longest=SWEEP_SECONDS), "sweep")
    await answer_operator(bus, "auth", pool, resources)
    await serve(
        bus,
        "auth",
        HANDLERS,
        {"pool": pool, "store": store, "access": access, "refreshing": RefreshTokens(settings.secret_key)},
    )
    yield


async def sweep(pool: asyncpg.Pool, clock: Callable[[], datetime]) -> None:
    """Sessions that have ended or run out, and lockouts long over. What happened stays in the events."""
    at, more = clock(), True
    while more:
        async with pool.acquire() as conn:
            more = await views.sweep(conn, at, at - FORGIVEN_AFTER, AT_ONCE)


async def _access_tokens(pool: asyncpg.Pool, sealer: Sealer) -> AccessTokens:
    """The newest signing key; the first start makes one. Two processes that start at once agree by the lock."""
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("select pg_advisory_xact_lock(hashtext('auth signing key'))")
        keys = await views.signing_keys(conn)
        if not keys:
            private, public = tokens.new_signing_key()
            kid = str(new_id())
            await views.add_signing_key(conn, kid, sealer.seal(private, kid), public, datetime.now(UTC))
            return AccessTokens(kid, private)
    kid, sealed, _ = keys[0]
    return AccessTokens(kid, sealer.open(sealed, kid))


async def _administrator(settings: AuthSettings, password: str, pool: asyncpg.Pool, store: EventStore) -> None:
    command = CreateUser(username=settings.admin_username, password=password, role="admin", email=settings.admin_email)
    call = Call(
        meta=Meta(correlation=new_id(), actor="service:auth"),
        command_id=None,
        actor="service:auth",
        deadline=0.0,
        body=b"",
    )
    try:
        await create_user(command, call, pool, store)
    except Refused as refused:
        if not isinstance(refused.refusal, UsernameTaken):
            raise


SERVICE = Service("auth", AuthSettings, start)
