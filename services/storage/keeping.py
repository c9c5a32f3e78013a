"""Files on our own disk: taken over, shared between jobs that fetched the same bytes, and given up.

Bytes that one owner stores twice are one file with two names. The file system counts the names, so there is no count to
go wrong: a file is there as long as one name of it is. Names are only shared and removed under a lock of their owner's,
and a name that a record has is never taken again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from uuid import UUID

import asyncpg
from msgspec.structs import replace

from libs.database import Connection
from libs.eventstore import AnyVersion, EventStore, NoStream, Write
from libs.message import Meta, Position, Refused, new_id
from proto.storage import FileDeleted, FileRejected, FileStored, StorageFull, StoredFile, StoreFile
from services.storage import domain, views
from services.storage.targets.local import Full, LocalTarget, NotAFile, NotShared, Taken
from services.storage.views import Met

NAMES_TRIED = 50
"""Numbered names that may be taken by files unknown to us before a name from the file's id is used."""
TRIES = 3


class Keeper:
    def __init__(self, pool: asyncpg.Pool, store: EventStore, target: LocalTarget, folders: str = "") -> None:
        """`folders` is a checked template: where files go below their owner's folder."""
        self._folders = folders
        self._pool = pool
        self._store = store
        self._target = target

    def source(self, command: StoreFile) -> Path:
        """The finished file in the work folder. Raises Refused; blocks."""
        try:
            source = self._target.source(command.path, str(command.job_id))
        except NotAFile as error:
            raise Refused(FileRejected(message="there is no such finished file", code="no_such_file")) from error
        if source.stat().st_size != command.size:
            raise Refused(FileRejected(message="the file is not as long as announced", code="wrong_size"))
        return source

    async def met(self, command: StoreFile) -> Met:
        """What the file meets, asked at once: most meet nothing."""
        location = domain.placed(command.owner, self._folder(command), command.name)
        async with self._pool.acquire() as conn:
            return await views.met(conn, command, location)

    async def keep(self, command: StoreFile, met: Met, meta: Meta) -> tuple[StoredFile, Position | None]:
        """Bytes first, event second, and only then does the work folder let go: a crash anywhere between is repaired by
        the same command coming again. Raises Refused."""
        for _ in range(TRIES):
            source, original, place = await asyncio.to_thread(self._begin, command, met)
            try:
                if original is None:
                    file, position = await self._take(command, source, place, meta)
                else:
                    file, position = await self._share(command, source, original, meta)
            except _Overtaken as overtaken:
                if overtaken.by is None:
                    met = await self.met(command)
                    continue  # only the name was taken
                file, position = overtaken.by, None
            await asyncio.to_thread(self._target.release, source)
            return file, position
        raise Refused(StorageFull(message="no name could be found for the file"))

    def _begin(self, command: StoreFile, met: Met) -> tuple[Path, StoredFile | None, PurePosixPath | None]:
        """The file that came, and either whose bytes it has or the name that it got, when that was free. Bytes are
        compared: whoever has the folder may have changed them. Raises Refused; blocks."""
        source = self.source(command)
        if met.same is not None and self._target.has_bytes_of(met.same.location, source):
            return source, met.same, None
        return source, None, self._place([met.location], source, None) if met.named is None else None

    async def _take(
        self, command: StoreFile, source: Path, place: PurePosixPath | None, meta: Meta
    ) -> tuple[StoredFile, Position]:
        if place is None:
            async with self._pool.acquire() as conn:
                names = await self._names(command, conn)
            place = await asyncio.to_thread(self._place, names, source, None)
        file = _file(command, _found(place))
        try:
            async with self._pool.acquire() as conn:
                places = await self._store.append_and(
                    conn, [stored(file, meta)], views.ADD_BESIDE, *views.row_values(file)
                )
        except asyncpg.UniqueViolationError as error:
            raise await self._overtaken(file) from error
        return file, places[-1]

    async def _share(
        self, command: StoreFile, source: Path, original: StoredFile, meta: Meta
    ) -> tuple[StoredFile, Position]:
        """As `_take`, with the bytes of `original`. Under the lock it can not be given up meanwhile."""
        file = _file(command, PurePosixPath())
        try:
            async with self._store.transaction() as tx:
                await views.lock_names(tx.conn, command.owner)
                there = await views.by_id(tx.conn, original.file_id)
                names = await self._names(command, tx.conn)
                place = _found(await asyncio.to_thread(self._place, names, source, there.location if there else None))
                file = replace(file, location=str(place), name=place.name)
                places = await tx.append([stored(file, meta)])
                await views.add(tx.conn, file)
        except asyncpg.UniqueViolationError as error:
            raise await self._overtaken(file) from error
        return file, places[-1]

    async def _overtaken(self, file: StoredFile) -> _Overtaken:
        """Somebody stored the same item, or a file of this name, a moment before: theirs stands, our name goes, unless
        it is theirs."""
        async with self._pool.acquire() as conn, conn.transaction():
            await views.lock_names(conn, file.owner)
            known = await views.by_item(conn, file.job_id, file.key)
            if not await views.taken(conn, [file.location]):
                await asyncio.to_thread(self._target.delete, file.location)
        return _Overtaken(known)

    async def _names(self, command: StoreFile, conn: Connection) -> list[PurePosixPath]:
        """Where the file may go, best first; the last one is unlike all others. No record has any of them."""
        folder = self._folder(command)
        first = await views.twins(conn, domain.placed(command.owner, folder, command.name))
        names = domain.placed_among(command.owner, folder, command.name, range(first, first + NAMES_TRIED))
        names.append(domain.placed(command.owner, (*folder, str(command.job_id)), command.name))
        recorded = await views.taken(conn, [str(name) for name in names])
        return [name for name in names if str(name) not in recorded]

    def _folder(self, command: StoreFile) -> tuple[str, ...]:
        words = domain.words(command.about, command.owner, datetime.now(UTC).date())
        return (*domain.folders(self._folders, words), *command.directory)

    def _place(self, names: Sequence[PurePosixPath], source: Path, original: str | None) -> PurePosixPath | None:
        """Gives the bytes of `source` one of the names; None when others have them all. Raises Refused; blocks."""
        try:
            for name in names:
                try:
                    if original is not None:
                        self._target.share(original, source, name)
                    else:
                        self._target.take(source, name)
                except NotShared:
                    original = None
                    self._target.take(source, name)
                except Taken:
                    continue
                return name
        except Full as error:
            raise Refused(StorageFull(message="the disk is full")) from error
        return None

    async def give_up(self, conn: Connection, file_ids: Sequence[UUID], meta: Meta) -> list[Position]:
        """In the transaction of `conn`, which has not written yet. What is on our disk goes before its record: a crash
        then leaves a record, and the same wish comes again. What is in object storage goes later, see `eraser`."""
        for owner in sorted({file.owner for file in await views.some(conn, file_ids)}):
            await views.lock_names(conn, owner)
        files = await views.some(conn, file_ids)
        if not files:
            return []
        ours = [file.location for file in files if file.target_id is None]
        await asyncio.gather(*(asyncio.to_thread(self._target.delete, location) for location in ours))
        at = datetime.now(UTC)
        places = await self._store.append(conn, [_deleted(file, meta, at) for file in files])
        await views.remove(conn, [file.file_id for file in files])
        await views.to_erase(conn, [file for file in files if file.target_id is not None], at)
        return places


