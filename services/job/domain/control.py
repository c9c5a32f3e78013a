"""What its owner may ask of a job."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from proto.job import (
    TERMINAL,
    CancelJob,
    DeleteJobFiles,
    JobCancelled,
    JobFilesDeleted,
    JobPaused,
    JobPrioritised,
    JobResumed,
    JobRetried,
    NoFiles,
    PauseJob,
    PrioritiseJob,
    ResumeJob,
    RetryJob,
)
from services.job.domain.job import Decision, Job, not_found, wrong_state


def cancel(job: Job, command: CancelJob, at: datetime) -> Decision:
    if not _visible(job, command.owner):
        return not_found(command.job_id)
    if job.state == "cancelled":
        return []
    if job.state in TERMINAL:
        return wrong_state(job, "cancel")
    return [JobCancelled(job_id=job.job_id, owner=job.owner, at=at, batch_id=job.batch_id)]


def pause(job: Job, command: PauseJob, at: datetime) -> Decision:
    if not _visible(job, command.owner):
        return not_found(command.job_id)
    if job.state in ("paused", "held"):
        return []
    if job.state in TERMINAL:
        return wrong_state(job, "pause")
    return [JobPaused(job_id=job.job_id, owner=job.owner, at=at)]


def resume(job: Job, command: ResumeJob, at: datetime) -> Decision:
    if not _visible(job, command.owner):
        return not_found(command.job_id)
    if job.state not in ("paused", "held"):
        return [] if job.state not in TERMINAL else wrong_state(job, "resume")
    return [JobResumed(job_id=job.job_id, owner=job.owner, at=at)]


def retry(job: Job, command: RetryJob, at: datetime) -> Decision:
    if not _visible(job, command.owner):
        return not_found(command.job_id)
    if job.state not in ("failed", "cancelled"):
        return wrong_state(job, "retry")
    return [JobRetried(job_id=job.job_id, owner=job.owner, at=at)]


def prioritise(job: Job, command: PrioritiseJob, at: datetime) -> Decision:
    if not _visible(job, command.owner):
        return not_found(command.job_id)
    if job.state in TERMINAL:
        return wrong_state(job, "prioritise")
    if job.priority == command.priority:
        return []
    return [JobPrioritised(job_id=job.job_id, owner=job.owner, priority=command.priority, at=at)]


def delete_files(job: Job, command: DeleteJobFiles, at: datetime) -> Decision:
    if not _visible(job, command.owner):
        return not_found(command.job_id)
    if job.state not in TERMINAL or not job.items:
        return NoFiles(message="this job has no stored file", job_id=job.job_id)
    file_ids = tuple(item.file_id for item in job.items.values())
    return [JobFilesDeleted(job_id=job.job_id, owner=job.owner, file_ids=file_ids, at=at)]


def _visible(job: Job, owner: UUID | None) -> bool:
    return owner is None or owner == job.owner
