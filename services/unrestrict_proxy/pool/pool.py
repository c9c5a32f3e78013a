"""What the rest of the service asks of the pool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from typing import Self
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct

from libs.egress.links import BadLink, check_link
from libs.egress.policy import EgressPolicy
from libs.eventstore import EventStore
from libs.sealing import Sealer
from proto.unrestrict_proxy import HostInfo, LinkClass, NotYet
from services.unrestrict_proxy.adapters.contract import (
    Adapter,
    Caps,
    DirectLink,
    FileInfo,
    HostError,
    HostFile,
    Pending,
)
from services.unrestrict_proxy.pool import breaker, calls, choice, serving, standing, views
from services.unrestrict_proxy.pool.breaker import Way
from services.unrestrict_proxy.pool.changes import Changes
from services.unrestrict_proxy.pool.leases import KEEP_SECONDS, LEASE_SECONDS, Leases, NoSlot
from services.unrestrict_proxy.pool.links import Kept, Links
from services.unrestrict_proxy.pool.readings import Readings
from services.unrestrict_proxy.pool.search import Search
from services.unrestrict_proxy.pool.serving import Platforms, Serving
from services.unrestrict_proxy.pool.sessions import Sessions
from services.unrestrict_proxy.pool.slots import Slot
from services.unrestrict_proxy.pool.upstream import CALL_SECONDS, Upstream
from services.unrestrict_proxy.pool.views import Account

REREAD_SECONDS = 3.0


class Lease(Struct, frozen=True, kw_only=True):
    """One slot of one account, for as long as it is kept every KEEP_SECONDS. `platform` is the account's, which for a
    multihost account is not the file's."""

    lease_id: UUID
    account_id: UUID
    platform: str
    link: DirectLink
    caps: Caps


def _utc() -> datetime:
    return datetime.now(UTC)


