"""Which links are file hosts', as the unrestrict service says, and the leases under which their bytes are fetched."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar, overload
from urllib.parse import urlsplit

import structlog
from msgspec import Struct

from libs.message import Command, Query, Refusal, Refused
from proto.job import EngineName, FailureKind, Options
from proto.unrestrict_proxy import (
    CloseLease,
    HostCapReached,
    HostInfo,
    HostRefused,
    KeepLease,
    ListHosts,
    NotYet,
    Opened,
    OpenLink,
    TooManyAtOnce,
    TrafficShort,
)
from services.job.engines import EngineFailed, Fetch
from services.job.engines.answers import failed

log = structlog.get_logger()
R = TypeVar("R")

LIST_SECONDS = 30.0
"""How long a list of hosts is good when nobody says that it changed."""
ASK_SECONDS = 30.0
"""A platform may be asked several things before a link is opened."""
PATIENCE_SECONDS = 60.0
PREPARE_SECONDS = 3600.0
"""How long a platform may take to make a file ready."""

Next = Callable[[str, Options], Awaitable[list[EngineName]]]


class Asker(Protocol):
    """Asks until there is an answer. Raises Refused at once, TimeoutError after `patience` seconds without one."""

    @overload
    async def send(
        self, command: Command | Query, result: type[R], timeout: float = ..., patience: float = ...
    ) -> R: ...
    @overload
    async def send(self, command: Command, *, patience: float = ...) -> None: ...


class HostTable:
    """Sends links of hosts that somebody has an account for to the engine that asks for them. Without accounts, and
    while nobody can say which there are, every link goes the way it would go anyway."""

    def __init__(self, asker: Asker, others: Next) -> None:
        self._asker = asker
        self._others = others
        self._domains: frozenset[str] = frozenset()
        self._until = 0.0
        self._turn = asyncio.Lock()

    async def route(self, url: str, options: Options) -> list[EngineName]:
        if options.engine is None and _within(urlsplit(url).hostname or "", await self._known()):
            return ["unrestrict", *await self._others(url, options)]
        return await self._others(url, options)

    def forget(self) -> None:
        """The next link asks anew."""
        self._until = 0.0

    async def _known(self) -> frozenset[str]:
        async with self._turn:
            if time.monotonic() >= self._until:
                try:
                    hosts = await self._asker.send(ListHosts(), list[HostInfo], patience=5.0)
                    self._domains = frozenset(domain for one in hosts for domain in one.domains)
                except (TimeoutError, Refused) as error:
                    await log.awarning("hosts.unknown", reason=type(error).__name__)
                self._until = time.monotonic() + LIST_SECONDS
        return self._domains


def _within(host: str, domains: frozenset[str]) -> bool:
    labels = host.lower().rstrip(".").split(".")
    return any(".".join(labels[index:]) in domains for index in range(len(labels) - 1))


class Ending(Struct, frozen=True):
    """How a lease's link ended: well, or with this status, after which the host named so many seconds to wait."""

    status: int | None = None
    reason: str = ""
    retry_after: int | None = None


class Leases:
    """Takes, keeps and gives back the right to fetch one job's file."""

    def __init__(self, asker: Asker, fetch: Fetch) -> None:
        self._asker = asker
        self._fetch = fetch

    async def take(self, have: int) -> Opened:
        """For a file of which so many bytes are there. Waits while the platform prepares it. Raises EngineFailed."""
        fetch = self._fetch
        command = OpenLink(owner=fetch.owner, job_id=fetch.job_id, attempt=fetch.attempt, url=fetch.url, have=have)
        try:
            async with asyncio.timeout(PREPARE_SECONDS):
                while True:
                    answer = await self._ask(command)
                    if isinstance(answer, Opened):
                        return answer
                    await asyncio.sleep(answer.after)  # the pace that the platform asks for
        except TimeoutError as error:
            raise failed("transient", "host_105", "the host does not make the file ready") from error

    async def keep(self, lease: Opened, read: Callable[[], int]) -> None:
        """Until it is another's."""
        while True:
            await asyncio.sleep(lease.keep_every)  # the pace that the owner of leases asks for
            try:
                kept = await self._asker.send(KeepLease(lease_id=lease.lease_id, read=read()), bool)
            except (Refused, TimeoutError):
                return
            if not kept:
                return

    async def give_back(self, lease: Opened, read: int, ending: Ending) -> None:
        """One that can not be given back now runs out by itself."""
        close = CloseLease(
            lease_id=lease.lease_id,
            read=read,
            status=ending.status,
            reason=ending.reason[:500],
            retry_after=ending.retry_after,
        )
        try:
            await self._asker.send(close, patience=5.0)
        except (Refused, TimeoutError) as error:
            await log.awarning("lease.not_closed", reason=type(error).__name__)

    async def _ask(self, command: OpenLink) -> Opened | NotYet:
        either: Any = Opened | NotYet  # a union is no type to the type checker
        try:
            answer: Opened | NotYet = await self._asker.send(command, either, ASK_SECONDS, PATIENCE_SECONDS)
        except Refused as refused:
            raise _failure(refused.refusal) from refused
        except TimeoutError as error:
            raise failed("transient", "host_106", "nobody can open links of file hosts now") from error
        return answer


def _failure(refusal: Refusal) -> EngineFailed:
    """The number in a code is the one of the table that download managers know."""
    match refusal:
        case HostRefused(status=status, retry_after=wait):
            kind: FailureKind = "rate_limited" if status == 107 else "content" if status < 105 else "transient"
            return failed(kind, f"host_{status}", refusal.message, _at(wait))
        case TrafficShort():
            return failed("content", "host_52", refusal.message)
        case HostCapReached():
            return failed("rate_limited", "host_54", refusal.message, _at(refusal.retry_after))
        case TooManyAtOnce():
            return failed("rate_limited", "host_55", refusal.message, _at(refusal.retry_after))
    return failed("content", "not_mine", refusal.message)


def _at(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)
