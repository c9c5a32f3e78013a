"""A job's life: its state, its decisions and what each event does to it. Pure; clock, chance and ids are arguments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from libs.message import Event, Refusal
from proto.job import (
    EXTRA,
    RUNNING,
    TERMINAL,
    CancelJob,
    ClaimAttempt,
    DeleteJobFiles,
    Failure,
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
    JobWebhookRequested,
    NoFiles,
    Options,
    PauseJob,
    PrioritiseJob,
    ReportCompleted,
    ReportFailed,
    ReportInterrupted,
    ReportItem,
    ReportStage,
    Request,
    ResumeJob,
    RetryJob,
    StaleAttempt,
    State,
    StoredItem,
    SubmitJobs,
    Waiting,
    Wanted,
    WrongState,
)

MAX_FAILURES = {"transient": 6, "rate_limited": 10, "host_down": 6}
"""Attempts that may fail in a row before the job does; classes not listed end it at once."""
FIRST_DELAY = timedelta(seconds=1)
LONGEST_DELAY = timedelta(minutes=10)
LONGEST_REQUESTED_DELAY = timedelta(days=1)
"""A Retry-After beyond this is cut, so that no origin can park a job for ever."""

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
    items: tuple[StoredItem, ...] = ()
    skipped: int = 0
    failed_items: frozenset[str] = frozenset()
    title: str | None = None
    reserved: int = 0
    """Bytes that may still be stored, from its first reservation until its end."""

    @property
    def kept(self) -> int:
        """Bytes."""
        return sum(item.size for item in self.items)

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""


def submit(command: SubmitJobs, numbers: tuple[int, ...], at: datetime) -> list[list[Event]]:
    """What opens the stream of each link, in request order.

    What only some jobs ask for is said in events of its own, so that those who care for it need not read every job.
    """
    return [_open(command, request, number, at) for request, number in zip(command.requests, numbers, strict=True)]


def _open(command: SubmitJobs, request: Request, number: int, at: datetime) -> list[Event]:
    job_id, owner, options = request.job_id, command.owner, request.options
    events: list[Event] = [
        JobSubmitted(
            job_id=job_id,
            number=number,
            owner=owner,
            dialect=command.dialect,
            url=request.url,
            options=options,
            priority=request.priority,
            held=request.held,
            at=at,
            not_before=request.not_before,
            batch_id=command.batch_id,
            retry_of=request.retry_of,
        )
    ]
    if request.not_before is not None:
        events.append(JobDeferred(job_id=job_id, owner=owner, until=request.not_before, at=at))
    if options.webhook_url is not None:
        events.append(
            JobWebhookRequested(
                job_id=job_id,
                owner=owner,
                url=options.webhook_url,
                link=request.url,
                folder="/".join(options.directory) or None,
                at=at,
                progress=options.progress_webhook,
                style=command.webhook_style,
            )
        )
    return events


def admit(job: Job, at: datetime) -> Decision:
    if job.state != "queued":
        return wrong_state(job, "admit")
    return [JobAdmitted(job_id=job.job_id, owner=job.owner, attempt=job.attempt + 1, at=at)]


def claim(job: Job, command: ClaimAttempt, at: datetime, *, held: bool) -> Decision:
    """A ticket that comes a second time, by another worker, means that the first is gone, unless it is known to run
    the job (`held`): the queue may have forgotten who has what. The new one takes over under a new attempt number,
    which shuts the old one out should it still be alive."""
    if command.attempt != job.attempt:
        return _stale(job, command.attempt)
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
    return _stale(job, command.attempt)


def report_stage(job: Job, command: ReportStage, at: datetime) -> Decision:
    if refusal := not_mine(job, command.attempt):
        return refusal
    if job.state == command.stage and command.title is None and command.items_total is None:
        return []
    return [
        JobStageEntered(
            job_id=job.job_id,
            owner=job.owner,
            attempt=job.attempt,
            stage=command.stage,
            at=at,
            engine=command.engine,
            title=command.title,
            total_bytes=command.total_bytes,
            items_total=command.items_total,
        )
    ]


def report_item(job: Job, command: ReportItem, at: datetime) -> Decision:
    """Idempotent by the item's key. Still taken from a paused job: its bytes are stored, forgetting them would fetch
    them again."""
    if refusal := not_mine(job, command.attempt, also="paused"):
        return refusal
    about = {"job_id": job.job_id, "owner": job.owner, "attempt": job.attempt, "at": at}
    if command.item is not None:
        return _new_items(job, (command.item,), at)
    if command.skipped is not None:
        return _new_skips(job, command.skipped, at)
    if command.failed is not None and command.failed[0] not in job.failed_items:
        return [JobItemFailed(key=command.failed[0], failure=command.failed[1], **about)]  # type: ignore[arg-type]
    return []


def report_completed(job: Job, command: ReportCompleted, at: datetime) -> Decision:
    """Taken from a paused job too: the work was done before the pause reached the worker."""
    if job.state == "completed" and command.attempt == job.attempt:
        return []
    if refusal := not_mine(job, command.attempt, also="paused"):
        return refusal
    passed: list[Event] = [
        JobStageEntered(
            job_id=job.job_id,
            owner=job.owner,
            attempt=job.attempt,
            stage=note.stage,
            at=note.at,
            engine=note.engine,
            title=note.title,
            total_bytes=note.total_bytes,
            items_total=note.items_total,
        )
        for note in command.stages
    ]
    new = _new_items(job, command.items, at)
    items = [*job.items, *(event.item for event in new if isinstance(event, JobItemCompleted))]
    return [
        *passed,
        *new,
        *_new_skips(job, command.skipped, at),
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
            batch_id=job.batch_id,
            url=job.url,
        ),
    ]


def report_failed(job: Job, command: ReportFailed, at: datetime, jitter: float) -> Decision:
    """`jitter` in [0, 1) spreads retries, so that jobs that failed together do not come back together."""
    if refusal := not_mine(job, command.attempt):
        return refusal
    failure = command.failure
    if job.failures + 1 < MAX_FAILURES.get(failure.kind, 0):
        return [
            JobAttemptFailed(
                job_id=job.job_id,
                owner=job.owner,
                attempt=job.attempt,
                failure=failure,
                retry_at=retry_at(job.failures, failure, at, jitter),
                at=at,
            )
        ]
    return [
        JobFailed(
            job_id=job.job_id,
            owner=job.owner,
            attempt=job.attempt,
            failure=failure,
            at=at,
            batch_id=job.batch_id,
            url=job.url,
        )
    ]


def retry_at(failures: int, failure: Failure, at: datetime, jitter: float) -> datetime:
    """Exponential back-off with the upper half jittered; what the origin asked for is the least we wait."""
    delay = min(FIRST_DELAY * (1 << failures), LONGEST_DELAY) * (0.5 + jitter / 2)
    asked = min(failure.retry_at, at + LONGEST_REQUESTED_DELAY) if failure.retry_at else at
    return max(at + delay, asked)


def report_interrupted(job: Job, command: ReportInterrupted, at: datetime) -> Decision:
    if refusal := not_mine(job, command.attempt):
        return refusal
    return [JobInterrupted(job_id=job.job_id, owner=job.owner, attempt=job.attempt, reason="drained", at=at)]


def lose_worker(job: Job, worker_id: UUID, at: datetime) -> Decision:
    if job.state not in RUNNING or job.worker_id != worker_id:
        return []
    return [JobInterrupted(job_id=job.job_id, owner=job.owner, attempt=job.attempt, reason="worker_lost", at=at)]


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


def delete_files(job: Job, command: DeleteJobFiles, at: datetime) -> Decision:
    if not _visible(job, command.owner):
        return not_found(command.job_id)
    if job.state not in TERMINAL or not job.items:
        return NoFiles(message="this job has no stored file", job_id=job.job_id)
    file_ids = tuple(item.file_id for item in job.items)
    return [JobFilesDeleted(job_id=job.job_id, owner=job.owner, file_ids=file_ids, at=at)]


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


def wanted(job: Job | None, attempt: int) -> Wanted:
    """What a worker that runs `attempt` should do now."""
    if job is None or attempt != job.attempt:
        return "stale"
    if job.state in RUNNING:
        return "run"
    return "pause" if job.state == "paused" else "cancel" if job.state == "cancelled" else "stale"


def evolve(job: Job | None, event: Event) -> Job:
    """Total over the events of a job's stream; the first is always JobSubmitted."""
    if isinstance(event, JobSubmitted):
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
            return replace(job, state=event.stage, title=event.title or job.title)
        case JobItemCompleted():
            return replace(job, items=(*job.items, event.item), reserved=max(0, job.reserved - event.item.size))
        case JobItemsSkipped():
            return replace(job, skipped=event.count)
        case JobItemFailed():
            return replace(job, failed_items=job.failed_items | {event.key})
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
                failed_items=frozenset(),
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
            return replace(job, state="queued", failures=0, not_before=None, waiting=None, failed_items=frozenset())
        case JobPrioritised():
            return replace(job, priority=event.priority)
        case JobRenamed():
            return replace(job, options=replace(job.options, filename=event.filename))
        case JobFilesDeleted():
            return replace(job, items=())
        case _:
            return job