class Pool:
    """`adapters` are all platforms that there are. `now` is the clock; no call to a platform takes longer than
    `call_seconds`."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        store: EventStore,
        policy: EgressPolicy,
        secret_key: str,
        adapters: Sequence[Adapter],
        now: Callable[[], datetime] = _utc,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self.platforms = Platforms(adapters)
        self._pool = pool
        self._policy = policy
        self._now = now
        self._stack = AsyncExitStack()
        self._changes = Changes(pool, store)
        self._upstream = Upstream(policy, call_seconds)
        self._leases = Leases(pool, now)
        self._links = Links(pool, Sealer(secret_key, "host-link"), now)
        secrets, sessions = Sealer(secret_key, "host-account"), Sealer(secret_key, "host-session")
        self._sessions = Sessions(pool, self._changes, self._upstream, secrets, sessions, now)
        self._readings = Readings(pool, self._changes, self._sessions, self.platforms, now)

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._upstream)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def run(self) -> None:
        """Keeps the states of accounts fresh."""
        await self._readings.run()

    # ---- files -------------------------------------------------------------------------------------------------

    async def match(self, url: str) -> HostFile | None:
        """None when no account, in whatever standing, serves such links."""
        try:
            checked = check_link(url, self._policy)
        except BadLink:
            return None
        accounts = await self.accounts()
        file = self.platforms.match(checked, accounts)
        if file is None:
            unread = self.platforms.known(one for one in accounts if one.standing.state is None)
            # What a multihost account serves is only known once its list of hosts was read.
            if await self._readings.due(unread):
                file = self.platforms.match(checked, await self.accounts())
        return file

    async def check(self, file: HostFile, password: str | None = None) -> FileInfo:
        """Raises HostError, of scope `file` when the file is not to be had at all, and PoolShort."""
        search = await self._search(file)
        while True:
            one = (await search.candidates())[0]
            if not await search.may_ask(one):
                continue
            try:
                info = await self._sessions.call(one.account, one.adapter, calls.check(one.adapter, file))
            except HostError as error:
                await self._refused(search, one, error)
                continue
            await search.worked(one)
            if info.online == "offline":
                raise HostError("file", 104, "offline", "The file is not there.")
            if info.password_needed and password is None:
                raise HostError("file", 103, "password_needed", "The file needs a password.")
            return info

    async def open(self, holder: UUID, file: HostFile, password: str | None) -> Lease | NotYet:
        """A lease for this holder, the same again while it lasts. After NotYet the slot stays the holder's until it is
        worth asking again. Raises HostError, PoolShort and NoSlot."""
        search = await self._search(file)
        while True:
            kept = await self._links.of(file.ref, password)
            candidates = await search.candidates(frozenset(kept))
            slot = await self._leases.take(
                holder, file.ref, [(one.account.account_id, one.caps.slots) for one in candidates]
            )
            one = next(one for one in candidates if one.account.account_id == slot.account_id)
            if not await search.may_ask(one):
                await self._leases.free(slot.lease_id)
                continue
            try:
                found = await self._resolved(one, file, password, kept.get(slot.account_id))
            except HostError as error:
                await self._leases.free(slot.lease_id)
                await self._refused(search, one, error)
                continue
            await search.worked(one)
            if isinstance(found, Pending):
                await self._leases.keep(slot.lease_id, seconds=found.after + LEASE_SECONDS)
                return NotYet(after=found.after, fraction=found.fraction)
            if not await self._leases.keep(slot.lease_id):
                # It took so long that the slot is another's, or the holder's own who asked anew; the link is kept.
                raise NoSlot(KEEP_SECONDS)
            return Lease(
                lease_id=slot.lease_id,
                account_id=slot.account_id,
                platform=one.adapter.platform,
                link=_limited(found, one.account.max_chunks),
                caps=one.caps,
            )

    async def _search(self, file: HostFile) -> Search:
        """Nobody waits for the state of an account while there is another whose state is known."""
        search = Search(self._pool, self._changes, self.platforms, file, self._now)
        now = self._now()
        found = [(one.account, one.adapter) for one in await search.serving()]
        if not any(one.standing.state is not None and one.standing.usable(now) for one, _ in found):
            await self._readings.due(found)
        elif any(one.standing.due(now, adapter.caps.state_seconds) for one, adapter in found):
            self._readings.look()
        return search

    async def _refused(self, search: Search, one: Serving, error: HostError) -> None:
        if await search.refused(one, error):
            self._readings.look()

    async def _resolved(
        self, one: Serving, file: HostFile, password: str | None, kept: Kept | None
    ) -> DirectLink | Pending:
        if kept is not None and kept.link is not None:
            return kept.link
        call = calls.resolve(one.adapter, file, password, None if kept is None else kept.pending)
        try:
            found = await self._sessions.call(one.account, one.adapter, call)
        except HostError as error:
            if error.scope != "host":
                await self._links.forget(file.ref, one.account.account_id)
            raise
        await self._links.keep(file.ref, one.account.account_id, found, password, one.caps.link_seconds)
        return found

    # ---- leases ------------------------------------------------------------------------------------------------

    async def keep(self, lease_id: UUID) -> bool:
        """False when the slot is another's by now."""
        return await self._leases.keep(lease_id)

    async def close(
        self, lease_id: UUID, read: int, status: int | None, reason: str, retry_after: float | None = None
    ) -> None:
        """`status` is what the upstream answered instead of the bytes: an HTTP status, 0 for a broken connection or a
        wrong body, None when nothing was wrong; `retry_after` the seconds that it named. A lease that is another's by
        now is closed already."""
        slot = await self._leases.free(lease_id)
        if slot is None:
            return
        account = await self.account(slot.account_id)
        adapter = None if account is None else self.platforms.adapter(account.platform)
        if account is not None and adapter is not None:
            await self._judge(slot, account, adapter, read, status, reason, retry_after)

    async def _judge(
        self,
        slot: Slot,
        account: Account,
        adapter: Adapter,
        read: int,
        status: int | None,
        reason: str,
        retry_after: float | None,
    ) -> None:
        now = self._now()
        ref = LinkClass(platform=slot.platform, file_ref=slot.file_ref)
        servers = Way(adapter.platform, adapter.platform, "bytes")
        verdict = choice.blame(status, read, reason)
        if verdict == "nobody":
            after = await self._changes.standing(slot.account_id, lambda one: (standing.served(one, ref, read), []))
            if read > 0:
                await self._changes.breaker(servers, partial(breaker.worked, now=now))
            if after is not None and after.read_at is None:
                self._readings.look()
            return
        await self._links.forget(ref, slot.account_id)
        after = await self._changes.standing(slot.account_id, lambda one: (standing.spent(one, read), []))
        if verdict == "host":
            said = reason or f"HTTP {status}"
            await self._changes.breaker(servers, partial(breaker.failed, reason=said, retry_after=retry_after, now=now))
        if verdict in {"account", "access"}:
            limited = partial(standing.limited, status=status or 0, retry_after=retry_after, now=now)
            denied = partial(standing.denied, ref=ref, status=status or 0, now=now)
            after = await self._changes.standing(slot.account_id, limited if verdict == "account" else denied)
            if after is not None and after.read_at is None:
                await self._reread(msgspec.structs.replace(account, standing=after), adapter)

    async def _reread(self, account: Account, adapter: Adapter) -> None:
        """Before anybody asks again: it may be out, and the state says until when. One that takes its time comes later,
        as whoever closes a lease waits for this."""
        try:
            async with asyncio.timeout(REREAD_SECONDS):
                await self._readings.read(account, adapter)
        except TimeoutError:
            self._readings.look()

    # ---- platforms and accounts --------------------------------------------------------------------------------

    async def hosts(self) -> list[HostInfo]:
        """One row for each platform that an account serves."""
        now = self._now()
        async with self._pool.acquire() as conn:
            accounts = await views.accounts(conn, now)
            breakers = await views.breakers(conn)
        found = ((target, self.platforms.serving(target, accounts)) for target in self.platforms.targets(accounts))
        return [serving.described(target, served, breakers, now) for target, served in found if served]

    async def read(self, account_id: UUID) -> Account | None:
        """Ask for its state now, for its operator, and what is known then; None when there is no such account."""
        account = await self.account(account_id)
        adapter = None if account is None else self.platforms.adapter(account.platform)
        if account is None or adapter is None:
            return account
        since = self._now()
        await self._readings.read(account, adapter)
        await self._changes.standing(account_id, lambda one: standing.accepted(one, since, self._now()))
        return await self.account(account_id)

    def look(self) -> None:
        """There is a new account."""
        self._readings.look()

    async def account(self, account_id: UUID) -> Account | None:
        async with self._pool.acquire() as conn:
            return await views.account(conn, account_id, self._now())

    async def accounts(self) -> list[Account]:
        async with self._pool.acquire() as conn:
            return await views.accounts(conn, self._now())


def _limited(link: DirectLink, most: int | None) -> DirectLink:
    """The operator's word goes before that of the platform."""
    if most is None or link.max_chunks is None:
        return link
    return msgspec.structs.replace(link, max_chunks=min(link.max_chunks, most))
