"""Valid events with the fields that a test does not care about filled in."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from libs.eventstore import Expected, NoStream, Write
from libs.message import Event, Meta, new_id
from proto import job as p

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
_numbers = iter(range(1, 1_000_000_000))


def submitted(job_id: UUID | None = None, **fields) -> p.JobSubmitted:
    known = {
        "job_id": job_id or new_id(),
        "number": next(_numbers),
        "owner": new_id(),
        "dialect": "jobs",
        "url": "https://files.test/a.bin",
        "options": p.Options(),
        "priority": 5,
        "held": False,
        "at": AT,
    }
    return p.JobSubmitted(**{**known, **fields})


def prioritised(job_id: UUID, priority: int) -> p.JobPrioritised:
    return p.JobPrioritised(job_id=job_id, owner=job_id, priority=priority, at=AT)


def write(stream_id: UUID, *events: Event, expected: Expected | None = None) -> Write:
    return Write(
        stream_id=stream_id,
        kind="job",
        expected=expected or NoStream(),
        events=events,
        meta=Meta(correlation=new_id()),
    )


def opening(job_id: UUID | None = None) -> Write:
    event = submitted(job_id)
    return write(event.job_id, event)
