"""A partial file and the manifest beside it: what is on disk, of which version of the resource, and how much of it
survives a loss of power."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import time
from pathlib import Path
from typing import Self

import msgspec

SYNC_BYTES = 64 * 1024 * 1024
SYNC_SECONDS = 5.0
LOCK_SECONDS = 30.0
PREFIX_CHUNK = 4 * 1024 * 1024


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Which version of which resource. Only a strong ETag or a date can prove later that it is still the same."""

    url: str
    size: int | None
    etag: str | None
    last_modified: str | None

    @property
    def validator(self) -> str | None:
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified


class _Manifest(msgspec.Struct, frozen=True, kw_only=True):
    identity: Identity
    synced: int
    boot: str


class LockedByAnother(Exception):
    """Another attempt still writes this file."""


class Partial:
    """Appends, hashes and remembers. Blocking work runs in threads; one buffer may be under way while the next fills."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0
        self.identity: Identity | None = None
        self._manifest = path.with_name(path.name + ".manifest")
        self._hash = hashlib.sha256()
        self._synced = 0
        self._synced_at = time.monotonic()
        self._handle = -1
        self._writing: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        """Raises LockedByAnother when the writer before us does not let go within LOCK_SECONDS."""
        self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    os.close(self._handle)
                    raise LockedByAnother(str(self.path)) from error
                await asyncio.sleep(0.05)  # flock has no wait that can be cancelled
        await asyncio.to_thread(self._recover)
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            if self._writing is not None:
                await asyncio.wait({self._writing})
        finally:
            os.close(self._handle)

    def _recover(self) -> None:
        try:
            known = msgspec.json.decode(self._manifest.read_bytes(), type=_Manifest)
        except (FileNotFoundError, msgspec.DecodeError):
            os.ftruncate(self._handle, 0)
            return
        # Within one boot the page cache keeps all that was written; after a loss of power only what was synced counts.
        length = os.fstat(self._handle).st_size
        self.offset = length if known.boot == _boot() else min(length, known.synced)
        os.ftruncate(self._handle, self.offset)
        self.identity = known.identity
        self._synced = min(known.synced, self.offset)
        done = 0
        while done < self.offset:
            chunk = os.pread(self._handle, min(PREFIX_CHUNK, self.offset - done), done)
            self._hash.update(chunk)
            done += len(chunk)

    async def begin(self, identity: Identity) -> None:
        """From the first byte of this version, whatever was here."""
        await self._settled()
        await asyncio.to_thread(self._begin, identity)

    def _begin(self, identity: Identity) -> None:
        os.ftruncate(self._handle, 0)
        self.offset = self._synced = 0
        self._hash = hashlib.sha256()
        self.identity = identity
        self._remember()

    async def append(self, buffer: bytes | bytearray) -> None:
        """Returns when the buffer before this one is written; the caller must not touch `buffer` again."""
        await self._settled()
        start, self.offset = self.offset, self.offset + len(buffer)
        self._writing = asyncio.ensure_future(asyncio.to_thread(self._append, buffer, start))

    def _append(self, buffer: bytes | bytearray, start: int) -> None:
        view = memoryview(buffer)
        while view:
            written = os.pwrite(self._handle, view, start)
            start += written
            self._hash.update(view[:written])
            view = view[written:]
        now = time.monotonic()
        if start - self._synced >= SYNC_BYTES or now - self._synced_at >= SYNC_SECONDS:
            os.fdatasync(self._handle)
            self._synced, self._synced_at = start, now
            self._remember()

    async def _settled(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await writing

    async def digest(self) -> str:
        await self._settled()
        return self._hash.hexdigest()

    def _remember(self) -> None:
        assert self.identity is not None
        content = msgspec.json.encode(_Manifest(identity=self.identity, synced=self._synced, boot=_boot()))
        fresh = self._manifest.with_name(self._manifest.name + ".new")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, content)
            if self._synced:
                os.fsync(handle)
        finally:
            os.close(handle)
        fresh.replace(self._manifest)


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
