"""One function per command or query of the storage service; the routing table is at the foot."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import asyncpg
import structlog

from libs.calls import Answer, Call
from libs.database import Connection
from libs.eventstore import Any as AnyVersion
from libs.eventstore import EventStore, Write
from libs.eventstore.projection import Applied
from libs.message import Meta, Refused, new_id
from proto.job import JobFilesDeleted
from proto.storage import (
    NOT_KEPT,
    ConfigureTarget,
    DeleteFile,
    FileDeleted,
    FileNotFound,
    FileRejected,
    LinkFile,
    ReadFile,
    ReadTarget,
    RemoveTarget,
    StorageFull,
    StoredFile,
    StoreFile,
    TargetConfigured,
    TargetInfo,
    TargetNotFound,
    TargetRemoved,
)
from services.storage import domain, views
from services.storage.remote import Remote, read, refusal, stored
from services.storage.targets.credentials import described
from services.storage.targets.failures import TargetAway, TargetRefused
from services.storage.targets.local import Full, LocalTarget, NotAFile, Taken
from services.storage.views import Target

log = structlog.get_logger()

ERASE_SECONDS = 5.0
NAMES_TRIED = 50
"""Numbered names that may be taken by files unknown to us before a name from the file's id is used."""


async def store_file(
    command: StoreFile,
    call: Call,
    pool: asyncpg.Pool,
    store: EventStore,
    target: LocalTarget,
    remote: Remote,
    allowed: frozenset[str] | None,
) -> Answer:
    """Bytes first, event second, and only then does the work folder let go: a crash anywhere between is repaired by the
    same command coming again. `allowed`: endings, None for all; a file without one is taken."""
    found = domain.ending(command.name)
    if found and allowed is not None and found not in allowed:
        raise Refused(FileRejected(message=f"files that end in .{found} are not kept here", code=NOT_KEPT))
    async with pool.acquire() as conn:
        known = await views.by_item(conn, command.job_id, command.key)
        if known is not None:
            return Answer(known)
        twins = await views.twins(conn, domain.placed(command.owner, command.directory, command.name))
    elsewhere = await remote.wanted(command.owner, command.target_id)
    if elsewhere is not None:
        source = await asyncio.to_thread(_source, command, target)
        return Answer(await remote.put(command, source, elsewhere, call.meta))
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
    try:
        async with pool.acquire() as conn:
            places = await store.append_and(
                conn,
                [stored(file, call.meta)],
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


def _source(command: StoreFile, target: LocalTarget) -> Path:
    try:
        source = target.source(command.path, str(command.job_id))
    except NotAFile as error:
        raise Refused(FileRejected(message="there is no such finished file", code="no_such_file")) from error
    if source.stat().st_size != command.size:
        raise Refused(FileRejected(message="the file is not as long as announced", code="wrong_size"))
    return source


def _place(command: StoreFile, target: LocalTarget, twins: int) -> tuple[Path, PurePosixPath]:
    source = _source(command, target)
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
    command: DeleteFile, call: Call, pool: asyncpg.Pool, store: EventStore, target: LocalTarget, remote: Remote
) -> Answer:
    file = await _visible(command, pool)
    async with store.transaction() as tx:
        places = await tx.append([_deleted(file, call.meta, datetime.now(UTC))])
        await views.remove(tx.conn, file.file_id)
    await _erase(file, target, remote)
    return Answer(position=places[-1])


async def _erase(file: StoredFile, target: LocalTarget, remote: Remote) -> None:
    """What can not be deleted in a storage of the owner's own stays there: it is theirs, and they can."""
    if file.target_id is None:
        await asyncio.to_thread(target.delete, file.location)
        return
    try:
        async with asyncio.timeout(ERASE_SECONDS):
            there = await remote.of_file(file)
            if there is not None:
                await there.delete(file.location)
    except (TargetRefused, TargetAway, Refused, TimeoutError) as error:
        await log.awarning("storage.not_erased", file=str(file.file_id), reason=str(error))


