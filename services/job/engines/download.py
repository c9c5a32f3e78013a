"""One download: from the first answer to the last byte, over as many connections as it takes."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import aiohttp
import msgspec
from msgspec import Struct

from libs.egress.rate import LOOK_SECONDS, Rate
from libs.names import unkept
from services.job.engines import EngineFailed, Fetch, Observer, not_kept
from services.job.engines.answers import (
    LOST,
    classified,
    coding,
    failed,
    identity,
    part,
    place,
    raise_for,
    same_version,
    unsatisfied,
)
from services.job.engines.body import Body, Inflated
from services.job.engines.manifest import Identity
from services.job.engines.partial import BLOCK, Partial
from services.job.engines.ranges import Range, Ranges
from services.job.engines.readers import Readers

RESUMES = 5
"""Connections that may break in a row while each brings new bytes; one that brought REFILL gives all of them back."""
REFILL = 64 * BLOCK
RESTARTS = 3
"""Times the file may turn out to be another one while it is fetched."""
PROGRESS_SECONDS = 0.1
SIP = 64 * 1024
"""Bytes at a time where they are counted out."""
NOT_MINE = "not_mine"
INFLATED = frozenset({"gzip", "deflate"})

_PAGES = frozenset(
    {
        "text/html",
        "application/xhtml+xml",
        "application/vnd.apple.mpegurl",
        "application/x-mpegurl",
        "audio/mpegurl",
        "audio/x-mpegurl",
        "application/dash+xml",
        "application/rss+xml",
        "application/atom+xml",
    }
)


class Limits(Struct, frozen=True, kw_only=True):
    """`largest` is in bytes. A file is fetched over several connections when it has `split_from` bytes, and after
    `patience` seconds more than `worth` seconds are left: a server that is fast enough alone is not asked for more."""

    largest: int | None = None
    connections: int = 4
    split_from: int = 64 * BLOCK
    patience: float = 1.5
    worth: float = 5.0
    piece: int = 8 * BLOCK
    """What is left of a range is shared only above twice this."""
    near: int = 4 * BLOCK
    """Who waits for a byte that a connection will come to after so many more waits for that."""
    soon: float = 0.25
    """Seconds after which what came is written though no block is full, where others read along."""


class Source(Protocol):
    def open(self, url: str, headers: dict[str, str]) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Raises EngineFailed."""


class _Changed(Exception):
    """What the server has now is not what we have a part of."""


