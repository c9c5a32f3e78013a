"""Batches: jobs that were submitted together, and may be held and named before they begin. Pure."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from libs.message import Event, Refusal
from proto.job import (
    BatchNotFound,
    BatchNotHeld,
    BatchStarted,
    BatchSubmitted,
    BatchWebhookRequested,
    JobRenamed,
    RenameJobs,
    StartBatch,
    SubmitJobs,
)
from services.job.domain.job import Decision, Job, not_found, wrong_state


def submit(command: SubmitJobs, batch_id: UUID, at: datetime) -> list[Event]:
    """What opens the batch's stream."""
    events: list[Event] = [
        BatchSubmitted(
            batch_id=batch_id,
            owner=command.owner,
            dialect=command.dialect,
            label=command.batch_label,
            size=len(command.requests),
            held=all(r.held for r in command.requests),
            at=at,
            url=command.batch_url,
            folder=command.batch_folder,
        )
    ]
    hook = command.requests[0].options.webhook_url
    if hook is not None:
        events.append(
            BatchWebhookRequested(
                batch_id=batch_id,
                owner=command.owner,
                url=hook,
                link=command.batch_url,
                folder=command.batch_folder,
                size=len(command.requests),
                at=at,
            )
        )
    return events


class Batch(Struct, frozen=True, kw_only=True):
    batch_id: UUID
    owner: UUID
    held: bool


def evolve(batch: Batch | None, event: Event) -> Batch:
    """Total over the events of a batch's stream; the first is always BatchSubmitted."""
    if isinstance(event, BatchSubmitted):
        return Batch(batch_id=event.batch_id, owner=event.owner, held=event.held)
    if batch is None:
        raise ValueError(f"a batch's stream begins with job.batch_submitted, not {type(event).__name__}")
    return replace(batch, held=False) if isinstance(event, BatchStarted) else batch


def held(batch: Batch | None, command: StartBatch | RenameJobs) -> Batch | Refusal:
    """The batch, when it is there for this owner and waits to be started."""
    if batch is None or (command.owner is not None and command.owner != batch.owner):
        return BatchNotFound(message="no such batch", batch_id=command.batch_id)
    if not batch.held:
        return BatchNotHeld(message="this batch is not held", batch_id=command.batch_id)
    return batch


def rename(job: Job, batch_id: UUID, filename: str, at: datetime) -> Decision:
    if job.batch_id != batch_id:
        return not_found(job.job_id)
    if job.state != "held":
        return wrong_state(job, "rename")
    if job.options.filename == filename:
        return []
    return [JobRenamed(job_id=job.job_id, owner=job.owner, filename=filename, at=at)]
