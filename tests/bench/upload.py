"""1 GiB to an S3 server on this machine: by the way that stored files go, and by the same library alone, in turn."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import opendal

from libs.egress.policy import EgressPolicy
from services.storage.targets.credentials import S3
from services.storage.targets.mover import Mover
from services.storage.targets.objects import AT_ONCE, PART, ObjectTarget
from tests.support.objects.s3 import Moto
from tests.support.objects.storage import OPEN

SIZE = 1 << 30
TURNS = 3


def made(path: Path) -> str:
    """A file of that size; its hash."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(SIZE >> 20):
            part = hashlib.sha256(str(number).encode()).digest() * (1 << 15)
            digest.update(part)
            file.write(part)
    return digest.hexdigest()


async def raw(source: Path, credentials: S3) -> None:
    """Parts of the same size, as many at once; nothing is hashed, asked or checked."""
    options = credentials.options(None)
    operator = opendal.AsyncOperator(options.pop("scheme"), **options)
    with source.open("rb") as file:
        target = await operator.open("raw.bin", "wb", chunk=PART, concurrent=AT_ONCE)
        while part := await asyncio.to_thread(file.read, PART):
            await target.write(part)
        await target.close()


async def turns(server: Moto, folder: Path) -> AsyncIterator[tuple[float, float]]:
    """(ours, the library's) in seconds, turn by turn. The bucket is new each time, so that the server has to hold one
    file and no more."""
    source = folder / "source.bin"
    sha256 = await asyncio.to_thread(made, source)
    async with Mover(EgressPolicy.parse(OPEN)) as mover:
        for _ in range(TURNS):
            credentials = server.bucket().credentials
            target = ObjectTarget(credentials, mover)
            await target.verify()  # as when it was configured; the helper runs from then on, as in a busy service
            key = target.key((), "ours.bin")
            began = time.perf_counter()
            await target.put(source, key, SIZE, sha256)
            ours = time.perf_counter() - began
            await target.delete(key)
            began = time.perf_counter()
            await raw(source, credentials)
            yield ours, time.perf_counter() - began
            client = server.client("s3")
            await asyncio.to_thread(client.delete_object, Bucket=credentials.bucket, Key="raw.bin")
