"""A file is read while a worker still writes it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from libs.growth import Growth, note, told
from libs.serving.ranges import Span
from services.unrestrict_proxy.growing import GrowingFile
from tests.support.sure import sure

WHOLE = bytes(range(256)) * 4000


class Fetch:
    """A worker's file, which grows when it is told to."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "host.part"
        self.state = "downloading"
        self.asked = asyncio.Event()
        self.awaited: list[int] = []
        self.growth: Growth | None = None

    def grow(self, to: int) -> None:
        self.has((0, to))

    def has(self, *extents) -> None:
        """A hole is as long as the file, and zeros."""
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.truncate(len(WHOLE))
            for start, stop in extents:
                file.seek(start)
                file.write(WHOLE[start:stop])
        self.growth = self.growth or Growth(self.path)
        self.growth.tell(extents)

    async def waits(self, at: int) -> None:
        self.awaited.append(at)

    async def says(self):
        self.asked.set()
        return self.state

    def read(self, first: int = 0, last: int = len(WHOLE) - 1, patience: float = 50.0):
        return GrowingFile(self.path, self.says, self.waits, patience).pieces(Span(first, last))


async def collected(pieces) -> bytes:
    return b"".join([piece async for piece in pieces])


async def test_what_is_there_comes_at_once_and_the_rest_when_it_is_written(tmp_path):
    fetch = Fetch(tmp_path)
    fetch.grow(1000)
    pieces = fetch.read()
    first = await anext(pieces)
    fetch.grow(len(WHOLE))

    assert first == WHOLE[:1000]
    assert await collected(pieces) == WHOLE[1000:]


async def test_a_range_ahead_of_what_is_there_waits_for_it_also_when_there_is_no_file_yet(tmp_path):
    fetch = Fetch(tmp_path)
    async with asyncio.timeout(60):
        reading = asyncio.create_task(collected(fetch.read(500_000, 600_000)))
        await fetch.asked.wait()
        fetch.grow(400_000)
        fetch.asked.clear()
        await fetch.asked.wait()
        waiting = not reading.done()
        fetch.grow(len(WHOLE))

        assert waiting
        assert await reading == WHOLE[500_000:600_001]


async def test_a_file_that_is_moved_away_when_it_is_whole_is_read_to_its_end(tmp_path):
    fetch = Fetch(tmp_path)
    fetch.grow(1000)
    pieces = fetch.read()
    first = await anext(pieces)
    fetch.grow(len(WHOLE))
    fetch.path.replace(tmp_path / "kept.bin")
    fetch.state = "done"

    assert first + await collected(pieces) == WHOLE


@pytest.mark.parametrize("state", ["error", "expired", "done", None])
async def test_a_fetch_that_ended_without_the_bytes_breaks_the_connection_off(tmp_path, state):
    """One that is done has its file elsewhere: who asks again is served from there."""
    fetch = Fetch(tmp_path)
    fetch.grow(1000)
    fetch.state = state
    pieces = fetch.read()
    first = await anext(pieces)

    assert first == WHOLE[:1000]
    with pytest.raises(ConnectionAbortedError, match="over"):
        await collected(pieces)


async def test_a_part_in_the_middle_is_read_before_what_is_in_front_and_a_hole_is_never_sent(tmp_path):
    fetch = Fetch(tmp_path)
    fetch.has((0, 1000), (500_000, 600_000))
    middle = fetch.read(500_000, 699_999)
    front = fetch.read()
    firsts = await anext(middle), await anext(front)
    async with asyncio.timeout(60):
        rests = [asyncio.create_task(collected(one)) for one in (middle, front)]
        while len(fetch.awaited) < 2:
            await fetch.asked.wait()
            fetch.asked.clear()
        waiting = [not one.done() for one in rests]
        fetch.grow(len(WHOLE))

        assert waiting == [True, True]
        assert b"".join((firsts[0], await rests[0])) == WHOLE[500_000:700_000]
        assert firsts[1] + await rests[1] == WHOLE
    assert sorted(set(fetch.awaited)) == [1000, 600_000]


async def test_a_fetch_that_begins_anew_takes_back_what_it_had(tmp_path):
    fetch = Fetch(tmp_path)
    fetch.grow(1000)
    sure(fetch.growth).tell(())
    async with asyncio.timeout(60):
        reading = asyncio.create_task(collected(fetch.read(0, 500)))
        await fetch.asked.wait()
        waiting = not reading.done()
        fetch.grow(1000)

        assert waiting
        assert await reading == WHOLE[:501]


async def test_a_note_that_is_half_written_says_nothing(tmp_path):
    fetch = Fetch(tmp_path)
    fetch.grow(1000)
    with note(fetch.path).open("r+b") as file:
        file.seek(9)
        file.write(b"9")
        file.flush()

        assert told(file.fileno()) == ()


async def test_a_fetch_that_stands_still_breaks_the_connection_off(tmp_path):
    fetch = Fetch(tmp_path)

    with pytest.raises(ConnectionAbortedError, match="still"):
        await collected(fetch.read(patience=0.2))
