"""Bytes of an answer as the HTTP engine takes them: all of them, no more than are wanted, and not before they are."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
import uvloop

from services.job.engines.body import Body
from services.job.engines.ranges import Range
from tests.site.content import pieces
from tests.support.certificates import certificate

SIZE = 5_000_000
BLOCK = 300_007
DATA = b"".join(pieces("a.bin", SIZE))
Script = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers with a head for SIZE bytes, and then as the script says."""

    def __init__(
        self, script: Script, tls: ssl.SSLContext | None = None, trusted: ssl.SSLContext | None = None
    ) -> None:
        self._script = script
        self._tls = tls
        self._trusted = trusted

    @asynccontextmanager
    async def asked(self) -> AsyncIterator[aiohttp.ClientResponse]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=self._tls)
        port = server.sockets[0].getsockname()[1]
        scheme = "https" if self._tls else "http"
        async with (
            server,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(sock_read=20)) as session,
            session.get(f"{scheme}://localhost:{port}/", ssl=self._trusted or True) as response,
        ):
            yield response

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n".encode())
            with suppress(ConnectionError):  # of a client that has what it wanted
                await self._script(writer)
        finally:
            writer.close()


async def received(body: Body, least: int = BLOCK) -> bytes:
    """Block by block, to the end."""
    found = bytearray()
    while await body.more(least, BLOCK):
        if body.full:
            found += body.block
            body.swap(bytearray(BLOCK))
    return bytes(found + body.block[: body.filled])


async def all_of_it(writer: asyncio.StreamWriter) -> None:
    writer.write(DATA[:100_000])
    await writer.drain()
    writer.write(DATA[100_000:])
    await writer.drain()


def in_two(count: int, going_on: asyncio.Event) -> Script:
    """So many bytes, and the others when it may go on."""

    async def sent(writer: asyncio.StreamWriter) -> None:
        writer.write(DATA[:count])
        await going_on.wait()
        writer.write(DATA[count:])
        await writer.drain()

    return sent


@pytest.mark.parametrize("least", [1, BLOCK])
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_long_body_comes_whole_past_its_client(tmp_path, loop, tls, least) -> None:
    """With TLS and without, in the loop of the tests and in that of the product; the client sees little more than the
    head."""

    async def fetched() -> None:
        served, path = certificate(tmp_path, "localhost")
        trusted = ssl.create_default_context(cafile=path)
        async with Server(all_of_it, *((served, trusted) if tls else ())).asked() as response:
            body = Body(response, Range(0, SIZE), bytearray(BLOCK))

            assert await received(body, least) == DATA
            assert response.content.total_bytes < SIZE // 2

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(fetched())


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_connection_that_ends_early_brings_what_it_had_and_then_an_error(tmp_path, loop, tls) -> None:
    """As the client itself would say it."""

    async def half_of_it(writer: asyncio.StreamWriter) -> None:
        writer.write(DATA[: SIZE // 2])
        await writer.drain()

    async def fetched() -> None:
        served, path = certificate(tmp_path, "localhost")
        trusted = ssl.create_default_context(cafile=path)
        async with Server(half_of_it, *((served, trusted) if tls else ())).asked() as response:
            mine = Range(0, SIZE)
            with pytest.raises(aiohttp.ClientPayloadError):
                await received(Body(response, mine, bytearray(BLOCK)))

            assert mine.at == SIZE // 2

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(fetched())


async def test_nothing_is_read_while_nobody_asks_for_more() -> None:
    """So what comes faster than it can be written waits at the sender."""
    async with Server(all_of_it).asked() as response:
        assert response.connection is not None
        assert response.connection.transport is not None
        body = Body(response, Range(0, SIZE), bytearray(BLOCK))
        states = [response.connection.transport.is_reading()]
        for least in (1, BLOCK):
            await body.more(least, BLOCK)
            states.append(response.connection.transport.is_reading())

        assert states == [False] * 3


async def test_a_range_that_is_cut_while_it_comes_ends_where_it_was_cut() -> None:
    """To the byte, though the server goes on."""
    cut = asyncio.Event()
    async with Server(in_two(2_000_000, cut)).asked() as response:
        mine = Range(0, SIZE)
        body = Body(response, mine, bytearray(SIZE))
        while mine.at < 2_000_000:
            await body.more(1, SIZE)
        coming = asyncio.create_task(body.more(SIZE, SIZE))
        await asyncio.sleep(0)  # until it waits
        mine.stop = 2_500_000
        cut.set()

        assert await coming == 500_000
        assert await body.more(1, SIZE) == 0
        assert body.block[: body.filled] == DATA[:2_500_000]


async def test_what_comes_slowly_is_told_before_its_block_is_full() -> None:
    """A rate that was set meanwhile has to be heard of."""
    told = asyncio.Event()
    async with Server(in_two(100_000, told)).asked() as response, asyncio.timeout(60):
        mine = Range(0, SIZE)
        body = Body(response, mine, bytearray(SIZE))
        while mine.at < 100_000:
            await body.more(SIZE, SIZE)
        told.set()

        assert await received(body) == DATA


async def test_a_reader_that_is_cancelled_has_all_that_came_and_nothing_after_it() -> None:
    """What it has is written then, so it must not change any more."""
    left = asyncio.Event()
    async with Server(in_two(2_000_000, left)).asked() as response:
        mine = Range(0, SIZE)
        body = Body(response, mine, bytearray(SIZE))
        while mine.at < 2_000_000:
            await body.more(1, SIZE)
        coming = asyncio.create_task(body.more(SIZE, SIZE))
        await asyncio.sleep(0)  # until it waits
        coming.cancel()
        await asyncio.wait({coming})
        left.set()
        assert response.connection is not None
        assert response.connection.transport is not None

        assert not response.connection.transport.is_reading()
        assert (mine.at, body.filled) == (2_000_000, 2_000_000)
