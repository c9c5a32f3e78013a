"""Two connections joined: bytes go from one transport to the other without a stop in between."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import cast

from libs.egress.heads import END, BadHead
from libs.egress.rate import LOOK_SECONDS, Rate

HEAD_LIMIT = 64 * 1024
HIGH_WATER = 512 * 1024
IDLE_SECONDS = 300.0
HALF_OPEN_SECONDS = 30.0
"""How long one side may stay silent after the other has ended."""

_RESET = struct.pack("ii", 1, 0)


class Meter:
    """What a job has moved, both directions; `rate` slows only what comes in."""

    def __init__(self, rate: Rate | None = None) -> None:
        self.received = 0
        self.sent = 0
        self.rate = rate


class Side(asyncio.Protocol):
    """One connection. Until it is joined it collects a head; then everything goes to the other side."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.lost = asyncio.Event()
        self.ended = False
        self._broken = False
        self._kept = bytearray()
        self._news = asyncio.Event()
        self._tunnel: Tunnel | None = None
        self._pauses: set[str] = set()
        self.left: int | None = None
        """Bytes that this side may still send; None for no limit. What exceeds it is dropped."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # not uvloop's base class, though it does all of it
        self.transport.set_write_buffer_limits(high=HIGH_WATER)

    async def head(self) -> bytes:
        """Up to and with the empty line. Raises BadHead, ConnectionError."""
        while (end := self._kept.find(END)) < 0:
            if len(self._kept) > HEAD_LIMIT:
                raise BadHead("the head is too long")
            if self.ended or self.lost.is_set():
                raise ConnectionResetError("ended before its head was whole")
            self._news.clear()
            await self._news.wait()
        head = bytes(self._kept[: end + len(END)])
        del self._kept[: len(head)]
        return head

    def join(self, tunnel: Tunnel) -> None:
        if self._tunnel is tunnel:
            return
        self._tunnel = tunnel
        kept, self._kept = bytes(self._kept), bytearray()
        self.resume("head")
        if kept:
            self._pass(kept, tunnel)
        if self.lost.is_set():
            tunnel.closed(self, broken=self._broken)
        elif self.ended:
            tunnel.half_closed(self)

    def pause(self, why: str) -> None:
        if not self._pauses and not self.transport.is_closing():
            self.transport.pause_reading()
        self._pauses.add(why)

    def resume(self, why: str) -> None:
        if why in self._pauses:
            self._pauses.remove(why)
            if not self._pauses and not self.transport.is_closing():
                self.transport.resume_reading()

    def reset(self) -> None:
        """So that the other end can not take what it got for the whole."""
        if not self.transport.is_closing():
            connection = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def _pass(self, data: bytes, tunnel: Tunnel) -> None:
        if self.left is not None:
            data = data[: self.left]
            self.left -= len(data)
        if data:
            tunnel.carry(self, data)

    # -- what the loop calls ----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._pass(data, self._tunnel)
            return
        self._kept += data
        if len(self._kept) > HEAD_LIMIT:
            self.pause("head")
        self._news.set()

    def eof_received(self) -> bool:
        self.ended = True
        self._news.set()
        if self._tunnel is not None:
            self._tunnel.half_closed(self)
        return True

    def pause_writing(self) -> None:
        if self._tunnel is not None:
            self._tunnel.other(self).pause("full")

    def resume_writing(self) -> None:
        if self._tunnel is not None:
            self._tunnel.other(self).resume("full")

    def connection_lost(self, exc: Exception | None) -> None:
        self._broken = exc is not None
        self.lost.set()
        self._news.set()
        if self._tunnel is not None:
            self._tunnel.closed(self, broken=self._broken)


class Tunnel:
    """Joins a client and an upstream until both are gone."""

    def __init__(self, client: Side, upstream: Side, meter: Meter) -> None:
        self._client = client
        self._upstream = upstream
        self._meter = meter
        self._loop = asyncio.get_running_loop()
        self._moved_at = self._loop.time()
        self._held = bytearray()
        """What came in and waits for its turn under the rate."""

    async def run(self) -> None:
        """Returns when both sides are closed."""
        self._watch()
        self._client.join(self)
        self._upstream.join(self)
        await self._client.lost.wait()
        await self._upstream.lost.wait()

    def other(self, side: Side) -> Side:
        return self._upstream if side is self._client else self._client

    def carry(self, source: Side, data: bytes) -> None:
        self._moved_at = self._loop.time()
        if source is self._client:
            self._meter.sent += len(data)
            self._upstream.transport.write(data)
            return
        self._meter.received += len(data)
        rate = self._meter.rate
        if rate is None or rate.per_second is None:
            self._client.transport.write(data)
            return
        self._held += data
        source.pause("rate")
        self._pace(rate)

    def _pace(self, rate: Rate) -> None:
        """In small pieces: a client that hears nothing for long would give up. No more is read until all is passed."""
        if self._client.transport.is_closing():
            return
        self._moved_at = self._loop.time()
        seconds = rate.owed()
        if self._held and not seconds:
            limit = rate.per_second
            piece = len(self._held) if limit is None else max(1, int(limit * LOOK_SECONDS))
            self._client.transport.write(bytes(self._held[:piece]))
            del self._held[:piece]
            seconds = rate.passed(piece)
        if self._held or seconds:
            self._loop.call_later(min(seconds, LOOK_SECONDS), self._pace, rate)
        else:
            self._upstream.resume("rate")

    def _hurry(self, source: Side) -> None:
        """It has ended: what it sent last must not be lost."""
        if source is self._upstream and self._held and not self._client.transport.is_closing():
            self._client.transport.write(bytes(self._held))
            self._held.clear()

    def half_closed(self, source: Side) -> None:
        self._moved_at = self._loop.time()
        self._hurry(source)
        sink = self.other(source)
        if not sink.transport.is_closing():
            sink.transport.write_eof()
        if sink.ended:
            source.transport.close()
            sink.transport.close()

    def closed(self, side: Side, *, broken: bool) -> None:
        other = self.other(side)
        self._hurry(side)
        if broken:
            other.reset()
        else:
            other.transport.close()

    def _watch(self) -> None:
        if self._client.lost.is_set() or self._upstream.lost.is_set():
            return
        half_open = self._client.ended or self._upstream.ended
        quiet_until = self._moved_at + (HALF_OPEN_SECONDS if half_open else IDLE_SECONDS)
        if quiet_until <= self._loop.time():
            self._client.reset()
            self._upstream.reset()
            return
        self._loop.call_later(min(quiet_until - self._loop.time(), HALF_OPEN_SECONDS), self._watch)
