"""The bytes of one answer, as they come into blocks.

What a server compressed though it was asked not to is inflated here.

aiohttp copies every read three times and takes a dozen Python calls for it. So where a long body has a known length and
no frames, its protocol gives the connection up after the headers, and what the kernel (or TLS) has goes into the very
block that is hashed and written.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable

import aiohttp
from aiohttp import hdrs

from libs.egress.rate import LOOK_SECONDS
from services.job.engines.answers import failed
from services.job.engines.ranges import Range

WORTH = 1024 * 1024
"""Bytes still to come for which a connection is given up that could have brought another file."""
_ANY_HEADER = zlib.MAX_WBITS | 32


class Body:
    """Long bodies are read only while `more` waits, so what its caller does in between holds the sender back."""

    def __init__(self, response: aiohttp.ClientResponse, mine: Range, block: bytearray) -> None:
        """`mine` says how much is wanted, also when that changes, and is told of every byte that comes."""
        self.block = block
        self.filled = 0
        self._mine = mine
        self._goal = self._most = 0
        self._content = response.content
        self._held = memoryview(b"")
        self._wire = self._take(response)

    def _take(self, response: aiohttp.ClientResponse) -> _Wire | None:
        """The connection, when it is worth it. Without a step of the loop in between, so nothing comes meanwhile."""
        length, connection, content = response.content_length, response.connection, response.content
        if length is None or hdrs.TRANSFER_ENCODING in response.headers or length - content.total_bytes < WORTH:
            return None
        if connection is None or connection.protocol is None or content.exception() is not None:
            return None
        held = bytearray()
        while piece := content.read_nowait():
            held += piece
        self._held = memoryview(held)
        return None if content.is_eof() else _Wire(connection, self._room, self._came)

    @property
    def full(self) -> bool:
        return self.filled == len(self.block)

    def swap(self, block: bytearray) -> None:
        """Goes on in this one, from its start."""
        self.block, self.filled = block, 0

    async def more(self, least: int, most: int) -> int:
        """How many bytes have come: `least`, or fewer after a while and where the block or the range ends; none at the
        end. At most `most` come at a time. Raises as aiohttp does when it reads."""
        start = self._mine.at
        self._goal, self._most = start + least, most
        while self._mine.at == start and (room := self._room()):
            if self._held:
                piece, self._held = self._held[: len(room)], self._held[len(room) :]
                room[: len(piece)] = piece
                self._came(len(piece))
            elif self._wire is not None:
                await self._wire.listen()
            else:
                self._held = memoryview(await self._content.readany())
                if not self._held:
                    break
        return self._mine.at - start

    def _room(self) -> memoryview:
        end = min(len(self.block), self.filled + self._most)
        if self._mine.stop is not None:
            end = min(end, self.filled + self._mine.left())
        return memoryview(self.block)[self.filled : end]

    def _came(self, count: int) -> bool:
        """Whether that is enough for now."""
        self.filled += count
        self._mine.at += count
        return self._mine.at >= self._goal or self.full or self._mine.at == self._mine.stop


class Inflated:
    """As `Body`, of an answer that was compressed with gzip or deflate: counted is what the file has."""

    def __init__(self, response: aiohttp.ClientResponse, mine: Range, block: bytearray) -> None:
        self.block = block
        self.filled = 0
        self._mine = mine
        self._content = response.content
        self._held = b""
        self._inflate = zlib.decompressobj(_ANY_HEADER)

    @property
    def full(self) -> bool:
        return self.filled == len(self.block)

    def swap(self, block: bytearray) -> None:
        """Goes on in this one, from its start."""
        self.block, self.filled = block, 0

    async def more(self, least: int, most: int) -> int:
        """How many bytes have come, none at the end: at most `most` and what the block takes. Raises as aiohttp does
        when it reads, and EngineFailed."""
        del least  # whoever compresses on the way sends little at a time
        room = min(len(self.block) - self.filled, most)
        while room:
            if not self._held:
                self._held = await self._content.readany()
                if not self._held:
                    self._check_end()
                    break
            if piece := self._inflated(room):
                self.block[self.filled : self.filled + len(piece)] = piece
                self.filled += len(piece)
                self._mine.at += len(piece)
                return len(piece)
        return 0

    def _inflated(self, room: int) -> bytes:
        if self._inflate.eof:
            self._inflate = zlib.decompressobj(_ANY_HEADER)  # another member of the same file
        try:
            piece = self._inflate.decompress(self._held, room)
        except zlib.error as error:
            raise failed("content", "bad_answer", "the server's answer can not be read") from error
        self._held = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
        return piece

    def _check_end(self) -> None:
        if not self._inflate.eof:
            raise aiohttp.ClientPayloadError("the answer ended before its compressed end")


class _Wire(asyncio.BufferedProtocol):
    """A connection whose answer's head aiohttp has read."""

    def __init__(
        self, connection: aiohttp.connector.Connection, room: Callable[[], memoryview], came: Callable[[int], bool]
    ) -> None:
        transport, before = connection.transport, connection.protocol
        assert transport is not None
        assert before is not None
        self._transport = transport
        self._before = before
        self._stall = before.read_timeout or float("inf")
        self._room = room
        self._came = came
        self._heard = False
        self._news: asyncio.Future[None] | None = None
        self._lost: aiohttp.ClientPayloadError | None = None
        before.pause_reading()
        transport.set_protocol(self)

    async def listen(self) -> None:
        """Until enough has come, or less in a while. Raises ClientPayloadError, SocketTimeoutError."""
        loop = asyncio.get_running_loop()
        silent_at = loop.time() + self._stall
        self._heard = False
        while not self._heard:
            if self._lost is not None:
                raise self._lost
            if loop.time() >= silent_at:
                raise aiohttp.SocketTimeoutError("nothing comes any more")
            self._news = loop.create_future()
            look = loop.call_later(min(self._stall, LOOK_SECONDS), self._tell)
            self._transport.resume_reading()
            try:
                await self._news
            finally:
                look.cancel()
                self._transport.pause_reading()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    # -- what the loop calls ------------------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        return self._room()

    def buffer_updated(self, nbytes: int) -> None:
        self._heard = True
        if self._came(nbytes):
            self._transport.pause_reading()
            self._tell()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = aiohttp.ClientPayloadError("the answer ended before its announced length")
        self._lost.__cause__ = exc
        self._before.connection_lost(exc)
        self._tell()
