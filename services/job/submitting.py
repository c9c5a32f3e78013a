"""What a submission writes, and submissions that give way to a job that does the same."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from msgspec.structs import replace

from libs.eventstore import NoStream, Write
from libs.message import Meta, Position
from proto.job import Request, SubmitJobs, Submitted
from services.job import domain
from services.job.commit import Built, Ledger, opened
from services.job.domain import batches
from services.job.domain.duplicates import fingerprint
from services.job.views import Alike, Asked


def fingerprints(command: SubmitJobs) -> list[UUID]:
    """Of its requests, in order."""
    return [fingerprint(request.url, request.options) for request in command.requests]


def written(command: SubmitJobs, prints: Iterable[UUID], numbers: tuple[int, ...], meta: Meta, at: datetime) -> Built:
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
    jobs = [job for _, job in streams]
    return Built(writes, jobs, dict(zip((job.job_id for job in jobs), prints, strict=True)))


async def submit_once(
    command: SubmitJobs, meta: Meta, ledger: Ledger, window: timedelta
) -> tuple[Submitted, Position | None]:
    """A job for each link for which none is under way that was submitted within the `window`; the position is None when
    there was nothing to make."""
    at = ledger.clock()
    prints = fingerprints(command)
    given: dict[UUID, Alike] = {}

    def build(numbers: tuple[int, ...], known: Mapping[UUID, Alike]) -> Built:
        fresh = _fresh(command, prints, known)
        made = (Alike(request.job_id, number) for request, number in zip(fresh.values(), numbers, strict=True))
        given.clear()
        given.update(known)
        given.update(zip(fresh, made, strict=True))
        if not fresh:
            return Built((), ())
        batch_id = command.batch_id if len(fresh) > 1 else None
        return written(replace(command, requests=tuple(fresh.values()), batch_id=batch_id), fresh, numbers, meta, at)

    position = await ledger.submit_unlike([Asked(command.owner, one, at - window) for one in prints], build)
    found = [given[one] for one in prints]
    return Submitted(job_ids=tuple(f.job_id for f in found), numbers=tuple(f.number for f in found)), position


def _fresh(command: SubmitJobs, prints: list[UUID], known: Collection[UUID]) -> dict[UUID, Request]:
    """The first request of each kind for which nothing is done yet."""
    fresh: dict[UUID, Request] = {}
    for one, request in zip(prints, command.requests, strict=True):
        if one not in known:
            fresh.setdefault(one, request)
    return fresh
