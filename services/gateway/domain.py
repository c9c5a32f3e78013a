"""A job as its watchers see it, and what each event changes. Pure."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from libs.message import Event
from proto.job import (
    EXTRA,
    Dialect,
    EngineName,
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
    JobPaused,
    JobPrioritised,
    JobRenamed,
    JobResumed,
    JobRetried,
    JobStageEntered,
    JobStarted,
    JobSubmitted,
    Options,
    State,
    StoredItem,
    Waiting,
)

SHOWN = 100


class JobView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything any dialect shows of a job. Times come from the events, so a rebuild gives the same view."""

    job_id: UUID
    number: int
    owner: UUID
    dialect: Dialect
    url: str
    options: Options
    priority: int
    state: State
    submitted_at: datetime
    batch_id: UUID | None = None
    retry_of: UUID | None = None
    attempt: int = 0
    retries: int = 0
    """Attempts that failed and were tried again."""
    title: str | None = None
    description: str | None = None
    release_date: str | None = None
    engine: EngineName | None = None
    items: tuple[StoredItem, ...] = ()
    """The first SHOWN: no dialect shows more, and all of this is written with every change."""
    more: int = 0
    """Further items, without what only goes with one."""
    more_bytes: int = 0
    skipped: int = 0
    items_failed: int = 0
    items_total: int | None = None
    total_bytes: int | None = None
    failure: Failure | None = None
    """Of the last attempt that failed, also when a later one healed it."""
    retry_at: datetime | None = None
    """Not admitted before this."""
    waiting: Waiting | None = None
    """What `retry_at` is for."""
    started_at: datetime | None = None
    downloading_at: datetime | None = None
    processing_at: datetime | None = None
    storing_at: datetime | None = None
    finished_at: datetime | None = None
    files_deleted: int = 0
    """Of the items that were done: their files were given up."""

    @property
    def waits(self) -> tuple[Waiting, datetime] | None:
        """Why it is queued, and until when at the least."""
        if self.state != "queued" or self.waiting is None or self.retry_at is None:
            return None
        return self.waiting, self.retry_at

    @property
    def size(self) -> int:
        return self.more_bytes + sum(item.size for item in self.items)

    @property
    def main(self) -> StoredItem | None:
        """The first file that is not one that only goes with another."""
        return next((one for one in self.items if EXTRA.search(one.key) is None), None)

    def going_with(self, kind: str) -> StoredItem | None:
        """The first subtitle, thumbnail or metadata."""
        found = ((EXTRA.search(one.key), one) for one in self.items)
        return next((one for match, one in found if match is not None and match["kind"] == kind), None)

    @property
    def items_done(self) -> int:
        """Without what only goes with an item; files that were given up count."""
        return self.files_deleted + self.more + sum(EXTRA.search(one.key) is None for one in self.items)

    @property
    def outcome(self) -> str:
        """The state, and of those that ended also how: `warned` when the site does not have it, or not for us, and
        `skipped` when there was nothing that the user has not already."""
        if self.state == "failed" and self.failure is not None and self.failure.kind == "content":
            return "warned"
        return "skipped" if self.state == "completed" and not self.items_done else self.state


class BatchView(Struct, frozen=True, kw_only=True):
    batch_id: UUID
    url: str
    folder: str | None
    size: int
    held: bool
    """Submitted held and not started yet."""
    submitted_at: datetime
    job_ids: tuple[UUID, ...]
    states: dict[str, int]
    """How many of its jobs are in which state."""


class DayView(Struct, frozen=True, kw_only=True):
    day: date
    submitted: int
    completed: int
    failed: int
    bytes: int
    seconds: float


WANTED = frozenset(
    {
        "job.submitted",
        "job.deferred",
        "job.admitted",
        "job.started",
        "job.stage_entered",
        "job.item_completed",
        "job.items_skipped",
        "job.item_failed",
        "job.completed",
        "job.attempt_failed",
        "job.failed",
        "job.interrupted",
        "job.paused",
        "job.resumed",
        "job.retried",
        "job.prioritised",
        "job.cancelled",
        "job.renamed",
        "job.files_deleted",
        "job.batch_submitted",
        "job.batch_started",
    }
)
"""Every event that changes a view: those of batches carry `batch_id`, all others `job_id`."""


def opened(event: JobSubmitted) -> JobView:
    return JobView(
        job_id=event.job_id,
        number=event.number,
        owner=event.owner,
        dialect=event.dialect,
        url=event.url,
        options=event.options,
        priority=event.priority,
        state="held" if event.held else "queued",
        submitted_at=event.at,
        batch_id=event.batch_id,
        retry_of=event.retry_of,
    )


def evolve(view: JobView, event: Event) -> JobView:
    """Total: an event that a view does not show leaves it as it is."""
    match event:
        case JobAdmitted():
            return replace(view, state="admitted", attempt=event.attempt, retry_at=None, waiting=None)
        case JobDeferred():
            return replace(view, retry_at=event.until, waiting=event.reason)
        case JobStarted():
            return replace(view, state="resolving", started_at=view.started_at or event.at)
        case JobStageEntered():
            return _entered(view, event)
        case JobItemCompleted():
            return _with_item(view, event.item)
        case JobItemsSkipped():
            return replace(view, skipped=event.count)
        case JobItemFailed():
            return replace(view, items_failed=view.items_failed + (EXTRA.search(event.key) is None))
        case JobCompleted():
            total = event.items_done + event.items_skipped + event.items_failed
            return replace(
                view,
                state="completed",
                finished_at=event.at,
                engine=event.engine,
                title=event.title or view.title,
                # A site that does not say beforehand how many there are has been counted now.
                items_total=view.items_total if view.items_total is not None else total,
            )
        case JobAttemptFailed():
            return replace(
                view,
                state="queued",
                failure=event.failure,
                retry_at=event.retry_at,
                waiting="retry",
                items_failed=0,
                retries=view.retries + 1,
            )
        case JobFailed():
            return replace(view, state="failed", failure=event.failure, finished_at=event.at)
        case JobInterrupted() | JobResumed():
            return replace(view, state="queued")
        case JobPaused():
            return replace(view, state="paused")
        case JobRetried():
            return replace(view, state="queued", finished_at=None, retry_at=None, waiting=None, items_failed=0)
        case JobPrioritised():
            return replace(view, priority=event.priority)
        case JobRenamed():
            return replace(view, options=replace(view.options, filename=event.filename))
        case JobFilesDeleted():
            return replace(view, items=(), more=0, more_bytes=0, files_deleted=view.items_done)
        case JobCancelled():
            return replace(view, state="cancelled", finished_at=event.at)
        case _:
            return view


def _with_item(view: JobView, item: StoredItem) -> JobView:
    if any(one.key == item.key for one in view.items):
        return view
    if len(view.items) < SHOWN:
        return replace(view, items=(*view.items, item))
    return replace(view, more=view.more + (EXTRA.search(item.key) is None), more_bytes=view.more_bytes + item.size)


def _entered(view: JobView, event: JobStageEntered) -> JobView:
    times = {"downloading": "downloading_at", "processing": "processing_at", "storing": "storing_at"}
    changes: dict[str, object] = {"state": event.stage}
    if (field := times.get(event.stage)) is not None:
        changes[field] = event.at
    for name in ("engine", "title", "total_bytes", "items_total", "description", "release_date"):
        if (value := getattr(event, name)) is not None:
            changes[name] = value
    return replace(view, **changes)
