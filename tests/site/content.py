"""Bytes from nothing: file contents computed from name, version and offset, and small pictures."""

from __future__ import annotations

import functools
import hashlib
import random
import struct
import zlib
from collections.abc import Iterator

PERIOD = 1_048_583
"""Prime, so that a piece written at an offset wrong by any round number of bytes never matches by accident."""


@functools.cache
def _block() -> memoryview:
    return memoryview(random.Random("longshore").randbytes(PERIOD) * 2)


@functools.lru_cache(maxsize=4096)
def _phase(name: str, version: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{version}/{name}".encode()).digest()[:8]) % PERIOD


def content(name: str, start: int, stop: int, *, version: int = 1) -> memoryview:
    """Bytes start..stop of the file called `name`, about 1 MiB of them at the most."""
    if stop - start > PERIOD:
        raise ValueError(f"ask for {PERIOD} bytes at the most")
    at = (_phase(name, version) + start) % PERIOD
    return _block()[at : at + stop - start]


def pieces(name: str, size: int, *, version: int = 1) -> Iterator[memoryview]:
    for start in range(0, size, PERIOD):
        yield content(name, start, min(size, start + PERIOD), version=version)


@functools.lru_cache(maxsize=4096)
def sha256(size: int, name: str, *, version: int = 1) -> str:
    """Hex digest of the whole file that `/file/<size>/<name>` serves."""
    digest = hashlib.sha256()
    for piece in pieces(name, size, version=version):
        digest.update(piece)
    return digest.hexdigest()


@functools.lru_cache(maxsize=16384)
def png(seed: str) -> bytes:
    """A valid 16x16 picture, different for every seed."""
    width = height = 16
    pixels = random.Random(seed).randbytes(width * height * 3)
    rows = b"".join(b"\0" + pixels[row * width * 3 : (row + 1) * width * 3] for row in range(height))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
