"""Sends a file's bytes over ASGI, piece by piece: the next is read when the last was taken, so that a slow client
costs one piece of memory, and a client that is gone ends the reading."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import aclosing
from typing import Any, Protocol

from libs.serving.headers import Served, described, joined, judge, multipart, validators
from libs.serving.ranges import Span, content_range

PIECE = 192 * 1024
"""Bytes a read. Smaller ones cost more calls; with larger ones what sixteen connections have under way leaves the
processor's cache."""
STALLED_SECONDS = 300.0
"""A client that takes nothing for so long is taken for gone. It asks for the rest when it wants it."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class NotBegun(Exception):
    """There is nothing to send: said before the answer began, so that there still is another one to give."""


class Source(Protocol):
    """Where the bytes of a file are."""

    def pieces(self, span: Span) -> AsyncGenerator[bytes, None]:
        """Exactly the span's bytes, in order. Raises ConnectionAbortedError when they can not be had: a body that
        ends short must end with the connection, since a clean end would pass for the whole."""


class LocalFile:
    """An open file. What is in the page cache is read at once; what must come from the disk is read in a thread."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._probe = bytearray(1)

    async def pieces(self, span: Span) -> AsyncGenerator[bytes, None]:
        offset = span.first
        while offset <= span.last:
            wanted = min(PIECE, span.last - offset + 1)
            if self._cached(offset) and self._cached(offset + wanted - 1):
                piece = os.pread(self._handle, wanted, offset)
            else:
                piece = await asyncio.to_thread(os.pread, self._handle, wanted, offset)
            if not piece:
                raise ConnectionAbortedError("the file is shorter than its record")
            offset += len(piece)
            yield piece

    def _cached(self, offset: int) -> bool:
        """Whether this byte can be had without waiting. Asked of both ends of a piece: the kernel reads ahead in
        larger steps than ours, so between two that are there a hole is rare, and costs one short wait."""
        try:
            return os.preadv(self._handle, [self._probe], offset, os.RWF_NOWAIT) == 1
        except OSError:
            return False


async def answer(
    file: Served, source: Source, scope: Scope, receive: Receive, send: Send, stalled: float = STALLED_SECONDS
) -> None:
    """The whole answer to a GET or HEAD of this file. A cookie or an `Authorization` that came along says nothing.

    Raises NotBegun, and ConnectionAbortedError for what ended short: the server then ends the connection.
    """
    verdict = judge(scope["method"], joined(scope["headers"]), file)
    match verdict.status, verdict.spans:
        case 304, _:
            await _start(send, 304, validators(file))
            await _end(send)
        case 412, _:
            await plain(send, 412, "this file is not what was asked for", validators(file))
        case 416, _:
            headers = {**validators(file), "accept-ranges": "bytes", "content-range": f"bytes */{file.size}"}
            await plain(send, 416, "this range is not in the file", headers)
        case status, spans if len(spans) > 1:
            boundary = secrets.token_hex(16)
            parts = multipart(spans, file, boundary)
            headers = {
                **described(file),
                "content-type": f"multipart/byteranges; boundary={boundary}",
                "content-length": str(parts.length),
            }
            body = await _begun(_multipart(source, spans, parts.heads, parts.tail))
            await _start(send, status, headers)
            await _watched(body, receive, send, stalled)
        case status, spans:
            headers = {**described(file), "content-length": str(sum(span.length for span in spans))}
            if status == 206:
                headers["content-range"] = content_range(spans[0], file.size)
            if scope["method"] == "HEAD" or not spans:
                await _start(send, status, headers)
                await _end(send)
                return
            body = await _begun(source.pieces(spans[0]))
            await _start(send, status, headers)
            await _watched(body, receive, send, stalled)


async def _begun(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The same, when there is a first of them."""
    try:
        first = await anext(pieces)
    except ConnectionAbortedError as error:
        raise NotBegun(str(error)) from error

    async def all_of_them() -> AsyncGenerator[bytes, None]:
        yield first
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    return all_of_them()


async def _multipart(
    source: Source, spans: tuple[Span, ...], heads: tuple[bytes, ...], tail: bytes
) -> AsyncGenerator[bytes, None]:
    for span, head in zip(spans, heads, strict=True):
        before = head  # goes along with the first piece, which may not be there
        async with aclosing(source.pieces(span)) as pieces:
            async for piece in pieces:
                yield before + piece
                before = b""
    yield tail


async def _watched(pieces: AsyncGenerator[bytes, None], receive: Receive, send: Send, stalled: float) -> None:
    """To a client that is gone the server takes everything and sends nothing, so only `receive` tells."""
    try:
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(_pour(pieces, send, stalled))
            gone = tasks.create_task(_disconnected(receive))
            sending.add_done_callback(lambda _: gone.cancel())
            gone.add_done_callback(lambda _: sending.cancel())
    except* (ConnectionAbortedError, TimeoutError) as group:
        raise ConnectionAbortedError(str(group.exceptions[0])) from group


async def _pour(pieces: AsyncGenerator[bytes, None], send: Send, stalled: float) -> None:
    async with aclosing(pieces) as open_pieces:
        async for piece in open_pieces:
            async with asyncio.timeout(stalled):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            # For a client that is gone `send` returns without ever giving way, and nobody would hear that it is.
            await asyncio.sleep(0)
    await _end(send)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def plain(send: Send, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
    """An answer that is no file: never a page, and never a redirect."""
    body = text.encode()
    said = {
        "content-type": "text/plain; charset=utf-8",
        "content-length": str(len(body)),
        "x-content-type-options": "nosniff",
        **(headers or {}),
    }
    await _start(send, status, said)
    await send({"type": "http.response.body", "body": body})


async def _start(send: Send, status: int, headers: Mapping[str, str]) -> None:
    raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def _end(send: Send) -> None:
    await send({"type": "http.response.body", "body": b""})
