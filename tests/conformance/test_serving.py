"""Files over real HTTP, and programs that people fetch them with."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email import message_from_bytes
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from libs.http import listening
from libs.serving.headers import Served
from libs.serving.ranges import Span
from libs.serving.sending import PIECE, LocalFile, Source, answer
from tests.domain.test_serving import AT, DATE
from tests.support.ports import own_port
from tests.support.programs import program
from tests.support.sure import being

SIZE = 3 * PIECE + 1234


@asynccontextmanager
async def serving(file: Served, source: Callable[[], Source], stalled: float = 30.0) -> AsyncIterator[str]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(file, source(), scope, receive, send, stalled)

    port = own_port()
    async with listening("127.0.0.1", port, app):
        yield f"http://127.0.0.1:{port}/file.bin"


@asynccontextmanager
async def on_disk(folder: Path, content: bytes, size: int | None = None) -> AsyncIterator[str]:
    """`size` is what is said of it, when that is not true."""
    path = folder / "file.bin"
    path.write_bytes(content)
    file = Served(
        name="Größe.bin",
        size=len(content) if size is None else size,
        digest=hashlib.sha256(content).hexdigest(),
        media_type="text/html",
        modified_at=AT,
    )
    handle = os.open(path, os.O_RDONLY)
    try:
        async with serving(file, lambda: LocalFile(handle)) as url:
            yield url
    finally:
        os.close(handle)


@pytest.fixture
def content() -> bytes:
    return random.Random(7).randbytes(SIZE)


async def asked(url: str, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
    names = {name.replace("_", "-"): text for name, text in headers.items()}
    async with aiohttp.ClientSession() as session, session.request(method, url, headers=names) as got:
        return got.status, got.headers, await got.read()


async def run(*words: str, cwd: Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *words, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def test_the_whole_is_an_attachment_that_nothing_renders(tmp_path, content):
    async with on_disk(tmp_path, content) as url:
        status, headers, body = await asked(url, Authorization="Bearer of_somebody_else", Cookie="a=b")
        head_status, head_headers, nothing = await asked(url, "HEAD", Range="bytes=0-9")

    assert (status, body) == (200, content)
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"] == "attachment; filename=\"Gr__e.bin\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe.bin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
    assert headers["Last-Modified"] == DATE
    assert "Content-Encoding" not in headers
    assert (head_status, nothing) == (200, b"")
    assert {k: v for k, v in head_headers.items() if k != "Date"} == {k: v for k, v in headers.items() if k != "Date"}


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        (f"bytes={PIECE - 1}-{PIECE}", PIECE - 1, PIECE),
        (f"bytes={SIZE - 5}-", SIZE - 5, SIZE - 1),
        ("bytes=-7", SIZE - 7, SIZE - 1),
        (f"bytes=-{SIZE * 2}", 0, SIZE - 1),
        (f"bytes=10-{SIZE * 2}", 10, SIZE - 1),
        ("bytes=5-9,10-14,7-7", 5, 14),
    ],
)
async def test_one_range(tmp_path, content, header, first, last):
    async with on_disk(tmp_path, content) as url:
        status, headers, body = await asked(url, Range=header)

    assert (status, headers["Content-Range"]) == (206, f"bytes {first}-{last}/{SIZE}")
    assert (body, int(headers["Content-Length"])) == (content[first : last + 1], last - first + 1)


async def test_several_ranges_come_as_parts_of_one_body(tmp_path, content):
    async with on_disk(tmp_path, content) as url:
        status, headers, body = await asked(url, Range=f"bytes=-10, 0-{PIECE}, 5-7, {SIZE}-")
    message = message_from_bytes(f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode() + body)
    parts = [(part["Content-Range"], part.get_payload(decode=True)) for part in being(list, message.get_payload())]

    assert status == 206
    assert len(body) == int(headers["Content-Length"])
    assert "Content-Range" not in headers
    assert parts == [
        (f"bytes {SIZE - 10}-{SIZE - 1}/{SIZE}", content[-10:]),
        (f"bytes 0-{PIECE}/{SIZE}", content[: PIECE + 1]),
    ]


async def test_what_is_not_in_the_file_is_refused_with_its_size(tmp_path, content):
    async with on_disk(tmp_path, content) as url:
        status, headers, body = await asked(url, Range=f"bytes={SIZE}-")

    assert (status, headers["Content-Range"]) == (416, f"bytes */{SIZE}")
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert b"<" not in body


async def test_a_file_that_is_known_is_not_sent_again(tmp_path, content):
    async with on_disk(tmp_path, content) as url:
        _, first, _ = await asked(url, "HEAD")
        status, headers, body = await asked(url, If_None_Match=first["ETag"])
        other, _, _ = await asked(url, If_Match='"other"', Range="bytes=0-9")
        changed, _, whole = await asked(url, If_Range='"other"', Range="bytes=0-9")

    assert (status, headers["ETag"], body) == (304, first["ETag"], b"")
    assert other == 412
    assert (changed, whole) == (200, content)


async def test_an_empty_file_is_sent(tmp_path):
    async with on_disk(tmp_path, b"") as url:
        assert (await asked(url, Range="bytes=0-"))[::2] == (200, b"")


async def test_sixteen_ranges_at_once_are_the_file(tmp_path, content):
    step = -(-SIZE // 16)
    async with on_disk(tmp_path, content) as url:
        parts = await asyncio.gather(
            *(asked(url, Range=f"bytes={n * step}-{min((n + 1) * step, SIZE) - 1}") for n in range(16))
        )

    assert b"".join(body for _, _, body in parts) == content


async def test_a_file_that_was_cut_short_ends_with_its_connection(tmp_path, content):
    async with on_disk(tmp_path, content, size=SIZE + 1) as url:
        with pytest.raises(aiohttp.ClientPayloadError):
            await asked(url)


async def test_what_only_partly_is_in_memory_is_sent_as_it_is(tmp_path, content):
    async with on_disk(tmp_path, content) as url:
        with (tmp_path / "file.bin").open("rb") as file:
            os.fsync(file.fileno())
            for first, length in ((PIECE // 2, PIECE), (SIZE - 4096, 4096)):
                os.posix_fadvise(file.fileno(), first, length, os.POSIX_FADV_DONTNEED)
        _, _, body = await asked(url)

    assert body == content


class Endless:
    """A source that says how much was taken of it, and when it was let go."""

    def __init__(self) -> None:
        self.taken = 0
        self.closed = asyncio.Event()

    async def pieces(self, span: Span):
        try:
            for _ in range(span.length // PIECE):
                self.taken += PIECE
                yield bytes(PIECE)
        finally:
            self.closed.set()


HUGE = Served(name="a", size=2**40, digest="0" * 64, media_type="video/mp4", modified_at=AT)


async def test_a_client_that_goes_away_ends_the_reading():
    source = Endless()
    async with serving(HUGE, lambda: source) as url, aiohttp.ClientSession() as session:
        async with session.get(url) as got:
            await got.content.readexactly(PIECE)
        async with asyncio.timeout(60):
            await source.closed.wait()

    # To a connection that is gone the server takes everything at once, until it is heard of.
    assert source.taken < 2**36


async def test_a_client_that_takes_nothing_is_not_read_ahead_for_and_given_up():
    source = Endless()
    async with (
        serving(HUGE, lambda: source, stalled=0.2) as url,
        aiohttp.ClientSession(read_bufsize=1) as session,
        session.get(url) as got,
    ):
        async with asyncio.timeout(60):
            await source.closed.wait()
        with pytest.raises(aiohttp.ClientError):
            while await got.content.readany():
                pass

    # What the sockets' buffers hold may have been taken, and no more.
    assert source.taken < 2**26


class Slow:
    """Takes longer than a stalled client is waited for, with no pause as long."""

    async def pieces(self, span: Span):
        for _ in range(span.length):
            yield b"x"
            await asyncio.sleep(0.5)  # the pace of the source


async def test_who_takes_little_at_a_time_is_not_given_up():
    file = Served(name="a", size=6, digest="0" * 64, media_type="video/mp4", modified_at=AT)
    async with serving(file, Slow, stalled=2.0) as url:
        _, _, body = await asked(url)

    assert body == b"x" * 6


async def test_curl_goes_on_where_it_stopped(tmp_path, content):
    (tmp_path / "half").write_bytes(content[: SIZE // 2])
    async with on_disk(tmp_path, content) as url:
        status, said = await run(program("curl"), "-sS", "-C", "-", "-o", "half", url, cwd=tmp_path)

    assert (status, said) == (0, "")
    assert (tmp_path / "half").read_bytes() == content


async def test_aria2_fetches_with_sixteen_connections(tmp_path):
    content = random.Random(8).randbytes(24 * 2**20)
    async with on_disk(tmp_path, content) as url:
        options = ("-x16", "-s16", "-k1M", "-c", "--file-allocation=none", "-o", "out")
        status, said = await run(program("aria2", "aria2c"), *options, url, cwd=tmp_path)

    assert status == 0, said
    assert (tmp_path / "out").read_bytes() == content


async def test_a_file_that_is_shorter_than_its_record_ends_with_an_error_after_its_bytes(tmp_path):
    """A clean end would be the whole to who was told no length."""
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(10))
    got = bytearray()
    with path.open("rb") as file, pytest.raises(ConnectionAbortedError):
        async for piece in LocalFile(file.fileno()).pieces(Span(0, 10)):
            got += piece

    assert got == bytes(10)
