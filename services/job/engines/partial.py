"""A partial file and the manifest beside it: what is on disk, of which version of the resource, and how much of it
survives a loss of power."""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import msgspec

from libs.growth import Growth
from services.job.engines.manifest import (
    Extent,
    Identity,
    Manifest,
    boot_id,
    forget_manifest,
    joined,
    read_manifest,
    write_manifest,
)

BLOCK = 1024 * 1024
DEPTH = 4
"""Blocks under way at once."""
WRITE = 32 * 1024
"""Bytes of one call. Linux gives a longer one larger pieces of memory, and those it does not keep at hand: in a virtual
machine its host may have taken them back, and then they cost several times the copy."""
SYNC_BYTES = 64 * 1024 * 1024
SYNC_SECONDS = 5.0
LEAST_SECONDS = 1.0
"""Between two syncs, however fast the bytes come, and between two notes of what is there."""
LOCK_SECONDS = 30.0
CATCH_UP = 16 * BLOCK
"""Bytes of a backlog that are hashed beside each block, so that it shrinks while the download goes on."""
RESERVE = 256 * 1024 * 1024
"""Bytes of the disk that no download may take: the database lives there too."""

_SYNC_FILE_RANGE_WRITE = 2
_sync_file_range = ctypes.CDLL(None).sync_file_range
_sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


class _Flight(msgspec.Struct, frozen=True):
    """A block that is being written and hashed."""

    block: bytearray
    at: int
    count: int
    writing: asyncio.Future[None]
    hashing: asyncio.Future[None]

    @property
    def there(self) -> bool:
        return all(
            one.done() and not one.cancelled() and one.exception() is None for one in (self.writing, self.hashing)
        )


class LockedByAnother(Exception):
    """Another attempt still writes this file."""


class NoRoom(Exception):
    """There is no room for this file; the message says how much there is, and what to do."""

    def __init__(self, free: int, missing: int) -> None:
        takes = f"the file takes {_mib(missing)} more" if missing else "the file is not whole"
        super().__init__(
            f"there is no room for this file: the disk has {_mib(free)} free, of which {_mib(RESERVE)} are kept for "
            f"the database, and {takes}; make room on the disk"
        )


def _mib(count: int) -> str:
    return f"{count / (1 << 20):,.0f} MiB"


