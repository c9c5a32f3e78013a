"""A file that a worker is still fetching, read as far as it has come.

With one connection upstream a partial file only ever grows at its end, so its length is how far it can be read. What is
asked for beyond that is waited for; when it can not come the connection is broken off, never ended.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

from libs.serving.ranges import Span
from libs.serving.sending import PIECE
from proto.unrestrict_proxy import LinkState

LOOK_SECONDS = 0.1
ASK_SECONDS = 1.0
"""So often it is asked whether the fetch goes on."""
PATIENCE_SECONDS = 50.0
"""Without a new byte. Download managers give up after a minute, and ask again when they are told that it broke."""


class GrowingFile:
    def __init__(
        self, path: Path, state: Callable[[], Awaitable[LinkState | None]], patience: float = PATIENCE_SECONDS
    ) -> None:
        """`path` may not be there yet, and is gone when the file is kept; what was open by then is read to its end."""
        self._path = path
        self._state = state
        self._patience = patience

    async def pieces(self, span: Span) -> AsyncGenerator[bytes, None]:
        """Raises ConnectionAbortedError when the rest will not come, or not soon."""
        handle: int | None = None
        offset, moved = span.first, time.monotonic()
        try:
            while offset <= span.last:
                handle = await asyncio.to_thread(_open, self._path) if handle is None else handle
                wanted = min(PIECE, span.last - offset + 1)
                piece = b"" if handle is None else await asyncio.to_thread(os.pread, handle, wanted, offset)
                if piece:
                    offset, moved = offset + len(piece), time.monotonic()
                    yield piece
                else:
                    await self._grown(handle, offset, moved)
        finally:
            if handle is not None:
                os.close(handle)

    async def _grown(self, handle: int | None, offset: int, moved: float) -> None:
        """Returns when there is more, or when there may be."""
        asked = time.monotonic()
        while True:
            if time.monotonic() - moved > self._patience:
                raise ConnectionAbortedError("the fetch stands still")
            await asyncio.sleep(LOOK_SECONDS)  # the pace at which a file that another process writes is looked at
            if handle is None and await asyncio.to_thread(self._path.exists):
                return
            if handle is not None and os.fstat(handle).st_size > offset:
                return
            if time.monotonic() - asked >= ASK_SECONDS:
                asked = time.monotonic()
                state = await self._state()
                if state not in {"pending", "downloading"} and (handle is None or os.fstat(handle).st_size <= offset):
                    # Kept by now: whoever asks again gets it from where it is. Or failed.
                    raise ConnectionAbortedError("the fetch is over")


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
