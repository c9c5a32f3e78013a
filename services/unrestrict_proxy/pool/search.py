"""One look for an account that serves a file: who is left to be asked, and what each refusal means for the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import asyncpg
import structlog

from services.unrestrict_proxy.adapters.contract import HostError, HostFile
from services.unrestrict_proxy.pool import breaker, choice, standing, views
from services.unrestrict_proxy.pool.breaker import PROBE_SECONDS, Breaker, Way
from services.unrestrict_proxy.pool.changes import Changes
from services.unrestrict_proxy.pool.choice import Candidate
from services.unrestrict_proxy.pool.serving import Platforms, Serving, ways

log = structlog.get_logger()


class PoolShort(Exception):
    """Every account that could serve the file is out for now (107). `retry_after` in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("no account can serve this file now")
        self.retry_after = retry_after


class Search:
    """Of one file. Accounts and services that failed during it are not asked again within it."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        changes: Changes,
        platforms: Platforms,
        file: HostFile,
        now: Callable[[], datetime],
    ) -> None:
        self.target = platforms.target(file.ref.platform)
        self._pool = pool
        self._changes = changes
        self._platforms = platforms
        self._file = file
        self._now = now
        self._tried: set[UUID] = set()
        self._away: dict[str, HostError] = {}
        """Services that do not serve this file now, with what they said."""
        self._breakers: dict[Way, Breaker] = {}

    async def serving(self) -> list[Serving]:
        """Whatever their standing."""
        async with self._pool.acquire() as conn:
            accounts = await views.accounts(conn, self._now())
        return self._platforms.serving(self.target, accounts)

    async def candidates(self, prepared: frozenset[UUID] = frozenset()) -> list[Serving]:
        """Who is to be asked, the best first, at least one. `prepared` are accounts that have a link to the file.
        Raises PoolShort, or the HostError of the platform when it is that which is out."""
        serving = await self.serving()
        async with self._pool.acquire() as conn:
            self._breakers = await views.breakers(conn)
        now = self._now()
        platform, domains = self.target.platform, self.target.domains
        usable = [
            one
            for one in serving
            if one.account.account_id not in self._tried and one.account.standing.usable(now, platform, domains)
        ]
        open_ = [one for one in usable if one.adapter.platform not in self._away and self._admits(one, now)]
        if not open_ and usable:
            raise self._platform_out(usable, now)
        if not open_:
            raise PoolShort(choice.retry_after((one.account.standing for one in serving), platform, domains, now))
        by_id = {one.account.account_id: one for one in open_}
        found = [
            Candidate(
                standing=one.account.standing,
                origin=one.origin,
                slots=one.caps.slots,
                leases=one.account.leases,
                prepared=one.account.account_id in prepared,
                doubtful=one.account.standing.doubts_of(self._file.ref, now),
            )
            for one in open_
        ]
        return [by_id[one.account_id] for one in choice.ranked(found, domains)]

    def _between(self, one: Serving) -> list[Breaker]:
        found = (self._breakers.get(way) for way in ways(one.adapter.platform, self.target.platform))
        return [breaker for breaker in found if breaker is not None]

    def _admits(self, one: Serving, now: datetime) -> bool:
        return all(breaker.admits(now) != "none" for breaker in self._between(one))

    def _platform_out(self, usable: Sequence[Serving], now: datetime) -> HostError:
        for one in usable:
            if (said := self._away.get(one.adapter.platform)) is not None:
                return said
        until = [end for one in usable for b in self._between(one) if (end := b.open_until) is not None and end > now]
        return _out(self.target.name, max((min(until) - now).total_seconds(), 1.0) if until else PROBE_SECONDS)

    async def may_ask(self, one: Serving) -> bool:
        """Of a platform that failed, only one asks at a time whether it works again."""
        now = self._now()
        for half_open in self._between(one):
            if half_open.admits(now) == "all":
                continue
            async with self._pool.acquire() as conn:
                until = now + timedelta(seconds=PROBE_SECONDS)
                if not await views.claim_probe(conn, half_open.way, now, until):
                    self._away[one.adapter.platform] = _out(self.target.name, PROBE_SECONDS)
                    return False
        return True

    async def worked(self, one: Serving) -> None:
        """Its interface did. What its links are worth is only known when their bytes were fetched."""
        now = self._now()
        for failing in self._between(one):
            if failing.way.what == "calls":
                await self._changes.breaker(failing.way, partial(breaker.worked, now=now))
        if one.account.standing.recovers(now):
            await self._changes.standing(one.account.account_id, partial(standing.recovered, now=now))

    async def refused(self, one: Serving, error: HostError) -> bool:
        """Whether the account's state is to be read. Raises the error where it is no use to ask others."""
        now = self._now()
        via = one.adapter.platform
        if error.status == 106:
            await log.awarning(
                "host.unknown_answer", platform=via, code=error.code, reason=error.message, detail=error.detail
            )
        if error.scope == "account":
            self._tried.add(one.account.account_id)
            after = await self._changes.standing(
                one.account.account_id,
                partial(standing.failed, error=error, file_platform=self.target.platform, now=now),
                secret=one.account.sealed_secret,
            )
            return after is not None and after.read_at is None and not after.broken
        if error.scope == "host":
            self._away[via] = error
            way = Way(via, self.target.platform if error.narrow else via)
            await self._changes.breaker(
                way, partial(breaker.failed, reason=error.message, retry_after=error.retry_after, now=now)
            )
            return False
        if error.status == 101 and one.origin != "native":
            # That one service does not do this link says nothing of the others.
            self._away[via] = error
            return False
        raise error


def _out(name: str, retry_after: float) -> HostError:
    return HostError("host", 105, "breaker_open", f"{name} does not work at the moment.", retry_after=retry_after)
