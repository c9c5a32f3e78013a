"""A file that a worker is still fetching, read where its bytes are there.

How far it has come is told in a note beside it (libs/growth.py). What is asked for beyond that is waited for, and the
worker hears where, so that it may fetch that part next; when it can not come the connection is broken off, never ended.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

from libs.growth import note, told
from libs.serving.ranges import Span
from libs.serving.sending import PIECE
from proto.unrestrict_proxy import LinkState

LOOK_SECONDS = 0.1
ASK_SECONDS = 1.0
"""So often it is asked whether the fetch goes on, and said where somebody waits."""
PATIENCE_SECONDS = 50.0
"""Without a new byte. Download managers give up after a minute, and ask again when they are told that it broke."""


class GrowingFile:
    def __init__(
        self,
        path: Path,
        state: Callable[[], Awaitable[LinkState | None]],
        wait_at: Callable[[int], Awaitable[None]],
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        """`path` may not be there yet, and is gone when the file is kept; what was open by then is read to its end."""
        self._path = path
        self._state = state
        self._wait_at = wait_at
        self._patience = patience
        self._asked = float("-inf")

    async def pieces(self, span: Span) -> AsyncGenerator[bytes, None]:
        """Raises ConnectionAbortedError when the rest will not come, or not soon."""
        file: _Open | None = None
        offset, moved = span.first, time.monotonic()
        try:
            while offset <= span.last:
                file = file or await asyncio.to_thread(_open, self._path)
                wanted = min(PIECE, span.last - offset + 1)
                piece = b"" if file is None else await asyncio.to_thread(file.read, offset, wanted)
                if piece:
                    offset, moved = offset + len(piece), time.monotonic()
                    yield piece
                else:
                    await self._grown(file, offset, moved)
        finally:
            if file is not None:
                file.close()

    async def _grown(self, file: _Open | None, offset: int, moved: float) -> None:
        """Returns when there is more, or when there may be."""
        while True:
            if time.monotonic() - moved > self._patience:
                raise ConnectionAbortedError("the fetch stands still")
            await asyncio.sleep(LOOK_SECONDS)  # the pace at which a file that another process writes is looked at
            if file is None:
                if await asyncio.to_thread(note(self._path).exists):
                    return
            elif file.reach(offset) > offset:
                return
            if time.monotonic() - self._asked >= ASK_SECONDS:
                self._asked = time.monotonic()
                await self._wait_at(offset)
                state = await self._state()
                if state not in {"pending", "downloading"} and (file is None or file.reach(offset) <= offset):
                    # Kept by now: whoever asks again gets it from where it is. Or failed.
                    raise ConnectionAbortedError("the fetch is over")


class _Open:
    """The file and its note."""

    def __init__(self, handle: int, there: int) -> None:
        self._handle = handle
        self._there = there

    def reach(self, offset: int) -> int:
        """Where the bytes from here on end."""
        return next((stop for start, stop in told(self._there) if start <= offset < stop), offset)

    def read(self, offset: int, most: int) -> bytes:
        stop = min(self.reach(offset), offset + most)
        piece = os.pread(self._handle, stop - offset, offset) if stop > offset else b""
        # A fetch that has to begin anew says so before it takes anything back.
        return piece if self.reach(offset) >= offset + len(piece) else b""

    def close(self) -> None:
        os.close(self._handle)
        os.close(self._there)


def _open(path: Path) -> _Open | None:
    with ExitStack() as opened:
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            opened.callback(os.close, handle)
            there = os.open(note(path), os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            return None
        opened.pop_all()
        return _Open(handle, there)
