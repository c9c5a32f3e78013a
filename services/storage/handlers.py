"""One function per command or query of the storage service; the routing table is at the foot."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import asyncpg

from libs.calls import Answer, Call
from libs.database import Connection
from libs.eventstore import Any as AnyVersion
from libs.eventstore import EventStore, NoStream, Write
from libs.eventstore.projection import Applied
from libs.message import Meta, Refused, new_id
from proto.job import JobFilesDeleted
from proto.storage import (
    DeleteFile,
    FileDeleted,
    FileNotFound,
    FileRejected,
    FileStored,
    ReadFile,
    StorageFull,
    StoredFile,
    StoreFile,
)
from services.storage import domain, views
from services.storage.targets.local import Full, LocalTarget, NotAFile, Taken

NAMES_TRIED = 50
"""Numbered names that may be taken by files unknown to us before a name from the file's id is used."""


async def store_file(
    command: StoreFile, call: Call, pool: asyncpg.Pool, store: EventStore, target: LocalTarget
) -> Answer:
    """Bytes first, event second, and only then does the work folder let go: a crash anywhere between is repaired by the
    same command coming again."""
    async with pool.acquire() as conn:
        known = await views.by_item(conn, command.job_id, command.key)
        if known is not None:
            return Answer(known)
        twins = await views.twins(conn, domain.placed(command.owner, command.directory, command.name))
    source, location = await asyncio.to_thread(_place, command, target, twins)
    file = StoredFile(
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
    )
    try:
        async with pool.acquire() as conn:
            places = await store.append_and(
                conn,
                [
                    Write(
                        stream_id=file.file_id,
                        kind="file",
                        expected=NoStream(),
                        events=[event],
                        meta=call.meta,
                        tenant=file.owner,
                    )
                ],
                views.ADD_BESIDE,
                *views.row_values(file),
            )
    except asyncpg.UniqueViolationError:
        # Somebody stored the same item a moment before: theirs stands, our copy goes.
        await asyncio.to_thread(target.delete, file.location)
        async with pool.acquire() as conn:
            known = await views.by_item(conn, command.job_id, command.key)
        if known is None:
            raise
        return Answer(known)
    await asyncio.to_thread(target.release, source)
    return Answer(file, places[-1])


def _place(command: StoreFile, target: LocalTarget, twins: int) -> tuple[Path, PurePosixPath]:
    try:
        source = target.source(command.path, str(command.job_id))
    except NotAFile as error:
        raise Refused(FileRejected(message="there is no such finished file", code="no_such_file")) from error
    if source.stat().st_size != command.size:
        raise Refused(FileRejected(message="the file is not as long as announced", code="wrong_size"))
    for twin in range(twins, twins + NAMES_TRIED):
        location = domain.placed(command.owner, command.directory, command.name, twin)
        try:
            target.take(source, location)
        except Taken:
            continue
        except Full as error:
            raise Refused(StorageFull(message="the disk is full")) from error
        return source, location
    unique = domain.placed(command.owner, (*command.directory, str(command.job_id)), command.name)
    target.take(source, unique)
    return source, unique


async def delete_file(
    command: DeleteFile, call: Call, pool: asyncpg.Pool, store: EventStore, target: LocalTarget
) -> Answer:
    file = await _visible(command, pool)
    async with store.transaction() as tx:
        places = await tx.append([_deleted(file, call.meta, datetime.now(UTC))])
        await views.remove(tx.conn, file.file_id)
    await asyncio.to_thread(target.delete, file.location)
    return Answer(position=places[-1])


DELETIONS = frozenset({"job.files_deleted"})


async def delete_files(
    conn: Connection, batch: Sequence[Applied], store: EventStore, target: LocalTarget, at: datetime
) -> None:
    """What the owner of a job gave up. The bytes first: a crash then leaves a record, which comes here again."""
    wanted = [file_id for one in batch if isinstance(one.event, JobFilesDeleted) for file_id in one.event.file_ids]
    files = await views.some(conn, wanted)
    for file in files:
        await asyncio.to_thread(target.delete, file.location)
    if files:
        meta = Meta(correlation=new_id(), actor="service:storage")
        await store.append(conn, [_deleted(file, meta, at) for file in files])
        for file in files:
            await views.remove(conn, file.file_id)


def _deleted(file: StoredFile, meta: Meta, at: datetime) -> Write:
    event = FileDeleted(file_id=file.file_id, owner=file.owner, job_id=file.job_id, at=at)
    return Write(
        stream_id=file.file_id, kind="file", expected=AnyVersion(), events=[event], meta=meta, tenant=file.owner
    )


async def read_file(query: ReadFile, pool: asyncpg.Pool) -> Answer:
    return Answer(await _visible(query, pool))


async def _visible(message: ReadFile | DeleteFile, pool: asyncpg.Pool) -> StoredFile:
    async with pool.acquire() as conn:
        file = await views.by_id(conn, message.file_id)
    if file is None or (message.owner is not None and message.owner != file.owner):
        raise Refused(FileNotFound(message="no such file", file_id=message.file_id))
    return file


HANDLERS = (store_file, delete_file, read_file)
