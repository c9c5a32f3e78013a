"""Sessions with platforms: one login at a time for an account, whoever needs it, and sealed where it is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from libs.sealing import CannotOpen, Sealer
from services.unrestrict_proxy.adapters.contract import Adapter, Credentials, HostError, Line, Session
from services.unrestrict_proxy.pool import views
from services.unrestrict_proxy.pool.changes import Changes
from services.unrestrict_proxy.pool.standing import COOL_LEAST, Standing, failed
from services.unrestrict_proxy.pool.upstream import CALL_SECONDS, Upstream
from services.unrestrict_proxy.pool.views import Account

T = TypeVar("T")
Call = Callable[[Line], Awaitable[T]]

TURN_SECONDS = 25.0
"""For a login and, before it, for another's: who waits longer is told to come again."""
LOGINS_AT_ONCE = 2
"""Each holds a connection to the database while the platform thinks, and there are five."""
MARGIN_SECONDS = 30.0
"""So long before its end a session is not begun with any more."""

_decode = msgspec.json.Decoder(Session).decode


class Held(Struct, frozen=True):
    """A session and the number of its login."""

    number: int
    session: Session


class Sessions:
    def __init__(
        self,
        pool: asyncpg.Pool,
        changes: Changes,
        upstream: Upstream,
        secrets: Sealer,
        sessions: Sealer,
        now: Callable[[], datetime],
    ) -> None:
        self._pool = pool
        self._changes = changes
        self._upstream = upstream
        self._secrets = secrets
        self._sealer = sessions
        self._now = now
        self._turns: dict[UUID, asyncio.Lock] = {}
        self._logins = asyncio.Semaphore(LOGINS_AT_ONCE)

    def credentials(self, account: Account) -> Credentials:
        """Raises HostError for what another installation's key has sealed."""
        try:
            secret = self._secrets.open(account.sealed_secret, str(account.account_id)).decode()
        except CannotOpen as error:
            raise HostError(
                "account", 107, "sealed_by_another_key", "The secret was sealed with another key; add the account anew."
            ) from error
        return Credentials(username=account.username, secret=secret, domains=account.domains, base_url=account.base_url)

    async def call(self, account: Account, adapter: Adapter, call: Call[T]) -> T:
        """With a session, and when the platform says that it is over, with a new one once more. Raises HostError."""
        line = Line(http=self._upstream.http, credentials=self.credentials(account))
        held = await self._held(account, adapter, line, stale=None)
        try:
            return await self._upstream.ask(adapter.name, call(replace(line, session=held.session)))
        except HostError as error:
            if not error.renew:
                raise
        held = await self._held(account, adapter, line, stale=held.number)
        return await self._upstream.ask(adapter.name, call(replace(line, session=held.session)))

    async def _held(self, account: Account, adapter: Adapter, line: Line, stale: int | None) -> Held:
        """`stale` is the number of a session that is over."""
        async with self._pool.acquire() as conn:
            held = self._opened(account, await views.login(conn, account.account_id), stale)
        if held is not None:
            return held
        turn = self._turns.setdefault(account.account_id, asyncio.Lock())
        try:
            async with asyncio.timeout(TURN_SECONDS + CALL_SECONDS), turn, self._logins:
                return await self._log_in(account, adapter, line, stale)
        except TimeoutError:
            raise HostError(
                "request", 105, "login_under_way", "Another login to the account is under way.", retry_after=10
            ) from None

    async def _log_in(self, account: Account, adapter: Adapter, line: Line, stale: int | None) -> Held:
        """The lock is the database's, so that it holds for every process; who comes second finds the session."""
        async with self._pool.acquire() as conn, conn.transaction():
            await views.take_login(conn, account.account_id, TURN_SECONDS + CALL_SECONDS)
            held = self._opened(account, await views.login(conn, account.account_id), stale)
            if held is not None:
                return held
            known = await views.standing(conn, account.account_id)
            now = self._now()
            if known is None or (not known.usable(now) and _refused(known) != _refused(account.standing)):
                # Whoever had the lock before us was refused.
                raise HostError("account", 107, "refused", "The platform refused the account.", retry_after=COOL_LEAST)
            try:
                session = await self._upstream.ask(adapter.name, adapter.login(line))
            except HostError as error:
                if error.scope == "account":
                    # Before the lock is given up: those who wait for it must not try the same again.
                    await self._changes.standing(
                        account.account_id,
                        partial(failed, error=error, file_platform="", now=self._now()),
                        secret=account.sealed_secret,
                    )
                raise
            sealed = self._sealer.seal(msgspec.json.encode(session), str(account.account_id))
            if not await views.has_secret(conn, account.account_id, account.sealed_secret):
                raise HostError("request", 105, "secret_replaced", "The account was changed.", retry_after=COOL_LEAST)
            number = await views.save_login(conn, account.account_id, sealed)
        if number is None:
            raise HostError("account", 107, "removed", "The account was removed.", retry_after=60)
        return Held(number, session)

    def _opened(self, account: Account, login: views.Login | None, stale: int | None) -> Held | None:
        if login is None or login.sealed is None or login.number == stale:
            return None
        try:
            session = _decode(self._sealer.open(login.sealed, str(account.account_id)))
        except (CannotOpen, msgspec.MsgspecError):
            return None
        if session.expires_at is not None and session.expires_at <= self._now() + timedelta(seconds=MARGIN_SECONDS):
            return None
        return Held(login.number, session)


def _refused(one: Standing) -> tuple[bool, datetime | None]:
    """What changes when a login is refused."""
    return one.broken, one.cool_until
