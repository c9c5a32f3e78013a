"""The record of every request the site was asked: the proof of "asked once" and "resumed from byte N"."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec


class Hit(msgspec.Struct, kw_only=True):
    """One request. Not frozen: `status`, `sent` and `ended` follow the response while it is on its way.

    `sent` counts body bytes handed to the kernel; for a response that is `gone` it may count one piece of up to
    256 KiB too many, never one too few. `ended`: `open` (on its way or held at a gate), `whole`, `cut` (by a knob),
    `gone` (the client left). `path` includes the query. `at` is unix seconds.
    """

    id: int
    at: float
    method: str
    host: str
    path: str
    range: str | None = None
    if_range: str | None = None
    cookie: str | None = None
    status: int = 0
    sent: int = 0
    ended: Literal["open", "whole", "cut", "gone"] = "open"

    @property
    def start(self) -> int:
        """First byte asked for; 0 without a Range header or for a suffix range."""
        first = (self.range or "").removeprefix("bytes=").partition("-")[0]
        return int(first) if first.isdigit() else 0


class Log:
    """Hits in order of arrival, and a signal for whoever waits for one."""

    def __init__(self, file: Path | None = None) -> None:
        self.hits: list[Hit] = []
        self._changed = asyncio.Event()
        self._file: BinaryIO | None = file.open("ab", buffering=0) if file else None

    def arrived(
        self, *, method: str, host: str, path: str, range: str | None, if_range: str | None, cookie: str | None
    ) -> Hit:
        hit = Hit(
            id=len(self.hits),
            at=time.time(),
            method=method,
            host=host,
            path=path,
            range=range,
            if_range=if_range,
            cookie=cookie,
        )
        self.hits.append(hit)
        self.wrote(hit)
        return hit

    def wrote(self, hit: Hit) -> None:
        """A later line with the same id replaces the earlier one."""
        if self._file:
            self._file.write(msgspec.json.encode(hit) + b"\n")
        self.moved()

    def moved(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, holds: Callable[[list[Hit]], bool], timeout: float) -> None:
        async with asyncio.timeout(timeout):
            while not holds(self.hits):
                await self._changed.wait()

    def close(self) -> None:
        if self._file:
            self._file.close()


def read_log(file: Path) -> list[Hit]:
    """The hits of another process's site; a last line still being written is left for the next reading."""
    newest: dict[int, Hit] = {}
    for line in file.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            hit = msgspec.json.decode(line, type=Hit)
            newest[hit.id] = hit
    return list(newest.values())
