"""Serves stored files over HTTP: signed links, single ranges, always as an attachment.

A bare ASGI callable: there is one route, and the bytes of it are most of what this process ever sends.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote
from uuid import UUID

import asyncpg

from libs.sealing import LinkSigner
from proto.storage import StoredFile
from services.storage import views
from services.storage.targets.local import LocalTarget

CHUNK = 512 * 1024
"""Bytes a read; below 256 KiB the server's throughput halves."""

_PATH = re.compile(r"/files/(?P<id>[0-9a-f-]{36})/(?P<expires>\d{1,12})\.(?P<signature>[A-Za-z0-9_-]{43})/[^/]+")
_RANGE = re.compile(r"bytes=(?P<first>\d{0,18})-(?P<last>\d{0,18})")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class FileServer:
    def __init__(
        self, pool: asyncpg.Pool, target: LocalTarget, signer: LinkSigner, clock: Callable[[], float] = time.time
    ) -> None:
        self._pool = pool
        self._target = target
        self._signer = signer
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive  # requests have no body
        if scope["type"] != "http":
            return
        if scope["method"] not in ("GET", "HEAD"):
            await _plain(send, 405, b"only GET and HEAD", [(b"allow", b"GET, HEAD")])
            return
        file = await self._file(scope["path"])
        if isinstance(file, int):
            await _plain(send, file, b"this link has expired" if file == 410 else b"no such file")
            return
        try:
            handle = await asyncio.to_thread(os.open, self._target.path(file.location), os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            await _plain(send, 404, b"no such file")
            return
        try:
            await _send_file(file, handle, dict(scope["headers"]), scope["method"] == "HEAD", send)
        finally:
            os.close(handle)

    async def _file(self, path: str) -> StoredFile | int:
        match = _PATH.fullmatch(path)
        if match is None:
            return 404
        expires = int(match["expires"])
        if not self._signer.valid(match["id"], expires, match["signature"], self._clock()):
            # Only a link that was good once may learn that it is over.
            genuine = self._signer.valid(match["id"], expires, match["signature"], expires - 1)
            return 410 if genuine else 404
        async with self._pool.acquire() as conn:
            return await views.by_id(conn, UUID(match["id"])) or 404


async def _send_file(file: StoredFile, handle: int, headers: dict[bytes, bytes], head: bool, send: Send) -> None:
    etag = f'"{file.sha256}"'.encode()
    common: Headers = [
        (b"accept-ranges", b"bytes"),
        (b"etag", etag),
        (b"content-type", file.media_type.encode("latin-1", "replace")),
        (b"content-disposition", _disposition(file.name)),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"default-src 'none'; sandbox"),
        (b"cache-control", b"private, no-transform"),
    ]
    span = _span(headers, etag, file.size)
    if span is None:
        await _plain(send, 416, b"", [*common[:2], (b"content-range", f"bytes */{file.size}".encode())])
        return
    first, last = span
    length = last - first + 1
    partial = length != file.size
    if partial:
        common.append((b"content-range", f"bytes {first}-{last}/{file.size}".encode()))
    common.append((b"content-length", str(length).encode()))
    await send({"type": "http.response.start", "status": 206 if partial else 200, "headers": common})
    if head:
        await send({"type": "http.response.body", "body": b""})
        return
    offset = first
    while offset <= last:
        chunk = await asyncio.to_thread(os.pread, handle, min(CHUNK, last - offset + 1), offset)
        if not chunk:
            # A file cut short under us: end the connection, a clean end would pass for the whole.
            raise ConnectionAbortedError(f"{file.location} is shorter than its record")
        offset += len(chunk)
        await send({"type": "http.response.body", "body": chunk, "more_body": offset <= last})
    if length == 0:
        await send({"type": "http.response.body", "body": b""})


def _span(headers: dict[bytes, bytes], etag: bytes, size: int) -> tuple[int, int] | None:
    """First and last byte to send; None when the range can not be satisfied (RFC 9110, 14.1.2).

    Anything but one well-formed range, and a range whose If-Range does not match, is answered with the whole file.
    """
    whole = (0, size - 1)
    match = _RANGE.fullmatch(headers.get(b"range", b"").decode("latin-1").strip())
    if match is None or (match["first"] == "" and match["last"] == ""):
        return whole
    if headers.get(b"if-range", etag) != etag:
        return whole
    if match["first"] == "":
        length = int(match["last"])
        return (max(size - length, 0), size - 1) if length and size else None
    first = int(match["first"])
    last = min(int(match["last"]), size - 1) if match["last"] else size - 1
    if first >= size:
        return None
    return (first, last) if last >= first else whole


def _disposition(name: str) -> bytes:
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%;' else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}".encode()


async def _plain(send: Send, status: int, body: bytes, headers: Headers | None = None) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", str(len(body)).encode()),
                (b"x-content-type-options", b"nosniff"),
                *(headers or []),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
