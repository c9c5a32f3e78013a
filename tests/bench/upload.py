"""1 GiB to an S3 server on this machine: by the way that stored files go, and by the same library alone, in turn.

Both send parts of the same size, as many at once, to the same process with nothing else in it, and each begins every
other turn. The library alone hashes, asks and checks nothing, and needs no proxy. A first upload is not counted, which
would measure how long the system takes to find the server its memory: it takes up to twice as long as any later one,
whoever sends it. The server keeps the file in memory: writing it to a disk would be most of the difference between two
turns. What it takes to join the parts when all are there is the same for both, and most of the time.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import opendal

from libs.egress.policy import EgressPolicy
from services.storage.targets.mover import Mover
from services.storage.targets.objects import AT_ONCE, PART, ObjectTarget
from tests.support.objects.s3 import Moto, S3Storage
from tests.support.objects.storage import OPEN

SIZE = 1 << 30
TURNS = 4
IN_MEMORY = {"MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": str(2 * SIZE)}
"""For the server's environment."""


def made(path: Path) -> str:
    """A file of that size; its hash."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(SIZE >> 20):
            part = hashlib.sha256(str(number).encode()).digest() * (1 << 15)
            digest.update(part)
            file.write(part)
    return digest.hexdigest()


async def ours(source: Path, storage: S3Storage, mover: Mover, sha256: str) -> float:
    """Seconds."""
    target = ObjectTarget(storage.credentials, mover)
    await target.verify()  # as when it was configured; the helper runs from then on, as in a busy service
    began = time.perf_counter()
    await target.put(source, target.key((), "ours.bin"), SIZE, sha256)
    return time.perf_counter() - began


async def raw(source: Path, storage: S3Storage) -> float:
    """Seconds."""
    options = storage.credentials.options(None)
    operator = opendal.AsyncOperator(options.pop("scheme"), **options)
    began = time.perf_counter()
    with source.open("rb") as file:
        target = await operator.open("raw.bin", "wb", chunk=PART, concurrent=AT_ONCE)
        while part := await asyncio.to_thread(file.read, PART):
            await target.write(part)
        await target.close()
    return time.perf_counter() - began


async def turns(server: Moto, folder: Path) -> AsyncIterator[tuple[float, float]]:
    """(ours, the library's) in seconds, turn by turn. The bucket is new each time and emptied afterwards, so that the
    server has to hold one file and no more."""
    source = folder / "source.bin"
    sha256 = await asyncio.to_thread(made, source)
    async with Mover(EgressPolicy.parse(OPEN)) as mover:
        ways = {
            "ours": lambda storage: ours(source, storage, mover, sha256),
            "raw": lambda storage: raw(source, storage),
        }
        await _once(server, ways["raw"])
        for number in range(TURNS):
            order = ("ours", "raw") if number % 2 == 0 else ("raw", "ours")
            took = {way: await _once(server, ways[way]) for way in order}
            yield took["ours"], took["raw"]


async def _once(server: Moto, way: Callable[[S3Storage], Awaitable[float]]) -> float:
    storage = server.bucket()
    took = await way(storage)
    client = server.client("s3")
    for key in await storage.objects():
        await asyncio.to_thread(client.delete_object, Bucket=storage.credentials.bucket, Key=key)
    return took
