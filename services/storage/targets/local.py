"""The local disk. A file appears under its final name only when its bytes and that name are durable."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path, PurePosixPath

COMPARED = 1 << 20
"""Bytes at a time."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Taken(Exception):
    """Another file has this name."""


class NotShared(Exception):
    """The bytes that are there can not have another name."""


class NotAFile(Exception):
    """The path leaves its folder, or is a link, or is not a regular file."""


class Full(Exception):
    """The disk has no room."""


class LocalTarget:
    """Every path it touches is below `root` or, for what it takes over, below `work`. Calls block: run in a thread."""

    def __init__(self, root: Path, work: Path) -> None:
        self._root = root
        self._work = work

    def source(self, relative: str, job_folder: str) -> Path:
        """The finished file of one job. Raises NotAFile for anything that is not plainly inside that job's folder."""
        path = self._work / relative
        folder = (self._work / job_folder).resolve()
        try:
            inside = path.resolve(strict=True).is_relative_to(folder)
            kind = path.lstat().st_mode
        except OSError as error:
            raise NotAFile(relative) from error
        if not inside or not stat.S_ISREG(kind):
            raise NotAFile(relative)
        return path

    def take(self, source: Path, location: PurePosixPath) -> None:
        """Give `source` the name `location`, durably, and leave the source in place: until the record is committed a
        repeat must find it. A name that already is this very file is a repeat. Raises Taken, Full."""
        final = self._root / location
        try:
            final.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            _sync(source)
            self._link(source, final)
            _sync(final.parent)
        except FileExistsError as error:
            if not final.samefile(source):
                raise Taken(str(location)) from error
        except OSError as error:
            if error.errno in FULL:
                raise Full(str(error)) from error
            raise

    def has_bytes_of(self, location: str, source: Path) -> bool:
        try:
            with (self._root / location).open("rb") as ours, source.open("rb") as theirs:
                while mine := ours.read(COMPARED):
                    if mine != theirs.read(COMPARED):
                        return False
                return not theirs.read(1)
        except FileNotFoundError:
            return False

    def share(self, original: str, source: Path, location: PurePosixPath) -> None:
        """Give the bytes at `original`, which are those of `source`, a second name, durably. A name that already is of
        one of the two is what a crash left. Raises Taken, NotShared."""
        first, final = self._root / original, self._root / location
        try:
            final.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            os.link(first, final, follow_symlinks=False)
            _sync(final.parent)
        except FileExistsError as error:
            if not (final.samefile(first) or final.samefile(source)):
                raise Taken(str(location)) from error
        except OSError as error:
            # The bytes went, they have all the names they can have, or this file system knows one name alone.
            raise NotShared(str(error)) from error

    def _link(self, source: Path, final: Path) -> None:
        # link(2) refuses an existing name, which rename(2) would silently replace.
        try:
            os.link(source, final, follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK):
                raise
            self._copy(source, final)
        final.chmod(0o644)

    def _copy(self, source: Path, final: Path) -> None:
        """For file systems without hard links, or work and files on different ones."""
        partial = final.with_name(f".{final.name[:100]}.partial")
        shutil.copyfile(source, partial)
        _sync(partial)
        try:
            with final.open("xb"):
                pass
        except FileExistsError:
            partial.unlink()
            raise
        partial.replace(final)

    def release(self, source: Path) -> None:
        """After the commit: the work folder's name of the file goes."""
        source.unlink(missing_ok=True)

    def path(self, location: str) -> Path:
        return self._root / location

    def delete(self, location: str) -> None:
        (self._root / location).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
