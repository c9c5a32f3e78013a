"""Puts body bytes on the wire: fast for big files, slow when asked to be, and cut where asked."""

from __future__ import annotations

import array
import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Callable
from typing import Literal

import msgspec
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from .hits import Hit, Log

PIECE = 256 * 1024
CUT_DEADLINE = 30.0


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """`read(start, stop)` is asked for at most PIECE bytes; `tag` makes the ETag, so it names the very bytes."""

    size: int
    tag: str
    type: str
    read: Callable[[int, int], bytes | memoryview]


class Outlet(msgspec.Struct, frozen=True, kw_only=True):
    """Where one response's body goes, and who keeps count."""

    request: web.Request
    writer: AbstractStreamWriter
    hit: Hit
    log: Log
    rate: int | None = None


async def pour(outlet: Outlet, file: Source, start: int, stop: int) -> None:
    """Returns when the last byte is with the kernel."""
    loop = asyncio.get_running_loop()
    step = PIECE if outlet.rate is None else max(1, min(PIECE, outlet.rate // 20))
    began, first = loop.time(), start
    while start < stop:
        end = min(stop, start + step)
        outlet.hit.sent += end - start
        await outlet.writer.write(file.read(start, end))
        await outlet.writer.drain()
        outlet.log.moved()
        start = end
        if outlet.rate and start < stop:
            await asyncio.sleep(began + (start - first) / outlet.rate - loop.time())


async def cut(request: web.Request, how: Literal["reset", "close"]) -> None:
    """A reset discards what the other side's kernel has not got yet, so it first waits until that has everything."""
    transport = request.transport
    if transport is None or how == "close":
        if transport:
            transport.close()
        return
    connection: socket.socket = transport.get_extra_info("socket")
    waiting = array.array("i", [0])
    async with asyncio.timeout(CUT_DEADLINE):
        while True:
            fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, waiting)
            if not waiting[0]:
                break
            await asyncio.sleep(0.001)  # the kernel tells nobody when a peer has acknowledged
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
