"""The note beside a partial file: of which version of which resource it is, and which of its bytes can be believed."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

Extent = tuple[int, int]
"""Start and stop of bytes that are there."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Which version of which resource. Only a strong ETag or a date can prove later that it is still the same."""

    url: str
    size: int | None
    etag: str | None
    last_modified: str | None
    name: str = "download"
    media_type: str = "application/octet-stream"
    place: str | None = None
    """Whose validators these are: a digest of the address that answered, which may carry the right to fetch."""

    @property
    def validator(self) -> str | None:
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    identity: Identity
    boot: str
    linear: bool
    """The file grew from its start, so within one boot its length says what is there, even after a kill."""
    written: tuple[Extent, ...]
    """Counts within one boot: the page cache keeps what was written."""
    synced: tuple[Extent, ...]
    """Counts always."""

    def extents(self, length: int) -> tuple[Extent, ...]:
        """What is there of a file that is `length` long now."""
        if self.identity.size is not None and length > self.identity.size:
            return ()  # this is not ours
        if self.boot != boot_id():
            kept = self.synced
        elif self.linear:
            kept = ((0, length),)
        else:
            kept = self.written
        return tuple((start, min(stop, length)) for start, stop in kept if start < length)


def read_manifest(path: Path) -> Manifest | None:
    """None when there is none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def write_manifest(path: Path, manifest: Manifest, *, durable: bool) -> None:
    """All of it or the one before."""
    fresh = path.with_name(path.name + ".new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    # A file, because os.write takes what there is room for and says nothing of the rest.
    with os.fdopen(handle, "wb") as file:
        file.write(msgspec.json.encode(manifest))
        file.flush()
        if durable:
            os.fsync(handle)
    fresh.replace(path)


def forget_manifest(path: Path) -> None:
    """Gone also after a loss of power, so that it never vouches for the bytes that come next."""
    path.unlink(missing_ok=True)
    handle = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def joined(extents: tuple[Extent, ...], fresh: Extent) -> tuple[Extent, ...]:
    """In order, with neighbours and overlaps made one."""
    found: list[Extent] = []
    for start, stop in sorted((*extents, fresh)):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((start, stop))
    return tuple(found)


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
