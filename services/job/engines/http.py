"""Our own HTTP engine: one file behind one link, resumed, validated and hashed while it is written."""

from __future__ import annotations

import asyncio
import errno
import mimetypes
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.message import Message as Headers
from email.utils import parsedate_to_datetime
from typing import Self
from urllib.parse import unquote, urljoin, urlsplit

import aiohttp

from libs.egress.links import BadLink, check_link
from libs.egress.policy import EgressPolicy, refusal
from proto.job import EngineName, Failure, FailureKind
from services.job.engines import EngineFailed, Fetch, FetchedFile, Observer
from services.job.engines.partial import Identity, LockedByAnother, Partial

REDIRECTS = 5
RESUMES = 8
"""Connections that may break one after the other while each brings new bytes."""
CONNECT_SECONDS = 20.0
STALL_SECONDS = 60.0
BUFFER = 1024 * 1024
PROGRESS_SECONDS = 0.1
KEY = "http"
"""A direct link has one item."""
NOT_MINE = "not_mine"
USER_AGENT = "Mozilla/5.0 (compatible; Longshore)"

_PAGES = frozenset({"text/html", "application/xhtml+xml"})
_MANIFESTS = frozenset({"application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "audio/x-mpegurl",
                        "application/dash+xml", "application/rss+xml", "application/atom+xml"})
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_TOKEN = re.compile(r"[\w!#$&^.+-]{1,60}/[\w!#$&^.+-]{1,60}")


