"""One function per command or query of the storage service; the routing table is at the foot."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import asyncpg

from libs.calls import Answer, Call
from libs.database import Connection
from libs.eventstore import AnyVersion, EventStore, Write
from libs.eventstore.projection import Applied
from libs.message import Meta, Refused, new_id
from libs.names import unkept
from proto.job import JobFilesDeleted
from proto.storage import (
    NOT_KEPT,
    ConfigureTarget,
    FileNotFound,
    FileRejected,
    LinkFile,
    ReadFile,
    ReadTarget,
    RemoveTarget,
    StoredFile,
    StoreFile,
    TargetConfigured,
    TargetInfo,
    TargetNotFound,
    TargetRemoved,
)
from services.storage import views
from services.storage.keeping import Keeper
from services.storage.remote import Remote, read, refusal
from services.storage.targets.credentials import described
from services.storage.targets.failures import TargetAway, TargetRefused
from services.storage.views import Target


async def store_file(
    command: StoreFile,
    call: Call,
    keeper: Keeper,
    remote: Remote,
    allowed: frozenset[str] | None,
) -> Answer:
    """`allowed`: endings, None for all."""
    if (why := unkept(command.name, command.media_type, allowed)) is not None:
        raise Refused(FileRejected(message=why, code=NOT_KEPT))
    met = await keeper.met(command)
    if met.item is not None:
        return Answer(met.item)
    elsewhere = await remote.wanted(command.owner, command.target_id)
    if elsewhere is not None:
        source = await asyncio.to_thread(keeper.source, command)
        return Answer(await remote.put(command, source, elsewhere, call.meta))
    return Answer(*await keeper.keep(command, met, call.meta))


DELETIONS = frozenset({"job.files_deleted"})


async def delete_files(conn: Connection, batch: Sequence[Applied], keeper: Keeper) -> None:
    """What the owner of a job gave up."""
    wanted = [file_id for one in batch if isinstance(one.event, JobFilesDeleted) for file_id in one.event.file_ids]
    await keeper.give_up(conn, wanted, Meta(correlation=new_id(), actor="service:storage"))


async def read_file(query: ReadFile, pool: asyncpg.Pool) -> Answer:
    return Answer(await _visible(query, pool))


async def _visible(message: ReadFile | LinkFile, pool: asyncpg.Pool) -> StoredFile:
    async with pool.acquire() as conn:
        file = await views.by_id(conn, message.file_id)
    if file is None or (message.owner is not None and message.owner != file.owner):
        raise Refused(FileNotFound(message="no such file", file_id=message.file_id))
    return file


async def link_file(query: LinkFile, pool: asyncpg.Pool, remote: Remote) -> Answer:
    file = await _visible(query, pool)
    there = await remote.target_of(file.target_id) if file.target_id is not None else None
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
        await views.remove_targets(tx.conn, command.owner, command.provider)
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


HANDLERS = (store_file, read_file, link_file, configure_target, remove_target, read_target)
