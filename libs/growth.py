"""How far a file has come that one process writes and another reads along: a note beside the file.

It is written in place, so that whoever has it open sees every change, also when both files have been moved away; a
checksum tells a note that was read while it was written.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import msgspec

Extent = tuple[int, int]
"""Start and stop of bytes that are there."""
LARGEST = 64 * 1024
"""Bytes of a note that are read; one of some thousand extents fits."""

_extents = msgspec.json.Decoder(tuple[Extent, ...]).decode


def note(path: Path) -> Path:
    """Where the note of the file at `path` lies: beside it."""
    return path.with_name(f"{path.name}.there")


class Growth:
    """The writer's end of the note."""

    def __init__(self, path: Path) -> None:
        """`path` is the growing file's; its note is made beside it."""
        self._handle = os.open(note(path), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def tell(self, extents: tuple[Extent, ...]) -> None:
        """Which bytes of the file can be read from now on; overwrites what was told before."""
        body = msgspec.json.encode(extents)
        os.pwrite(self._handle, zlib.crc32(body).to_bytes(4) + len(body).to_bytes(4) + body, 0)

    def close(self) -> None:
        os.close(self._handle)


def told(handle: int) -> tuple[Extent, ...]:
    """What the note under this handle says; nothing while it can not be read."""
    frame = os.pread(handle, LARGEST, 0)
    body = frame[8 : 8 + int.from_bytes(frame[4:8])]
    if len(frame) < 8 or zlib.crc32(body) != int.from_bytes(frame[:4]):
        return ()
    return _extents(body)
