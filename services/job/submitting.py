"""What a submission writes, and submissions that give way to a job that does the same."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from msgspec.structs import replace

from libs.database import Connection
from libs.eventstore import NoStream, Write
from libs.message import Meta, Position
from proto.job import Request, SubmitJobs, Submitted
from services.job import domain, views
from services.job.commit import Built, Ledger, opened
from services.job.domain import batches
from services.job.domain.duplicates import fingerprint
from services.job.views import Alike


def written(command: SubmitJobs, numbers: tuple[int, ...], meta: Meta, at: datetime) -> Built:
    """A stream for each job, and one for their batch."""
    streams = [opened(events, meta) for events in domain.submit(command, numbers, at)]
    writes = [write for write, _ in streams]
    if command.batch_id is not None:
        writes.append(
            Write(
                stream_id=command.batch_id,
                kind="batch",
                expected=NoStream(),
                events=batches.submit(command, command.batch_id, at),
                meta=meta,
                tenant=command.owner,
            )
        )
    return Built(writes, [job for _, job in streams])


async def submit_once(
    command: SubmitJobs, meta: Meta, ledger: Ledger, window: timedelta
) -> tuple[Submitted, Position | None]:
    """One decision of an owner's at a time, so that of racing submissions one makes the job and the others are given
    it. The position is None when there was nothing to make."""
    at, owner = ledger.clock(), command.owner
    prints = [fingerprint(request.url, request.options) for request in command.requests]
    known = await ledger.alike(owner, prints, at - window)
    position = None
    if not known.keys() >= set(prints):

        async def build(conn: Connection, numbers: tuple[int, ...]) -> Built | None:
            known.clear()
            known.update(await views.alike(conn, owner, prints, at - window))
            fresh = _fresh(command, prints, known)
            if not fresh:
                return None
            numbered = numbers[: len(fresh)]
            known.update(
                (one, Alike(request.job_id, n)) for (one, request), n in zip(fresh.items(), numbered, strict=True)
            )
            batch_id = command.batch_id if len(fresh) > 1 else None
            reduced = replace(command, requests=tuple(fresh.values()), batch_id=batch_id)
            return written(reduced, numbered, meta, at)

        position = await ledger.submit_among(owner, len(set(prints)), build)
    found = [known[one] for one in prints]
    return Submitted(job_ids=tuple(f.job_id for f in found), numbers=tuple(f.number for f in found)), position


def _fresh(command: SubmitJobs, prints: list[UUID], known: Collection[UUID]) -> dict[UUID, Request]:
    """The first request of each kind for which nothing is done yet."""
    fresh: dict[UUID, Request] = {}
    for one, request in zip(prints, command.requests, strict=True):
        if one not in known:
            fresh.setdefault(one, request)
    return fresh
