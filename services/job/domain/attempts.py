"""An attempt's life: from the ticket to the last report of its worker."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from libs.message import Event
from proto.job import (
    EXTRA,
    RUNNING,
    ClaimAttempt,
    JobAdmitted,
    JobCompleted,
    JobInterrupted,
    JobItemCompleted,
    JobStageEntered,
    JobStarted,
    ReportCompleted,
    ReportInterrupted,
    ReportStage,
    StageNote,
    Wanted,
)
from services.job.domain.items import new_items, new_skips
from services.job.domain.job import Decision, Job, not_mine, stale, wrong_state


def admit(job: Job, at: datetime) -> Decision:
    if job.state != "queued":
        return wrong_state(job, "admit")
    return [JobAdmitted(job_id=job.job_id, owner=job.owner, attempt=job.attempt + 1, at=at)]


def claim(job: Job, command: ClaimAttempt, at: datetime, *, held: bool) -> Decision:
    """A ticket that comes a second time, by another worker, means that the first is gone, unless it is known to run
    the job (`held`): the queue may have forgotten who has what. The new one takes over under a new attempt number,
    which shuts the old one out should it still be alive."""
    if command.attempt != job.attempt:
        return stale(job, command.attempt)
    if job.state == "admitted":
        return [_started(job, job.attempt, command.worker_id, at)]
    if job.state in RUNNING and job.worker_id == command.worker_id:
        return []
    if job.state in RUNNING and not held:
        following = job.attempt + 1
        return [
            JobInterrupted(job_id=job.job_id, owner=job.owner, attempt=job.attempt, reason="worker_lost", at=at),
            JobAdmitted(job_id=job.job_id, owner=job.owner, attempt=following, at=at),
            _started(job, following, command.worker_id, at),
        ]
    return stale(job, command.attempt)


def report_stage(job: Job, command: ReportStage) -> Decision:
    if refusal := not_mine(job, command.attempt):
        return refusal
    note = command.note
    if job.state == note.stage and note.title is None and note.items_total is None:
        return []
    return [_entered(job, note)]


def _entered(job: Job, note: StageNote) -> JobStageEntered:
    return JobStageEntered(
        job_id=job.job_id,
        owner=job.owner,
        attempt=job.attempt,
        stage=note.stage,
        at=note.at,
        engine=note.engine,
        title=note.title,
        total_bytes=note.total_bytes,
        items_total=note.items_total,
        description=note.description,
        release_date=note.release_date,
    )


def report_completed(job: Job, command: ReportCompleted, at: datetime) -> Decision:
    """Taken from a paused job too: the work was done before the pause reached the worker."""
    if job.state == "completed" and command.attempt == job.attempt:
        return []
    if refusal := not_mine(job, command.attempt, also="paused"):
        return refusal
    passed: list[Event] = [_entered(job, note) for note in command.stages]
    new = new_items(job, command.items, at)
    items = [*job.items.values(), *(event.item for event in new if isinstance(event, JobItemCompleted))]
    return [
        *passed,
        *new,
        *new_skips(job, command.skipped, at),
        JobCompleted(
            job_id=job.job_id,
            owner=job.owner,
            attempt=job.attempt,
            engine=command.engine,
            items_done=sum(EXTRA.search(item.key) is None for item in items),
            items_skipped=max(job.skipped, command.skipped),
            items_failed=sum(EXTRA.search(key) is None for key in job.failed_items),
            size=sum(item.size for item in items),
            at=at,
            title=command.title or job.title,
            description=next((note.description for note in command.stages if note.description), job.description),
            release_date=next((note.release_date for note in command.stages if note.release_date), job.release_date),
            batch_id=job.batch_id,
            url=job.url,
        ),
    ]


def report_interrupted(job: Job, command: ReportInterrupted, at: datetime) -> Decision:
    if refusal := not_mine(job, command.attempt):
        return refusal
    return [JobInterrupted(job_id=job.job_id, owner=job.owner, attempt=job.attempt, reason="drained", at=at)]


def lose_worker(job: Job, worker_id: UUID, at: datetime) -> Decision:
    if job.state not in RUNNING or job.worker_id != worker_id:
        return []
    return [JobInterrupted(job_id=job.job_id, owner=job.owner, attempt=job.attempt, reason="worker_lost", at=at)]


def wanted(job: Job | None, attempt: int) -> Wanted:
    """What a worker that runs `attempt` should do now."""
    if job is None or attempt != job.attempt:
        return "stale"
    if job.state in RUNNING:
        return "run"
    return "pause" if job.state == "paused" else "cancel" if job.state == "cancelled" else "stale"


def _started(job: Job, attempt: int, worker_id: UUID, at: datetime) -> JobStarted:
    return JobStarted(job_id=job.job_id, owner=job.owner, attempt=attempt, worker_id=worker_id, at=at)