class Partial:
    """Writes, hashes and remembers. Blocking work runs in threads: while one block is written and hashed, the next
    one fills."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.identity: Identity | None = None
        self._manifest = path.with_name(path.name + ".manifest")
        self._handle = -1
        self._linear = True
        self._extents: tuple[Extent, ...] = ()
        self._synced: tuple[Extent, ...] = ()
        self._synced_at = self._remembered_at = time.monotonic()
        self._hash = hashlib.sha256()
        self._hashed = 0
        self._turn = asyncio.Lock()
        self._flying: list[_Flight] = []
        self._writer = ThreadPoolExecutor(1, "partial-write")
        self._hasher = ThreadPoolExecutor(1, "partial-hash")
        self._syncing: asyncio.Task[None] | None = None
        self._blocks: list[bytearray] = []
        self._growth: Growth | None = None

    # -- what is there ------------------------------------------------------------------------------------------------

    @property
    def done(self) -> int:
        """Bytes, with those of blocks that are on the disk and wait for the next to be landed."""
        landing = sum(one.count for one in self._flying if one.there)
        return sum(stop - start for start, stop in self._extents) + landing

    @property
    def whole(self) -> bool:
        size = self.identity.size if self.identity is not None else None
        return size is not None and (not size or self._extents == ((0, size),))

    def gaps(self) -> list[tuple[int, int | None]]:
        """What is missing; the last has no stop while the size is unknown."""
        size = self.identity.size if self.identity is not None else None
        found: list[tuple[int, int | None]] = []
        at = 0
        for start, stop in self._extents:
            if at < start:
                found.append((at, start))
            at = stop
        if size is None or at < size:
            found.append((at, size))
        return found

    # -- its life -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Raises LockedByAnother when the writer before us does not let go within LOCK_SECONDS."""
        self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            await self._lock()
            if os.fstat(self._handle).st_size:
                await asyncio.to_thread(self._recover)
        except BaseException:
            os.close(self._handle)
            raise
        return self

    async def _lock(self) -> None:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise LockedByAnother(str(self.path)) from error
            else:
                return
            await asyncio.sleep(0.05)  # flock has no wait that can be cancelled

    async def __aexit__(self, *_: object) -> None:
        under_way: set[asyncio.Future[None]] = {one.writing for one in self._flying}
        under_way |= {one.hashing for one in self._flying} | ({self._syncing} if self._syncing is not None else set())
        try:
            if under_way:
                await asyncio.wait(under_way)
            if not self._linear:
                self._remember(self._synced, durable=False)
        finally:
            self._writer.shutdown(wait=False)
            self._hasher.shutdown(wait=False)
            os.close(self._handle)
            if self._growth is not None:
                self._growth.close()

    def _recover(self) -> None:
        known = read_manifest(self._manifest)
        if known is None:
            os.ftruncate(self._handle, 0)
            return
        self.identity, self._linear, self._synced = known.identity, known.linear, known.synced
        self._extents = known.extents(os.fstat(self._handle).st_size)
        if self._linear:
            os.ftruncate(self._handle, self.done)

    async def begin(self, identity: Identity) -> None:
        """From the first byte of this version, whatever was here."""
        await self.settle()
        await self._synced_by_now()
        await asyncio.to_thread(self._begin, identity)

    def _begin(self, identity: Identity) -> None:
        if self.identity is not None:
            forget_manifest(self._manifest)
        if self._growth is not None:
            self._growth.tell(())
        os.ftruncate(self._handle, 0)
        self._hash, self._hashed = hashlib.sha256(), 0
        self._extents, self._synced, self._linear = (), (), True
        self.identity = identity
        self._remember((), durable=False)

    def share(self) -> None:
        """From now on another process may read along: what is there is told as it comes."""
        if self._growth is None:
            self._growth = Growth(self.path)
            self._growth.tell(self._extents)

    async def sized(self, size: int) -> None:
        """What the server says only on the way, or by ending."""
        await self.settle()
        assert self.identity is not None
        self.identity = msgspec.structs.replace(self.identity, size=size)

    async def spread(self) -> None:
        """From now on bytes come in at several places."""
        if not self._linear:
            return
        await self.settle()
        await self._synced_by_now()
        assert self.identity is not None
        assert self.identity.size is not None
        self._linear = False
        self._remember(self._synced, durable=False)
        await asyncio.to_thread(_allocate, self._handle, self.identity.size)

    def check_room(self, size: int | None) -> None:
        """Raises NoRoom, before the disk is full for everybody."""
        disk = os.fstatvfs(self._handle)
        free = disk.f_bavail * disk.f_frsize
        missing = 0 if size is None else max(0, size - os.fstat(self._handle).st_size)
        if free - missing < RESERVE:
            raise NoRoom(free, missing)

    def checkpoint(self) -> None:
        """What is there is found again also after a kill: the length of a file with holes says nothing."""
        self._remembered_at = time.monotonic()
        if not self._linear and (self._syncing is None or self._syncing.done()):
            self._remember(self._synced, durable=False)

    async def _synced_by_now(self) -> None:
        """Until no thread writes the manifest."""
        while self._syncing is not None and not self._syncing.done():
            await asyncio.wait({self._syncing})

    # -- bytes --------------------------------------------------------------------------------------------------------

    def block(self) -> bytearray:
        """To fill and give to `write`. Blocks go round, because memory that is warm costs a fraction of fresh one; a
        file that is known to be smaller gets one that it does not fill."""
        if self._blocks:
            return self._blocks.pop()
        size = self.identity.size if self.identity is not None else None
        return bytearray(BLOCK if size is None else min(size + 1, BLOCK))

    async def write(self, at: int, block: bytearray, count: int) -> None:
        """Returns when few enough blocks are under way; the caller must not touch `block` again."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            while self._flying and (len(self._flying) >= DEPTH or self._flying[0].there):
                await self._land()
            view = memoryview(block)[:count]
            if self._alone(at, count):
                writing = hashing = loop.run_in_executor(None, self._write_alone, view, at)
            else:
                writing = loop.run_in_executor(self._writer, _pwrite_on, self._handle, view, at)
                hashing = loop.run_in_executor(self._hasher, self._feed, view, at)
            self._flying.append(_Flight(block, at, count, writing, hashing))

    def _alone(self, at: int, count: int) -> bool:
        """Whether these are all bytes of the file: threads of its own would cost more than the work they share."""
        return at == 0 and self.identity is not None and count == self.identity.size and not self._flying

    def _write_alone(self, view: memoryview, at: int) -> None:
        _pwrite(self._handle, view, at)
        self._feed(view, at)

    async def settle(self) -> None:
        """Until everything that was written counts as there."""
        async with self._turn:
            while self._flying:
                await self._land()

    async def _land(self) -> None:
        """The oldest block under way. Raises OSError, NoRoom."""
        flight = self._flying[0]
        await asyncio.wait({flight.writing, flight.hashing})
        del self._flying[0]
        flight.writing.result()
        flight.hashing.result()
        if len(flight.block) == BLOCK:
            self._blocks.append(flight.block)
        self._extents = joined(self._extents, (flight.at, flight.at + flight.count))
        if self._growth is not None:
            self._growth.tell(self._extents)
        if time.monotonic() - self._remembered_at >= LEAST_SECONDS:
            self.checkpoint()
        quiet = time.monotonic() - self._synced_at
        fresh = self.done - sum(stop - start for start, stop in self._synced)
        if quiet >= SYNC_SECONDS or (fresh >= SYNC_BYTES and quiet >= LEAST_SECONDS):
            self.check_room(None)
            if self._syncing is None or self._syncing.done():
                self._synced_at = time.monotonic()
                self._syncing = asyncio.create_task(asyncio.to_thread(self._sync, self._extents))

    def _sync(self, extents: tuple[Extent, ...]) -> None:
        os.fdatasync(self._handle)
        self._remember(extents, durable=True)
        self._synced = extents

    def _feed(self, view: memoryview, at: int) -> None:
        if at == self._hashed:
            self._hash.update(view)
            self._hashed += len(view)
        else:
            self._catch_up(self._hashed + CATCH_UP)

    def _catch_up(self, limit: int) -> None:
        """Hashes what is there from disk, in order."""
        prefix = self._extents[0][1] if self._extents and self._extents[0][0] == 0 else 0
        while self._hashed < min(prefix, limit):
            piece = os.pread(self._handle, min(BLOCK, prefix - self._hashed), self._hashed)
            if not piece:
                raise OSError(f"{self.path} is shorter than it was")
            self._hash.update(piece)
            self._hashed += len(piece)

    async def digest(self) -> str:
        """Hex sha256 of the whole file."""
        await self.settle()
        if self._hashed < self.done:
            await asyncio.to_thread(self._catch_up, self.done)
        return self._hash.hexdigest()

    def _remember(self, synced: tuple[Extent, ...], *, durable: bool) -> None:
        assert self.identity is not None
        manifest = Manifest(
            identity=self.identity, boot=boot_id(), linear=self._linear, written=self._extents, synced=synced
        )
        write_manifest(self._manifest, manifest, durable=durable)


def _pwrite(handle: int, view: memoryview, at: int) -> None:
    while view:
        written = os.pwrite(handle, view[:WRITE], at)
        at += written
        view = view[written:]


def _pwrite_on(handle: int, view: memoryview, at: int) -> None:
    """And the disk begins at once: what a sync finds to do, all writes wait for."""
    _pwrite(handle, view, at)
    _sync_file_range(handle, at, len(view), _SYNC_FILE_RANGE_WRITE)  # a wish; what goes wrong is the next sync's


def _allocate(handle: int, size: int) -> None:
    try:
        os.posix_fallocate(handle, 0, size)
    except OSError:
        os.ftruncate(handle, size)  # a filesystem that can not: a hole does as well, and no room is noticed later