def not_found(job_id: UUID) -> JobNotFound:
    return JobNotFound(message="no such job", job_id=job_id)


def _visible(job: Job, owner: UUID | None) -> bool:
    return owner is None or owner == job.owner


def wrong_state(job: Job, wanted_: str) -> WrongState:
    return WrongState(
        message=f"a {job.state} job can not {wanted_}", job_id=job.job_id, state=job.state, wanted=wanted_
    )


def _stale(job: Job, attempt: int) -> StaleAttempt:
    return StaleAttempt(message="another attempt is current", job_id=job.job_id, attempt=attempt, current=job.attempt)


def not_mine(job: Job, attempt: int, also: State | None = None) -> Refusal | None:
    if attempt != job.attempt or (job.state not in RUNNING and job.state != also):
        return _stale(job, attempt)
    return None


def _started(job: Job, attempt: int, worker_id: UUID, at: datetime) -> JobStarted:
    return JobStarted(job_id=job.job_id, owner=job.owner, attempt=attempt, worker_id=worker_id, at=at)


def _new_items(job: Job, items: tuple[StoredItem, ...], at: datetime) -> list[Event]:
    known = {item.key for item in job.items}
    return [
        JobItemCompleted(job_id=job.job_id, owner=job.owner, attempt=job.attempt, item=item, at=at)
        for item in items
        if item.key not in known
    ]