class _Overtaken(Exception):
    """By the record of this item; None when only the name was taken."""

    def __init__(self, by: StoredFile | None) -> None:
        super().__init__(by)
        self.by = by


def _found(place: PurePosixPath | None) -> PurePosixPath:
    if place is None:
        raise Refused(StorageFull(message="no name could be found for the file"))
    return place


def _file(command: StoreFile, location: PurePosixPath) -> StoredFile:
    return StoredFile(
        file_id=new_id(),
        owner=command.owner,
        job_id=command.job_id,
        key=command.key,
        name=location.name,
        location=str(location),
        size=command.size,
        sha256=command.sha256,
        media_type=command.media_type,
        stored_at=datetime.now(UTC),
    )


def stored(file: StoredFile, meta: Meta) -> Write:
    event = FileStored(
        file_id=file.file_id,
        owner=file.owner,
        job_id=file.job_id,
        key=file.key,
        name=file.name,
        location=file.location,
        size=file.size,
        sha256=file.sha256,
        media_type=file.media_type,
        at=file.stored_at,
        target_id=file.target_id,
        provider=file.provider,
        bucket=file.bucket,
    )
    return Write(stream_id=file.file_id, kind="file", expected=NoStream(), events=[event], meta=meta, tenant=file.owner)


def _deleted(file: StoredFile, meta: Meta, at: datetime) -> Write:
    event = FileDeleted(file_id=file.file_id, owner=file.owner, job_id=file.job_id, at=at)
    return Write(
        stream_id=file.file_id, kind="file", expected=AnyVersion(), events=[event], meta=meta, tenant=file.owner
    )