DELETIONS = frozenset({"job.files_deleted"})


async def delete_files(
    conn: Connection, batch: Sequence[Applied], store: EventStore, target: LocalTarget, remote: Remote, at: datetime
) -> None:
    """What the owner of a job gave up. The bytes first: a crash then leaves a record, which comes here again."""
    wanted = [file_id for one in batch if isinstance(one.event, JobFilesDeleted) for file_id in one.event.file_ids]
    files = await views.some(conn, wanted)
    # Together, and within the time that a transaction has.
    await asyncio.gather(*(_erase(file, target, remote) for file in files))
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


async def _visible(message: ReadFile | DeleteFile | LinkFile, pool: asyncpg.Pool) -> StoredFile:
    async with pool.acquire() as conn:
        file = await views.by_id(conn, message.file_id)
    if file is None or (message.owner is not None and message.owner != file.owner):
        raise Refused(FileNotFound(message="no such file", file_id=message.file_id))
    return file


async def link_file(query: LinkFile, pool: asyncpg.Pool, remote: Remote) -> Answer:
    file = await _visible(query, pool)
    there = await remote.of_file(file) if file.target_id is not None else None
    if there is None:
        raise Refused(FileNotFound(message="no such file", file_id=query.file_id))
    try:
        return Answer(await there.presign(file.location, query.seconds, file.name))
    except (TargetRefused, TargetAway) as error:
        raise refusal(error) from error


async def configure_target(
    command: ConfigureTarget, call: Call, pool: asyncpg.Pool, store: EventStore, remote: Remote
) -> Answer:
    """Kept only when it could be written to and read from."""
    async with pool.acquire() as conn:
        known = await views.target(conn, command.target_id)
    if known is not None and known.owner == command.owner:
        return Answer(known.info)
    credentials = read(command.credentials)
    try:
        await remote.at(credentials).verify()
    except (TargetRefused, TargetAway) as error:
        raise refusal(error) from error
    at = datetime.now(UTC)
    info = TargetInfo(target_id=command.target_id, configured_at=at, **described(credentials))
    target = Target(info=info, owner=command.owner, sealed=remote.seal(credentials, command.target_id))
    event = TargetConfigured(
        target_id=info.target_id,
        owner=command.owner,
        provider=info.provider,
        bucket=info.bucket,
        standing=command.standing,
        at=at,
    )
    async with store.transaction() as tx:
        places = await tx.append([_of_target(event, call.meta)])
        await views.add_target(tx.conn, target, standing=command.standing)
    return Answer(info, places[-1])


async def remove_target(command: RemoveTarget, call: Call, pool: asyncpg.Pool, store: EventStore) -> Answer:
    target = await _standing(command, pool)
    event = TargetRemoved(
        target_id=target.info.target_id, owner=command.owner, provider=command.provider, at=datetime.now(UTC)
    )
    async with store.transaction() as tx:
        places = await tx.append([_of_target(event, call.meta)])
        await views.remove_target(tx.conn, target.info.target_id)
    return Answer(position=places[-1])


async def read_target(query: ReadTarget, pool: asyncpg.Pool) -> Answer:
    return Answer((await _standing(query, pool)).info)


async def _standing(message: RemoveTarget | ReadTarget, pool: asyncpg.Pool) -> Target:
    async with pool.acquire() as conn:
        target = await views.standing_target(conn, message.owner, message.provider)
    if target is None:
        raise Refused(TargetNotFound(message="no such storage is configured"))
    return target


def _of_target(event: TargetConfigured | TargetRemoved, meta: Meta) -> Write:
    return Write(
        stream_id=event.target_id, kind="target", expected=AnyVersion(), events=[event], meta=meta, tenant=event.owner
    )


HANDLERS = (store_file, delete_file, read_file, link_file, configure_target, remove_target, read_target)
