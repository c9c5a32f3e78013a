"""Our own HTTP engine: one file behind one link, resumed, validated and hashed while it is written."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import aiohttp
from yarl import URL

from libs.egress.links import BadLink, check_link
from libs.egress.policy import EgressPolicy
from proto.job import EngineName
from services.job.engines import Fetch, FetchedFile, Observer
from services.job.engines.answers import classified, failed, redirected
from services.job.engines.download import Download, Limits
from services.job.engines.partial import LockedByAnother, NoRoom, Partial

REDIRECTS = 5
CONNECT_SECONDS = 20.0
STALL_SECONDS = 60.0
READ_BUFFER = 64 * 1024
"""Small on purpose: bytes that wait in memory that is warm cost less than bytes that wait."""
KEY = "http"
"""A direct link has one item."""
USER_AGENT = "Mozilla/5.0 (compatible; Longshore)"

_HEADERS = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class HttpEngine:
    name: EngineName = "http"

    def __init__(
        self, policy: EgressPolicy, limits: Limits | None = None, stall_seconds: float = STALL_SECONDS
    ) -> None:
        self._policy = policy
        self._limits = limits or Limits()
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=stall_seconds)
        self._connector: aiohttp.TCPConnector | None = None

    async def __aenter__(self) -> Self:
        self._connector = self._policy.connector(limit=0, ttl_dns_cache=None, use_dns_cache=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._connector is not None:
            await self._connector.close()

    async def fetch(self, fetch: Fetch, observer: Observer) -> None:
        """A page or a manifest raises EngineFailed with code `not_mine`, unless this engine was asked for by name."""
        if KEY in fetch.known:
            await observer.skipped(KEY)
            return
        try:
            async with self._session() as source, Partial(fetch.work / "http.part") as partial:
                await Download(source, fetch, observer, partial, self._limits).run()
                assert partial.identity is not None
                await observer.finished(
                    FetchedFile(
                        key=KEY,
                        path=partial.path,
                        name=partial.identity.name,
                        size=partial.done,
                        sha256=await partial.digest(),
                        media_type=partial.identity.media_type,
                    )
                )
        except LockedByAnother as error:
            raise failed("transient", "still_running", "an earlier attempt still writes this file") from error
        except NoRoom as error:
            raise failed("transient", "disk_full", "there is no room for this file") from error
        except OSError as error:
            if error.errno in _FULL:
                raise failed("transient", "disk_full", "there is no room for this file") from error
            if error.errno is None:
                raise  # a deadline of the observer's
            raise failed("transient", "io_error", "the file can not be written") from error

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Source]:
        """Cookies of its own for each download: some hosts hand out the file only to who kept the first answer's."""
        assert self._connector is not None
        async with aiohttp.ClientSession(
            connector=self._connector,
            connector_owner=False,
            timeout=self._timeout,
            auto_decompress=False,
            read_bufsize=READ_BUFFER,
            headers=_HEADERS,
        ) as session:
            yield Source(session, self._policy)


class Source:
    """The way to the bytes of one link."""

    def __init__(self, session: aiohttp.ClientSession, policy: EgressPolicy) -> None:
        self._session = session
        self._policy = policy

    @asynccontextmanager
    async def open(self, url: str, headers: dict[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """GET with redirects that are each checked like the first link. Raises EngineFailed."""
        for _ in range(REDIRECTS + 1):
            try:
                url = check_link(url, self._policy)
            except BadLink as bad:
                raise failed("permanent", "egress_refused", str(bad)) from bad
            target = URL(url, encoded=True).with_fragment(None)  # spelt as it came: signatures cover the spelling
            try:
                response = await self._session.get(target, headers=headers, allow_redirects=False)
            except (aiohttp.ClientError, OSError) as error:
                raise classified(error) from error
            async with response:
                location = redirected(response, url)
                if location is None:
                    yield response
                    return
                url = location
        raise failed("content", "too_many_redirects", "the link is redirected too often")
