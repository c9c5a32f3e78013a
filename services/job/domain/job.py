"""A job's state, what each event makes of it, and the refusals that its state alone decides."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit
from uuid import UUID

from msgspec import Struct, field
from msgspec.structs import replace

from libs.message import Event, Refusal
from proto.job import (
    RUNNING,
    JobAdmitted,
    JobAttemptFailed,
    JobCancelled,
    JobCompleted,
    JobDeferred,
    JobFailed,
    JobFilesDeleted,
    JobInterrupted,
    JobItemCompleted,
    JobItemFailed,
    JobItemsSkipped,
    JobNotFound,
    JobPaused,
    JobPrioritised,
    JobRenamed,
    JobResumed,
    JobRetried,
    JobStageEntered,
    JobStarted,
    JobStorageReserved,
    JobSubmitted,
    Options,
    StaleAttempt,
    State,
    StoredItem,
    Waiting,
    WrongState,
)
from services.job.domain.growing import Growing

Decision = list[Event] | Refusal


class Job(Struct, frozen=True, kw_only=True):
    job_id: UUID
    owner: UUID
    number: int
    url: str
    options: Options
    priority: int
    state: State
    submitted_at: datetime
    batch_id: UUID | None = None
    attempt: int = 0
    failures: int = 0
    worker_id: UUID | None = None
    not_before: datetime | None = None
    waiting: Waiting | None = None
    """What `not_before` is for."""
    items: Growing[StoredItem] = field(default_factory=Growing)
    """By key, in the order in which they were stored."""
    kept: int = 0
    """Bytes of the items."""
    skipped: int = 0
    failed_items: Growing[None] = field(default_factory=Growing)
    """Their keys, of this attempt."""
    title: str | None = None
    description: str | None = None
    release_date: str | None = None
    reserved: int = 0
    """Bytes that may still be stored, from its first reservation until its end."""

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""


def _submitted(event: JobSubmitted) -> Job:
    return Job(
        job_id=event.job_id,
        owner=event.owner,
        number=event.number,
        url=event.url,
        options=event.options,
        priority=event.priority,
        state="held" if event.held else "queued",
        submitted_at=event.at,
        batch_id=event.batch_id,
        not_before=event.not_before,
    )


def evolve(job: Job | None, event: Event) -> Job:
    """Total over the events of a job's stream; the first is always JobSubmitted."""
    if isinstance(event, JobSubmitted):
        return _submitted(event)
    if job is None:
        raise ValueError(f"a job's stream begins with job.submitted, not {type(event).__name__}")
    match event:
        case JobAdmitted():
            return replace(job, state="admitted", attempt=event.attempt, not_before=None, waiting=None)
        case JobDeferred():
            return replace(job, not_before=event.until, waiting=event.reason)
        case JobStarted():
            return replace(job, state="resolving", worker_id=event.worker_id)
        case JobStageEntered():
            return replace(
                job,
                state=event.stage,
                title=event.title or job.title,
                description=event.description or job.description,
                release_date=event.release_date or job.release_date,
            )
        case JobItemCompleted():
            item = event.item
            return replace(
                job,
                items=job.items.plus(item.key, item),
                kept=job.kept + item.size,
                reserved=max(0, job.reserved - item.size),
            )
        case JobItemsSkipped():
            return replace(job, skipped=event.count)
        case JobItemFailed():
            return replace(job, failed_items=job.failed_items.plus(event.key, None))
        case JobCompleted():
            return replace(job, state="completed", worker_id=None, title=event.title, reserved=0)
        case JobAttemptFailed():
            return replace(
                job,
                state="queued",
                failures=job.failures + 1,
                not_before=event.retry_at,
                waiting="retry",
                worker_id=None,
                failed_items=Growing(),
            )
        case JobFailed():
            return replace(job, state="failed", failures=job.failures + 1, worker_id=None, reserved=0)
        case JobInterrupted() | JobResumed():
            return replace(job, state="queued", worker_id=None)
        case JobPaused():
            return replace(job, state="paused", worker_id=None)
        case JobCancelled():
            return replace(job, state="cancelled", worker_id=None, reserved=0)
        case JobStorageReserved():
            return replace(job, reserved=event.bytes)
        case JobRetried():
            return replace(job, state="queued", failures=0, not_before=None, waiting=None, failed_items=Growing())
        case JobPrioritised():
            return replace(job, priority=event.priority)
        case JobRenamed():
            return replace(job, options=replace(job.options, filename=event.filename))
        case JobFilesDeleted():
            return replace(job, items=Growing(), kept=0)
        case _:
            return job


def not_found(job_id: UUID) -> JobNotFound:
    return JobNotFound(message="no such job", job_id=job_id)


def wrong_state(job: Job, verb: str) -> WrongState:
    """`verb` is what was asked of the job, such as `retry`."""
    return WrongState(message=f"a {job.state} job can not {verb}", job_id=job.job_id, state=job.state, wanted=verb)


def stale(job: Job, attempt: int) -> StaleAttempt:
    return StaleAttempt(message="another attempt is current", job_id=job.job_id, attempt=attempt, current=job.attempt)


def not_mine(job: Job, attempt: int, also: State | None = None) -> Refusal | None:
    """The fence of every report: only the current attempt of a running job may speak, or of one in the state `also`."""
    if attempt != job.attempt or (job.state not in RUNNING and job.state != also):
        return stale(job, attempt)
    return None
