"""Batches that are held: named, then started."""

from __future__ import annotations

import asyncio
import contextlib
from uuid import UUID

import asyncpg

from libs.calls import Answer, Call
from libs.eventstore import EventStore, Exact, Write
from libs.message import Position, Refusal, Refused
from proto.job import (
    BatchStarted,
    Rename,
    Renamed,
    RenameJobs,
    ResumeJob,
    StartBatch,
)
from services.job import domain, views
from services.job.commit import Built, Ledger
from services.job.domain import batches

AT_ONCE = 500
"""Jobs of a batch that are let go together: they share commits."""


async def start_batch(command: StartBatch, call: Call, ledger: Ledger, store: EventStore, pool: asyncpg.Pool) -> Answer:
    """The jobs first: a crash in between leaves a held batch, and starting it again starts the rest."""
    batch, version = await _held_batch(command, store)
    async with pool.acquire() as conn:
        held = await views.held_in(conn, batch.batch_id)
    for start in range(0, len(held), AT_ONCE):
        await asyncio.gather(*(_let_go(job_id, call, ledger) for job_id in held[start : start + AT_ONCE]))
    write = Write(
        stream_id=batch.batch_id,
        kind="batch",
        expected=Exact(version),
        events=(BatchStarted(batch_id=batch.batch_id, owner=batch.owner, at=ledger.clock()),),
        meta=call.meta,
        tenant=batch.owner,
    )
    return Answer(len(held), await ledger.submit(0, lambda _: Built((write,), ())))


async def _let_go(job_id: UUID, call: Call, ledger: Ledger) -> None:
    resumed = ResumeJob(owner=None, job_id=job_id)
    with contextlib.suppress(Refused):  # cancelled a moment ago: then there is nothing to let go
        await ledger.change(job_id, lambda job: domain.resume(job, resumed, ledger.clock()), call.meta)


async def rename_jobs(command: RenameJobs, call: Call, ledger: Ledger, store: EventStore) -> Answer:
    batch, _ = await _held_batch(command, store)
    updated, errors, last = 0, [], None
    for one in command.renames:
        try:
            position = await _rename(one, batch.batch_id, call, ledger)
        except Refused as refused:
            errors.append(f"{one.job_id}: {refused.refusal.message}")
        else:
            updated, last = updated + 1, position or last
    return Answer(Renamed(updated=updated, errors=tuple(errors)), last)


async def _rename(one: Rename, batch_id: UUID, call: Call, ledger: Ledger) -> Position | None:
    _, position = await ledger.change(
        one.job_id, lambda job: batches.rename(job, batch_id, one.filename, ledger.clock()), call.meta
    )
    return position


async def _held_batch(command: StartBatch | RenameJobs, store: EventStore) -> tuple[batches.Batch, int]:
    recorded = await store.load(command.batch_id)
    batch: batches.Batch | None = None
    if recorded and recorded[0].kind == "batch":
        for one in recorded:
            batch = batches.evolve(batch, one.event)
    found = batches.held(batch, command)
    if isinstance(found, Refusal):
        raise Refused(found)
    return found, recorded[-1].version