def _new_skips(job: Job, count: int, at: datetime) -> list[Event]:
    """An attempt counts from one, so a later one that has come less far changes nothing."""
    if count <= job.skipped:
        return []
    return [JobItemsSkipped(job_id=job.job_id, owner=job.owner, attempt=job.attempt, count=count, at=at)]


class Archived(Struct, frozen=True, kw_only=True):
    """A stored file of an item that its site names, or one that was given up (`stored` false)."""

    owner: UUID
    site: str
    key: str
    file_id: UUID
    host: str
    """Of the link through which it was found."""
    stored: bool


def archived(job: Job, events: Sequence[Event]) -> list[Archived]:
    """What `events`, decided on `job`, change in its owner's archive. Only what is stored counts."""
    changes: list[tuple[StoredItem, bool]] = []
    for event in events:
        if isinstance(event, JobItemCompleted):
            changes.append((event.item, True))
        elif isinstance(event, JobFilesDeleted):
            changes += [(item, False) for item in job.items if item.file_id in event.file_ids]
    return [
        Archived(
            owner=job.owner,
            site=item.site,
            key=item.key,
            file_id=item.file_id,
            host=plain_host(job.url),
            stored=stored,
        )
        for item, stored in changes
        if item.site is not None
    ]


def plain_host(url: str) -> str:
    """Of a site that has one for desks and one for telephones, the same."""
    return (urlsplit(url).hostname or "").removeprefix("www.").removeprefix("m.")
