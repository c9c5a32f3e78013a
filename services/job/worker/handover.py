"""A finished file goes from a work folder to storage."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from msgspec.structs import replace

from libs.message import Refused
from proto.job import EXTRA, Claimed, Failure, StoredItem
from proto.storage import NOT_KEPT, FileRejected, StillStoring, StoredFile, StoreFile
from services.job.engines import EngineFailed, FetchedFile, not_kept
from services.job.worker.pacing import Pace
from services.job.worker.reporting import Reporter

STORE_SECONDS = 120.0


class NotKept(Exception):
    """Storage wants no such file, now or ever; the rest of the job has nothing to do with it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.failure = not_kept(message)


class Handover:
    """Of the files of one attempt."""

    def __init__(self, claimed: Claimed, reporter: Reporter, work_root: Path, pace: Pace) -> None:
        self._pace = pace
        self._claimed = claimed
        self._reporter = reporter
        self._work_root = work_root

    async def store(self, file: FetchedFile, host: str) -> StoredItem:
        """`host` is the one of the link, for files whose engine does not know a site. Raises EngineFailed, NotKept."""
        sha256 = file.sha256 if file.sha256 is not None else await asyncio.to_thread(_sha256, file.path)
        options = self._claimed.options
        try:
            stored = await self._stored(
                StoreFile(
                    owner=self._claimed.owner,
                    job_id=self._claimed.job_id,
                    key=file.key,
                    path=str(file.path.relative_to(self._work_root)),
                    name=_named(options.filename, file.key, file.name),
                    directory=options.directory,
                    about=file.about if file.about.site else replace(file.about, site=host),
                    size=file.size,
                    sha256=sha256,
                    media_type=file.media_type,
                    target_id=options.target_id,
                )
            )
        except Refused as refused:
            if isinstance(refused.refusal, FileRejected) and refused.refusal.code == NOT_KEPT:
                raise NotKept(refused.refusal.message) from refused
            # Whatever it is, the file stays in the work folder: another attempt only has to store it.
            code = getattr(refused.refusal, "code", "storage_full")
            raise EngineFailed(Failure(kind="transient", code=code, message=refused.refusal.message)) from refused
        return StoredItem(
            file_id=stored.file_id,
            key=file.key,
            name=stored.name,
            size=stored.size,
            sha256=stored.sha256,
            media_type=stored.media_type,
            provider=stored.provider,
            bucket=stored.bucket,
            object_key=stored.location if stored.target_id is not None else None,
            site=file.site,
        )

    async def _stored(self, command: StoreFile) -> StoredFile:
        """Raises Refused. What goes far takes long, so storage is asked until it is there."""
        while True:
            try:
                paced = replace(command, rate=self._pace.out)
                return await self._reporter.send(paced, StoredFile, STORE_SECONDS)
            except Refused as refused:
                if not isinstance(refused.refusal, StillStoring):
                    raise


def _named(wanted: str | None, key: str, found: str) -> str:
    """What goes with a film keeps the language or the `info` before its ending, or it would be named like its twin."""
    if not wanted:
        return found
    kept = 2 if EXTRA.search(key) else 1
    return wanted + "".join(Path(found).suffixes[-kept:])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
