"""The engine of file hosts: the http engine's downloads, through links that the unrestrict service opens.

When a link dies half way, another is opened, perhaps on another account, and the download goes on where it was.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import aiohttp

from proto.job import EngineName
from proto.storage import NOT_KEPT
from proto.unrestrict_proxy import Opened
from services.job.engines import EngineFailed, Fetch, Observer
from services.job.engines.answers import LOST, failed, retry_after
from services.job.engines.download import NOT_MINE, Download, Limits
from services.job.engines.hosting import Asker, Ending, Leases
from services.job.engines.http import HttpEngine, Source, whole_file, writing
from services.job.engines.partial import BLOCK, NoRoom, Partial
from services.job.engines.readers import Readers

KEY = "host"
"""A file host's link has one item."""
LINKS = 5
"""Links that may be opened in a row without one of them bringing a byte."""
UNANSWERED = frozenset({LOST, "unreachable", "incomplete", "lease_lost"})
"""What ends a link though nobody answered so: a refusal that a helping connection had before is not the reason."""
GIVE_BACK_SECONDS = 6.0
CHUNKS = 16
SPLIT_FROM = 8 * BLOCK


class UnrestrictEngine:
    name: EngineName = "unrestrict"

    def __init__(self, asker: Asker, http: HttpEngine) -> None:
        self._asker = asker
        self._http = http
        self._readers: dict[UUID, Readers] = {}

    def awaited(self, job_id: UUID, at: int) -> None:
        """Somebody who reads the job's file along waits for this byte."""
        readers = self._readers.get(job_id)
        if readers is not None:
            readers.wait_at(at)

    async def fetch(self, fetch: Fetch, observer: Observer) -> None:
        """A link that no account serves raises EngineFailed with code `not_mine`."""
        if KEY in fetch.known:
            await observer.skipped(KEY)
            return
        leases = Leases(self._asker, fetch)
        async with writing(fetch.work / "host.part") as partial, self._reading(fetch.job_id):
            left = LINKS
            while True:
                before = partial.done
                lost = await self._through(leases, fetch, observer, partial)
                if lost is None:
                    break
                left = LINKS if partial.done > before else left - 1
                if not left or lost.failure.kind == "permanent":
                    raise lost
            await observer.finished(await whole_file(KEY, partial))

    @asynccontextmanager
    async def _reading(self, job_id: UUID) -> AsyncIterator[None]:
        self._readers[job_id] = mine = Readers()
        try:
            yield
        finally:
            if self._readers.get(job_id) is mine:
                del self._readers[job_id]

    async def _through(self, leases: Leases, fetch: Fetch, observer: Observer, partial: Partial) -> EngineFailed | None:
        """What ended this link, None when the file is whole. Raises EngineFailed for what no other link would mend."""
        lease = await leases.take(partial.done)
        before, ending = partial.done, Ending()
        try:
            async with self._http.session(aiohttp.CookieJar()) as inner:
                source = Leased(inner, lease)
                ended = await self._download(leases, lease, source, fetch, observer, partial)
            if isinstance(ended, EngineFailed) and ended.failure.code != NOT_KEPT:
                code = ended.failure.code
                ending = Ending(0, code) if code in UNANSWERED else Ending(source.status, code, source.retry_after)
                return _passing(ended)
            if ended is not None:
                raise ended
            return None
        finally:
            async with asyncio.timeout(GIVE_BACK_SECONDS):
                await leases.give_back(lease, max(0, partial.done - before), ending)

    async def _download(
        self, leases: Leases, lease: Opened, source: Leased, fetch: Fetch, observer: Observer, partial: Partial
    ) -> Exception | None:
        limits = Limits(connections=min(CHUNKS, lease.max_chunks), split_from=SPLIT_FROM)
        before = partial.done
        readers = self._readers[fetch.job_id] if lease.early else None
        if lease.early:
            partial.share()
        download = Download(
            source, fetch, observer, partial, limits, size=lease.size, by_size=lease.resumable, readers=readers
        )
        async with asyncio.TaskGroup() as tasks:
            fetching = tasks.create_task(_outcome(download))
            keeping = tasks.create_task(leases.keep(lease, lambda: partial.done - before))
            await asyncio.wait({fetching, keeping}, return_when=asyncio.FIRST_COMPLETED)
            kept = not keeping.done()
            fetching.cancel()
            keeping.cancel()
        if not kept and fetching.cancelled():
            return failed("transient", "lease_lost", "the account's slot went to another")
        return fetching.result()


def _passing(lost: EngineFailed) -> EngineFailed:
    """A link's end says nothing of the file: the host itself was asked for that when the link was opened."""
    failure = lost.failure
    if failure.kind not in {"content", "auth_required"}:
        return lost
    message = "the host sent a page instead of the file" if failure.code == NOT_MINE else failure.message
    return failed("transient", "host_106", message)


async def _outcome(download: Download) -> Exception | None:
    """As a value: a group would wrap it."""
    try:
        await download.run()
    except (EngineFailed, NoRoom, OSError) as error:
        return error
    return None


class Leased:
    """Opens a lease's link whatever is asked for, and remembers with which status it was refused and for how long."""

    def __init__(self, inner: Source, lease: Opened) -> None:
        self.status = 0
        self.retry_after: int | None = None
        self._inner = inner
        self._lease = lease

    @asynccontextmanager
    async def open(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """Raises EngineFailed."""
        del url  # the file's name at its host
        async with self._inner.open(self._lease.url, {**self._lease.headers, **headers}) as response:
            if response.status not in {200, 206}:
                self.status = response.status
                self.retry_after = _seconds(response.headers.get("Retry-After"))
            yield response


def _seconds(value: str | None) -> int | None:
    now = datetime.now(UTC)
    until = retry_after(value, now)
    return None if until is None else math.ceil((until - now).total_seconds())
