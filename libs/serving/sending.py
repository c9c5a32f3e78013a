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

PIECE = 512 * 1024
"""Bytes a read. Smaller ones cost more calls, larger ones more memory: the server holds some six of them for a client
that is slower than we."""
STALLED_SECONDS = 300.0
"""When nothing was taken for so long the client is taken for gone. It asks for the rest when it wants it. Sources that
wait for bytes give up long before."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Piece = bytes | bytearray
Pieces = AsyncGenerator[Piece, None]


class NotBegun(Exception):
    """There is nothing to send: said before the answer began, so that there still is another one to give."""


class Source(Protocol):
    """Where the bytes of a file are."""

    def pieces(self, span: Span) -> Pieces:
        """Exactly the span's bytes, in order; each piece may be gone when the next is asked for. Raises
        ConnectionAbortedError when they can not be had: a body that ends short must end with the connection, since a
        clean end would pass for the whole."""


class LocalFile:
    """An open file. What is in the page cache is read at once; what must come from the disk is read in a thread."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    async def pieces(self, span: Span) -> Pieces:
        buffer, offset = bytearray(min(PIECE, span.length)), span.first
        while offset <= span.last:
            if (left := span.last - offset + 1) < len(buffer):
                buffer = bytearray(left)
            if (count := self._at_once(buffer, offset)) < len(buffer):
                count = await asyncio.to_thread(os.preadv, self._handle, [buffer], offset)
            if not count:
                raise ConnectionAbortedError("the file is shorter than its record")
            offset += count
            yield buffer if count == len(buffer) else buffer[:count]

    def _at_once(self, buffer: bytearray, offset: int) -> int:
        """How much of it was to be had without waiting."""
        try:
            return os.preadv(self._handle, [buffer], offset, os.RWF_NOWAIT)
        except OSError:
            return 0


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
            body = _multipart(source, spans, parts.heads, parts.tail)
            first = await _first(body)
            await _start(send, status, headers)
            await _watched(first, body, receive, send, stalled)
        case status, spans:
            headers = {**described(file), "content-length": str(sum(span.length for span in spans))}
            if status == 206:
                headers["content-range"] = content_range(spans[0], file.size)
            if scope["method"] == "HEAD" or not spans:
                await _start(send, status, headers)
                await _end(send)
                return
            body = source.pieces(spans[0])
            first = await _first(body)
            await _start(send, status, headers)
            await _watched(first, body, receive, send, stalled)


async def _first(pieces: Pieces) -> Piece:
    """Read before the answer begins: when there is none, there still is another answer to give."""
    try:
        return await anext(pieces)
    except ConnectionAbortedError as error:
        raise NotBegun(str(error)) from error


async def _multipart(source: Source, spans: tuple[Span, ...], heads: tuple[bytes, ...], tail: bytes) -> Pieces:
    for span, head in zip(spans, heads, strict=True):
        before = head  # goes along with the first piece, which may not be there
        async with aclosing(source.pieces(span)) as pieces:
            async for piece in pieces:
                yield before + piece
                before = b""
    yield tail


async def _watched(first: Piece, rest: Pieces, receive: Receive, send: Send, stalled: float) -> None:
    """To a client that is gone the server takes everything and sends nothing, so only `receive` tells."""
    try:
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(_pour(first, rest, send, stalled))
            gone = tasks.create_task(_disconnected(receive))
            sending.add_done_callback(lambda _: gone.cancel())
            gone.add_done_callback(lambda _: sending.cancel())
    except* (ConnectionAbortedError, TimeoutError) as group:
        raise ConnectionAbortedError(str(group.exceptions[0])) from group


async def _pour(first: Piece, rest: Pieces, send: Send, stalled: float) -> None:
    now = asyncio.get_running_loop().time
    async with aclosing(rest), asyncio.timeout(stalled) as patience:
        await send({"type": "http.response.body", "body": first, "more_body": True})
        async for piece in rest:
            # For a client that is gone `send` returns without ever giving way, and nobody would hear that it is.
            await asyncio.sleep(0)
            patience.reschedule(now() + stalled)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
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