class Download:
    def __init__(
        self,
        source: Source,
        fetch: Fetch,
        observer: Observer,
        partial: Partial,
        limits: Limits,
        *,
        size: int | None = None,
        by_size: bool = False,
        readers: Readers | None = None,
    ) -> None:
        """`by_size`: the source vouches that all it opens is one file, whichever address it comes from now, so the
        validators of one say nothing of what another sends. `size` in bytes is what the file must then have.
        With `readers` others read along, and where one of them waits a connection is opened."""
        self._source = source
        self._fetch = fetch
        self._observer = observer
        self._partial = partial
        self._limits = limits
        self._size = size
        self._by_size = by_size
        self._rate = fetch.rate or Rate(None)
        self._readers = readers
        self._helpers: set[asyncio.Task[None]] = set()
        self._refused = False
        """A host may allow fewer connections than it says: who waits is not told again and again."""
        self._told = False
        self._packed = False
        """The answer is compressed: it can be gone on with nowhere but at its start."""
        self._speed = _Speed(partial.done)

    async def run(self) -> None:
        """Until the file is whole. Raises EngineFailed, NoRoom, OSError."""
        left, restarts = RESUMES, RESTARTS
        known = self._partial.identity
        afresh = known is not None and known.url != self._fetch.url
        while not self._partial.whole or afresh:
            before = self._partial.done
            lost = failed("transient", "incomplete", "the file ended before its announced length")
            try:
                await self._connection(afresh=afresh)
            except _Changed:
                if not restarts:
                    raise failed("transient", "keeps_changing", "the file changes faster than it comes") from None
                restarts -= 1
                afresh = True
                continue
            except EngineFailed as error:
                if error.failure.code != LOST:
                    raise
                lost = error
            afresh = False
            if self._partial.whole:
                break
            gained = self._partial.done - before
            if gained <= 0 or not left or not self._resumable():
                raise lost
            left = RESUMES if gained >= REFILL else left - 1
        if not self._told:
            await self._tell()

    def _resumable(self) -> bool:
        known = self._partial.identity
        return not self._packed and known is not None and (self._by_size or known.validator is not None)

    def _from(self, known: Identity, first: int, last: int | None = None) -> dict[str, str]:
        """Headers that ask for a part of the version we have."""
        headers = {"Range": f"bytes={first}-{'' if last is None else last}"}
        return headers if self._by_size else {**headers, "If-Range": known.validator or ""}

    def _same(self, known: Identity, response: aiohttp.ClientResponse) -> bool:
        return (self._by_size and known.place != place(response)) or same_version(known, response)

    async def _connection(self, *, afresh: bool) -> None:
        """One answer and what it brings; helped by others when it is slow."""
        partial, headers = self._partial, {}
        start, stop = (0, None) if afresh else partial.gaps()[0]
        known = partial.identity
        if start and known is not None and not afresh and self._resumable():
            headers = self._from(known, start)
        async with self._source.open(self._fetch.url, headers) as response:
            if response.status == 416 and headers:
                if unsatisfied(response) != start or stop is not None:
                    raise _Changed
                await partial.sized(start)
                return
            raise_for(response)
            if response.status == 206:
                stop = await self._continued(response, start, stop, asked=bool(headers))
            else:
                self._refuse_pages(response)
                packed = self._coding(response)
                found = identity(self._fetch.url, response)
                if packed:
                    # Nothing that the answer says of length and version is said of the bytes that are kept.
                    found = msgspec.structs.replace(found, size=None, etag=None, last_modified=None)
                if (why := unkept(found.name, found.media_type, self._fetch.allowed)) is not None:
                    raise EngineFailed(not_kept(why))
                self._check_announced(found.size)
                await partial.begin(found)
                start, stop = 0, None if packed else response.content_length
                self._speed = _Speed(0)
            self._check_size(stop)
            if not self._told:
                await self._tell()
            await self._share(response, Range(start, stop))
        if stop is None:
            self._check_announced(partial.done)
            await partial.sized(partial.done)

    def _check_announced(self, size: int | None) -> None:
        """A server that does not say is believed until its answer ends."""
        if self._size is not None and size not in {None, self._size}:
            raise failed("transient", "wrong_length", "the server's file has another size than was announced")

    async def _continued(self, response: aiohttp.ClientResponse, start: int, stop: int | None, *, asked: bool) -> int:
        found, known = part(response), self._partial.identity
        if coding(response, None):
            raise _Changed
        if not asked or found is None or found.start != start or known is None:
            raise failed("transient", "wrong_range", "the server sent another part than was asked for")
        if not self._same(known, response) or (known.size and found.total and known.size != found.total):
            raise _Changed
        if known.size is None and found.total is not None:
            await self._partial.sized(found.total)
        return min(found.stop, stop or found.stop)

    def _coding(self, response: aiohttp.ClientResponse) -> bool:
        """Whether the answer is to be inflated."""
        found = coding(response, self._size)
        if found and found not in INFLATED:
            raise failed("content", "compressed", "the server compresses the file though it was asked not to")
        self._packed = bool(found)
        return self._packed

    def _refuse_pages(self, response: aiohttp.ClientResponse) -> None:
        attached = response.headers.get("Content-Disposition", "").lower().startswith("attachment")
        if self._fetch.options.engine != "http" and not attached and response.content_type.lower() in _PAGES:
            raise failed("content", NOT_MINE, "the link leads to a page, not to a file")

    def _check_size(self, size: int | None) -> None:
        largest = self._limits.largest
        if largest is not None and size is not None and size > largest:
            raise failed("permanent", "too_large", f"a file may have {largest} bytes")
        known = self._partial.identity
        self._partial.check_room(known.size if known else None)

    async def _tell(self) -> None:
        self._told = True
        known = self._partial.identity
        assert known is not None
        await self._observer.resolved(title=known.name, total=known.size, items_total=1)

    # -- bytes --------------------------------------------------------------------------------------------------------

    async def _share(self, response: aiohttp.ClientResponse, mine: Range) -> None:
        """The answer's bytes, and beside it those that helpers fetch."""
        if not self._splittable(response):
            await self._receive(response, mine)
            return
        ranges = Ranges(mine, self._limits.piece)
        try:
            async with asyncio.TaskGroup() as tasks:
                watching = [tasks.create_task(self._call_for_help(tasks, mine, ranges))]
                if self._readers is not None:
                    watching.append(tasks.create_task(self._follow(tasks, ranges, self._readers)))
                await self._receive(response, mine)
                if self._helpers:
                    response.close()  # what it still sends is others' by now
                    self._hire(tasks, ranges, 1)
                while self._helpers:
                    await asyncio.wait(self._helpers)
                for one in watching:
                    one.cancel()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    def _splittable(self, response: aiohttp.ClientResponse) -> bool:
        known = self._partial.identity
        return (
            self._limits.connections > 1
            and known is not None
            and known.size is not None
            and known.size >= self._limits.split_from
            and (self._by_size or (known.etag is not None and known.etag == known.validator))
            and (response.status == 206 or response.headers.get("Accept-Ranges", "").lower() == "bytes")
        )

    async def _call_for_help(self, tasks: asyncio.TaskGroup, first: Range, ranges: Ranges) -> None:
        await asyncio.sleep(self._limits.patience)  # how long the server may show what it can do alone
        known = self._partial.identity
        assert known is not None
        assert known.size is not None
        brought, missing = first.at - first.start, known.size - self._partial.done
        if self._rate.per_second is not None or missing * self._limits.patience < self._limits.worth * max(1, brought):
            return
        if not ranges.shareable():
            return
        await self._partial.spread()
        self._hire(tasks, ranges, self._limits.connections - 1 - len(self._helpers))

    async def _follow(self, tasks: asyncio.TaskGroup, ranges: Ranges, readers: Readers) -> None:
        """Opens a connection where somebody waits, while there may be one more."""
        while not self._refused:
            await readers.more()
            while len(self._helpers) < self._limits.connections - 1 and (mine := self._awaited(ranges)) is not None:
                await self._partial.spread()
                self._hire(tasks, ranges, 1, mine)

    def _awaited(self, ranges: Ranges) -> Range | None:
        if self._readers is not None:
            for at in self._readers.waiting():
                mine = ranges.take_at(at, self._partial.gaps(), self._limits.near)
                if mine is not None:
                    return mine
        return None

    def _hire(self, tasks: asyncio.TaskGroup, ranges: Ranges, count: int, first: Range | None = None) -> None:
        for _ in range(count):
            helper = tasks.create_task(self._help(ranges, first))
            self._helpers.add(helper)
            helper.add_done_callback(self._helpers.discard)

    async def _help(self, ranges: Ranges, first: Range | None) -> None:
        """Takes ranges until there is none worth a request. Whatever goes wrong here is no failure: the bytes are
        missing then, and the first connection or the one after it brings them."""
        known = self._partial.identity
        assert known is not None
        mine = first
        while mine := mine or self._awaited(ranges) or ranges.take(self._partial.gaps()):
            mine.reach = mine.stop
            headers = self._from(known, mine.at, (mine.stop or 0) - 1)
            try:
                async with self._source.open(self._fetch.url, headers) as response:
                    found = part(response) if response.status == 206 else None
                    if found is None or found.start != mine.at or not self._same(known, response):
                        self._refused = True
                        return
                    await self._receive(response, mine)
            except EngineFailed:
                self._refused = mine.at == mine.start
                return
            finally:
                ranges.leave(mine)
            mine = None

    async def _receive(self, response: aiohttp.ClientResponse, mine: Range) -> None:
        """Until the range is there. Raises EngineFailed, OSError, NoRoom."""
        body = (Inflated if self._packed else Body)(response, mine, self._partial.block())
        written = time.monotonic()
        try:
            while count := await body.more(*self._gulp()):
                wait = self._rate.passed(count)
                soon = self._readers is not None and time.monotonic() - written >= self._limits.soon
                if body.full or soon:
                    block, filled = body.block, body.filled
                    body.swap(self._partial.block())
                    await self._partial.write(mine.at - filled, block, filled)
                    written = await self._told_readers()
                    self._check_limit(mine)
                    self._report()
                while wait:
                    await asyncio.sleep(min(wait, LOOK_SECONDS))  # the rate that was asked for
                    self._report()
                    wait = self._rate.owed()
        except (aiohttp.ClientError, aiohttp.http.HttpProcessingError, TimeoutError, ConnectionError) as error:
            raise classified(error) from error
        finally:
            # Also when cancelled: what came is kept for the attempt after this one.
            if body.filled:
                await asyncio.shield(self._partial.write(mine.at - body.filled, body.block, body.filled))
            await asyncio.shield(self._partial.settle())
            self._partial.checkpoint()
        self._report(last=True)

    def _gulp(self) -> tuple[int, int]:
        """How many bytes are worth looking up for, and how many may come at once."""
        if self._rate.per_second is not None:
            return 1, SIP
        return (1 if self._readers is not None else BLOCK), BLOCK

    async def _told_readers(self) -> float:
        """Now, when what was written can be read along."""
        if self._readers is not None:
            await self._partial.settle()
        return time.monotonic()

    def _check_limit(self, mine: Range) -> None:
        if mine.stop is None:
            self._check_size(mine.at)

    def _report(self, *, last: bool = False) -> None:
        if not last and not self._speed.due():
            return
        known, done = self._partial.identity, self._partial.done
        total = known.size if known is not None else None
        speed = self._speed.at(done)
        left = None if total is None or not speed else max(0, total - done) // speed
        self._observer.progress(
            done=done,
            total=total,
            speed=speed,
            eta=left,
            items_total=1,
            current=known.name if known is not None else None,
        )


class _Speed:
    """Bytes per second over about the last second."""

    def __init__(self, done: int) -> None:
        self._mark = (time.monotonic(), done)
        self._told = 0.0
        self._value = 0

    def due(self) -> bool:
        now = time.monotonic()
        if now - self._told < PROGRESS_SECONDS:
            return False
        self._told = now
        return True

    def at(self, done: int) -> int:
        now = time.monotonic()
        elapsed = now - self._mark[0]
        if elapsed >= 1.0 or not self._value:
            self._value = int((done - self._mark[1]) / elapsed) if elapsed > 0 else 0
            self._mark = (now, done)
        return self._value