class HttpEngine:
    name: EngineName = "http"

    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=STALL_SECONDS)
        self._session = aiohttp.ClientSession(
            connector=self._policy.connector(limit=0, ttl_dns_cache=None, use_dns_cache=False), timeout=timeout,
            auto_decompress=False, read_bufsize=BUFFER, cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"})
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def fetch(self, fetch: Fetch, observer: Observer) -> None:
        """A page or a manifest raises EngineFailed with code `not_mine`, unless this engine was asked for by name."""
        if KEY in fetch.known:
            await observer.skipped(KEY)
            return
        try:
            async with Partial(fetch.work / "http.part") as partial:
                download = _Download(self, fetch, observer, partial)
                await download.run()
                await observer.finished(FetchedFile(
                    key=KEY, path=partial.path, name=download.file_name, size=partial.offset,
                    sha256=await partial.digest(), media_type=download.media_type))
        except LockedByAnother as error:
            raise _failed("transient", "still_running", "an earlier attempt still writes this file") from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise _failed("transient", "disk_full", "there is no room for this file") from error
            raise

    @asynccontextmanager
    async def open(self, url: str, headers: dict[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """GET with redirects that are each checked like the first link. Raises EngineFailed."""
        assert self._session is not None
        for _ in range(REDIRECTS + 1):
            try:
                check_link(url, self._policy)
            except BadLink as bad:
                raise _failed("permanent", "egress_refused", str(bad)) from bad
            try:
                response = await self._session.get(url, headers=headers, allow_redirects=False)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise _classified(error) from error
            async with response:
                location = response.headers.get("Location")
                if response.status not in (301, 302, 303, 307, 308) or not location:
                    yield response
                    return
                url = urljoin(url, location)
        raise _failed("content", "too_many_redirects", "the link is redirected too often")


class _Download:
    def __init__(self, engine: HttpEngine, fetch: Fetch, observer: Observer, partial: Partial) -> None:
        self._engine = engine
        self._fetch = fetch
        self._observer = observer
        self._partial = partial
        self._told = False
        self._total: int | None = None
        self._clock = _Speed(partial.offset)
        self.file_name = "download"
        self.media_type = "application/octet-stream"

    async def run(self) -> None:
        empty_handed = 0
        for _ in range(RESUMES * 4):
            before = self._partial.offset
            try:
                if await self._stream():
                    return
            except EngineFailed as failed:
                if failed.failure.kind != "transient" or failed.failure.code != "connection_lost":
                    raise
                last = failed
            else:
                last = _failed("transient", "incomplete", "the file ended before its announced length")
            empty_handed = 0 if self._partial.offset > before else empty_handed + 1
            if empty_handed >= 1 or not self._resumable():
                raise last
        raise _failed("transient", "connection_lost", "the connection broke too often")

    def _resumable(self) -> bool:
        identity = self._partial.identity
        return identity is not None and identity.validator is not None

    async def _stream(self) -> bool:
        """One connection; whether the file is whole after it."""
        partial, headers = self._partial, {}
        known = partial.identity
        if partial.offset and known is not None and known.url == self._fetch.url and known.validator:
            headers = {"Range": f"bytes={partial.offset}-", "If-Range": known.validator}
        async with self._engine.open(self._fetch.url, headers) as response:
            if response.status == 416 and headers:
                if response.headers.get("Content-Range") == f"bytes */{partial.offset}":
                    self._describe(response)
                    return True
                await partial.begin(Identity(url=self._fetch.url, size=None, etag=None, last_modified=None))
                return False
            _raise_for(response)
            self._refuse_pages(response)
            self._describe(response)
            if response.status == 206 and headers:
                self._check_range(response)
            else:
                await partial.begin(_identity(self._fetch.url, response))
                self._total = _length(response)
            if not self._told:
                self._told = True
                await self._observer.resolved(title=self.file_name, total=self._total, items_total=1)
            await self._receive(response)
        return self._total is None or partial.offset == self._total

    def _check_range(self, response: aiohttp.ClientResponse) -> None:
        match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != self._partial.offset:
            raise _failed("transient", "wrong_range", "the server sent another part than was asked for")
        self._total = int(match[3]) if match[3] != "*" else None

    def _refuse_pages(self, response: aiohttp.ClientResponse) -> None:
        kind = response.content_type.lower()
        attached = response.headers.get("Content-Disposition", "").lower().startswith("attachment")
        if self._fetch.options.engine == "http" or attached:
            return
        if kind in _PAGES or kind in _MANIFESTS:
            raise _failed("content", NOT_MINE, f"the link leads to a page ({kind}), not to a file")

    async def _receive(self, response: aiohttp.ClientResponse) -> None:
        buffer = bytearray()
        limit = self._fetch.rate
        started = time.monotonic()
        received = 0
        try:
            async for chunk in response.content.iter_any():
                buffer += chunk
                received += len(chunk)
                if len(buffer) >= BUFFER:
                    await self._partial.append(buffer)
                    buffer = bytearray()
                    self._report()
                if limit and (ahead := received / limit - (time.monotonic() - started)) > 0:
                    await asyncio.sleep(ahead)  # the rate that was asked for
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise _classified(error) from error
        finally:
            # Also when cancelled: what came is kept for the attempt after this one.
            if buffer:
                await asyncio.shield(self._partial.append(buffer))
        self._report(last=True)

    def _report(self, *, last: bool = False) -> None:
        done = self._partial.offset
        if last or self._clock.due():
            speed = self._clock.speed(done)
            left = None if self._total is None or not speed else max(0, self._total - done) // speed
            self._observer.progress(done=done, total=self._total, speed=speed, eta=left, items_total=1,
                                    current=self.file_name)

    def _describe(self, response: aiohttp.ClientResponse) -> None:
        self.file_name = _file_name(response)
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if not _TOKEN.fullmatch(kind) or kind in ("application/octet-stream", "binary/octet-stream"):
            kind = mimetypes.guess_type(self.file_name)[0] or "application/octet-stream"
        self.media_type = kind


class _Speed:
    """Bytes per second over about the last second."""

    def __init__(self, offset: int) -> None:
        self._mark = (time.monotonic(), offset)
        self._told = 0.0
        self._value = 0

    def due(self) -> bool:
        now = time.monotonic()
        if now - self._told < PROGRESS_SECONDS:
            return False
        self._told = now
        return True

    def speed(self, done: int) -> int:
        now = time.monotonic()
        elapsed = now - self._mark[0]
        if elapsed >= 1.0 or not self._value:
            self._value = int((done - self._mark[1]) / elapsed) if elapsed > 0 else 0
            self._mark = (now, done)
        return self._value


def _identity(url: str, response: aiohttp.ClientResponse) -> Identity:
    return Identity(url=url, size=_length(response), etag=response.headers.get("ETag"),
                    last_modified=response.headers.get("Last-Modified"))


def _length(response: aiohttp.ClientResponse) -> int | None:
    return response.content_length if response.status == 200 else None


def _file_name(response: aiohttp.ClientResponse) -> str:
    """A hint from the header (RFC 6266) or the path; storage makes it safe."""
    header = Headers()
    header["Content-Disposition"] = response.headers.get("Content-Disposition", "").replace("\r", " ").replace("\n", " ")
    named = header.get_filename() or unquote(urlsplit(str(response.url)).path.rsplit("/", 1)[-1])
    return named.replace("\\", "/").rsplit("/", 1)[-1].strip() or "download"


_STATUS: dict[int, tuple[FailureKind, str, str]] = {
    401: ("auth_required", "auth_required", "the server asks for a login"),
    403: ("content", "forbidden", "the server refuses this link"),
    404: ("content", "gone", "there is nothing behind this link"),
    408: ("transient", "http_408", "the server was too slow"),
    410: ("content", "gone", "what was behind this link is gone"),
    416: ("transient", "wrong_range", "the server refused to go on where we were"),
    425: ("transient", "http_425", "the server is not ready"),
    451: ("content", "gone", "what was behind this link was taken down"),
}


def _raise_for(response: aiohttp.ClientResponse) -> None:
    status = response.status
    if status in (200, 206):
        return
    if status == 429 or (status == 503 and "Retry-After" in response.headers):
        raise EngineFailed(Failure(kind="rate_limited", code=f"http_{status}", message="the server asks to wait",
                                   retry_at=_retry_after(response.headers.get("Retry-After"))))
    if status >= 500:
        raise _failed("transient", f"http_{status}", f"the server answers with error {status}")
    raise _failed(*_STATUS.get(status, ("content", f"http_{status}", f"the server answers with status {status}")))


def _retry_after(value: str | None) -> datetime | None:
    """Seconds or an HTTP date; None for anything else."""
    if value is None:
        return None
    now = datetime.now(UTC)
    if value.strip().isdecimal():
        return now + timedelta(seconds=min(int(value), 10_000_000))
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _classified(error: BaseException) -> EngineFailed:
    if (refused := refusal(error)) is not None:
        return _failed("permanent", "egress_refused", refused)
    if isinstance(error, (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError)):
        return _failed("content", "bad_certificate", "the server's certificate is not valid")
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError)) and not isinstance(
            error, aiohttp.SocketTimeoutError):
        return _failed("host_down", "unreachable", "the server can not be reached")
    if isinstance(error, (aiohttp.InvalidURL, aiohttp.ClientResponseError)):
        return _failed("content", "bad_answer", "the server's answer can not be read")
    return _failed("transient", "connection_lost", "the connection was lost")


def _failed(kind: FailureKind, code: str, message: str) -> EngineFailed:
    return EngineFailed(Failure(kind=kind, code=code, message=message))
