"""Our own HTTP engine: one file behind one link, resumed, validated and hashed while it is written."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookiejar import Cookie, LoadError, MozillaCookieJar
from http.cookies import Morsel
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from libs.egress.links import BadLink, check_link
from libs.egress.policy import EgressPolicy
from proto.job import EngineName
from services.job.engines import Fetch, FetchedFile, Observer
from services.job.engines.answers import classified, failed, identity, redirected
from services.job.engines.download import NOT_MINE, Download, Limits
from services.job.engines.options import shapes_media
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
_ANYWHERE = frozenset({"Range", "If-Range"})
"""Headers that follow a redirect to another server; credentials are for the one that they were given for."""
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
        """A page or a manifest raises EngineFailed with code `not_mine`, unless this engine was asked for by name. So
        does a film or a sound that is to be made into another than the server has."""
        if KEY in fetch.known:
            await observer.skipped(KEY)
            return
        leave = shapes_media(fetch.options) and fetch.options.engine is None
        async with writing(fetch.work / "http.part") as partial:
            jar = _jar(await asyncio.to_thread(_cookies, fetch.cookies) if fetch.cookies is not None else [])
            async with self.session(jar, leave_media=leave) as source:
                await Download(source, fetch, observer, partial, self._limits).run()
                facts = await _facts(fetch, partial) if fetch.options.sidecars else None
                await observer.finished(await whole_file(KEY, partial))
                if facts is not None:
                    await observer.finished(facts)

    @asynccontextmanager
    async def session(self, jar: aiohttp.CookieJar, *, leave_media: bool = False) -> AsyncIterator[Source]:
        """Cookies of its own for each download: some hosts hand out the file only to who kept the first answer's."""
        assert self._connector is not None
        async with aiohttp.ClientSession(
            connector=self._connector,
            connector_owner=False,
            timeout=self._timeout,
            auto_decompress=False,
            read_bufsize=READ_BUFFER,
            headers=_HEADERS,
            cookie_jar=jar,
        ) as session:
            yield Source(session, self._policy, leave_media=leave_media)


@asynccontextmanager
async def writing(path: Path) -> AsyncIterator[Partial]:
    """The partial file at `path`; what the disk refuses meanwhile becomes EngineFailed."""
    try:
        async with Partial(path) as partial:
            yield partial
    except LockedByAnother as error:
        raise failed("transient", "still_running", "an earlier attempt still writes this file") from error
    except NoRoom as error:
        raise failed("transient", "disk_full", str(error)) from error
    except OSError as error:
        if error.errno in _FULL:
            raise failed(
                "transient", "disk_full", "there is no room for this file: the disk is full; make room on it"
            ) from error
        if error.errno is None:
            raise  # a deadline of the observer's
        raise failed("transient", "io_error", "the file can not be written") from error


async def whole_file(key: str, partial: Partial) -> FetchedFile:
    assert partial.identity is not None
    return FetchedFile(
        key=key,
        path=partial.path,
        name=partial.identity.name,
        size=partial.done,
        sha256=await partial.digest(),
        media_type=partial.identity.media_type,
    )


def _cookies(file: Path) -> list[Cookie]:
    """Of a Netscape cookie file. Raises EngineFailed when it is none."""
    known = MozillaCookieJar(file)
    try:
        known.load(ignore_discard=True)
    except LoadError as error:
        raise failed("permanent", "bad_cookies", "the cookies of this site can not be read") from error
    return list(known)


def _jar(cookies: list[Cookie]) -> aiohttp.CookieJar:
    jar = aiohttp.CookieJar(unsafe=True)  # what an address set goes back to that address
    for one in cookies:
        morsel: Morsel[str] = Morsel()
        morsel.set(one.name, one.value or "", one.value or "")
        morsel["path"], morsel["secure"] = one.path, one.secure
        if one.domain.startswith("."):
            morsel["domain"] = one.domain
        jar.update_cookies({one.name: morsel}, URL(f"https://{one.domain.lstrip('.')}/"))
    return jar


class Source:
    """The way to the bytes of one link."""

    def __init__(self, session: aiohttp.ClientSession, policy: EgressPolicy, *, leave_media: bool = False) -> None:
        """`leave_media`: films and sounds are somebody else's."""
        self._session = session
        self._policy = policy
        self._leave_media = leave_media

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
                    if self._leave_media and response.status in {200, 206} and _is_media(response, url):
                        raise failed("content", NOT_MINE, "the link leads to a film or a sound")
                    yield response
                    return
                if urlsplit(location)[:2] != urlsplit(url)[:2]:
                    headers = {name: value for name, value in headers.items() if name in _ANYWHERE}
                url = location
        raise failed("content", "too_many_redirects", "the link is redirected too often")


def _is_media(response: aiohttp.ClientResponse, url: str) -> bool:
    return identity(url, response).media_type.startswith(("video/", "audio/"))


async def _facts(fetch: Fetch, partial: Partial) -> FetchedFile:
    """What the server said of the file, as JSON."""
    found = partial.identity
    assert found is not None
    path = fetch.work / "http.json"
    facts = {
        "url": fetch.url,
        "name": found.name,
        "media_type": found.media_type,
        "size": partial.done,
        "sha256": await partial.digest(),
        "etag": found.etag,
        "last_modified": found.last_modified,
    }
    path.write_text(json.dumps(facts, ensure_ascii=False, indent=1), "utf-8")
    return FetchedFile(
        key=f"{KEY} metadata",
        path=path,
        name=f"{found.name}.json",
        size=path.stat().st_size,
        media_type="application/json",
    )
