"""What the job service accepts, announces and refuses: the whole life of one requested link."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from libs.message import Command, Event, Query, Refusal
from proto.auth import Limits, Style

Instant = Annotated[datetime, Meta(tz=True)]
Link = Annotated[str, Meta(min_length=1, max_length=8192)]
Priority = Annotated[int, Meta(ge=1, le=10)]
"""1 is most urgent, 10 least; 5 is what a dialect without priorities sends."""
Attempt = Annotated[int, Meta(ge=1)]
"""Fencing token: grows with every admission, so a report that carries an old one is refused."""
Bytes = Annotated[int, Meta(ge=0)]
Description = Annotated[str, Meta(max_length=2000)]
"""Of a film, as its site has it, cut where it is longer."""

Stage = Literal["resolving", "downloading", "processing", "storing"]
State = Literal[
    "held",
    "queued",
    "admitted",
    "resolving",
    "downloading",
    "processing",
    "storing",
    "paused",
    "completed",
    "failed",
    "cancelled",
]
TERMINAL: frozenset[str] = frozenset({"completed", "failed", "cancelled"})
RUNNING: frozenset[str] = frozenset({"resolving", "downloading", "processing", "storing"})

FailureKind = Literal["transient", "rate_limited", "host_down", "content", "permanent", "auth_required"]
"""transient, rate_limited and host_down are retried by the job itself; the others end it."""
Waiting = Literal["asked", "window", "retry"]
"""Why a queued job is not admitted before a time: it was asked to, its owner may not download now, or it failed."""
Wanted = Literal["run", "pause", "cancel", "stale"]
EngineName = Literal["http", "ytdlp", "gallerydl", "unrestrict"]
Container = Literal["mp4", "mkv", "webm", "mov", "m4a", "mp3", "ogg", "opus"]
VideoCodec = Literal["copy", "h264", "h265", "vp9"]
AudioCodec = Literal["copy", "aac", "opus", "mp3"]
Seconds = Annotated[float, Meta(ge=0, le=864_000)]
Archive = Literal["stored", "fetched"]
"""What of a site a user is taken to have: what is still stored, or whatever was ever fetched."""
Dialect = Literal["gdluxx", "external", "jobs", "webgui", "myjd", "cli", "scheduler"]


class Options(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a user may choose about one link; a closed vocabulary that engines map onto their own parameters."""

    preset: Annotated[str, Meta(max_length=64)] | None = None
    """By name, of the operator's; what it says and the job does not takes its place when the job is submitted."""
    engine: EngineName | None = None
    audio_only: bool = False
    max_height: Annotated[int, Meta(ge=144, le=4320)] | None = None
    directory: Annotated[tuple[str, ...], Meta(max_length=8)] = ()
    filename: Annotated[str, Meta(max_length=255)] | None = None
    target_id: UUID | None = None
    """A storage target for this job alone; None is the user's own, or ours when there is none."""
    webhook_url: Link | None = None
    progress_webhook: bool = False
    """The webhook also hears of every stage."""
    fallback_urls: Annotated[tuple[Link, ...], Meta(max_length=20)] = ()
    max_items: Annotated[int, Meta(ge=1, le=10000)] | None = None
    container: Container | None = None
    """None leaves what the site offers best; an audio container needs `audio_only`."""
    preferred_container: Literal["mp4", "mkv", "webm", "mov"] | None = None
    """Without `container`: what a page's film is put into when that needs no encoding. A direct file stays as it is."""
    video_codec: VideoCodec = "copy"
    audio_codec: AudioCodec = "copy"
    audio_bitrate: Annotated[int, Meta(ge=32, le=512)] | None = None
    """kbit/s, where sound is encoded anew."""
    video_crf: Annotated[int, Meta(ge=0, le=51)] | None = None
    """Constant rate factor where the picture is encoded anew; lower is better."""
    subtitles: bool = False
    thumbnail: bool = False
    clip_start: Seconds | None = None
    clip_end: Seconds | None = None
    record_live: bool = False
    """Without it a live stream is refused: it may never end."""
    live_from_start: bool = False
    wait_for_live: bool = False
    max_duration: Annotated[int, Meta(ge=1, le=86_400)] | None = None
    """Seconds of a live stream at the most."""
    sidecars: bool = False
    """Metadata of each item as JSON beside it."""
    archive: Archive | None = None
    """Items of galleries, playlists and feeds that the user has from earlier jobs are passed over."""
    stop_at_known: Annotated[int, Meta(ge=1, le=1000)] | None = None
    """With `archive`: a gallery ends after so many items in a row that the user already has."""
    labels: dict[str, str] = {}
    """What a dialect wants echoed (platform, source, content_type); never interpreted."""


class Request(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One link as submitted. The id is made by the caller, so it can answer without waiting for content."""

    job_id: UUID
    url: Link
    options: Options = Options()
    priority: Priority = 5
    held: bool = False
    not_before: Instant | None = None
    retry_of: UUID | None = None


class Failure(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why an attempt ended. `code` is stable for programs, `message` is for people and names no tool."""

    kind: FailureKind
    code: str
    message: str
    retry_at: Instant | None = None


EXTRA = re.compile(r" (?P<kind>subtitle|thumbnail|metadata)(?: \S+)?$")
"""Ends the key of a file that only goes with an item: its name follows that of the item."""


class StoredItem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One file that a job produced and storage has accepted."""

    file_id: UUID
    key: str
    name: str
    size: Bytes
    sha256: str
    media_type: str = "application/octet-stream"
    provider: str = "local"
    bucket: str | None = None
    object_key: str | None = None
    """Where it is in a storage of the user's own."""
    site: str | None = None
    """Under which `key` means the same item in every job; None when it means something within this job alone."""


# ---- commands -------------------------------------------------------------------------------------------------


class SubmitJobs(Command, tag="job.submit", kw_only=True, frozen=True):
    """All or none of the links; with `command_id` in the envelope a repeat returns the first outcome."""

    owner: UUID
    dialect: Dialect
    requests: Annotated[tuple[Request, ...], Meta(min_length=1, max_length=10000)]
    batch_id: UUID | None = None
    batch_label: str = ""
    batch_url: str = ""
    """The link whose children the jobs are; empty when they came as a list."""
    batch_folder: str | None = None
    webhook_style: Style = "current"
    """In which words webhooks are told of the jobs."""
    reuse: bool = False
    """A link that the owner submitted a moment ago with the same options, and whose job has not ended, is answered with
    that job; so is one that comes twice in `requests`."""
    asked: str = ""
    """A hash of what the client said. A repeat with the same `command_id` is then known by it, whatever ids
    it brings, and whatever a site has said meanwhile of what is behind a link."""


class Submitted(Struct, frozen=True, kw_only=True):
    """Result of `job.submit`, in request order."""

    job_ids: tuple[UUID, ...]
    numbers: tuple[int, ...]
    batch_id: UUID | None = None
    replayed: bool = False


class CancelJob(Command, tag="job.cancel", kw_only=True, frozen=True):
    owner: UUID | None
    """None acts for the operator; otherwise a job of another owner is answered as absent."""
    job_id: UUID


class PauseJob(Command, tag="job.pause", kw_only=True, frozen=True):
    owner: UUID | None
    job_id: UUID


class ResumeJob(Command, tag="job.resume", kw_only=True, frozen=True):
    owner: UUID | None
    job_id: UUID


class RetryJob(Command, tag="job.retry", kw_only=True, frozen=True):
    """Same id, next attempt: only a failed or cancelled job."""

    owner: UUID | None
    job_id: UUID


class PrioritiseJob(Command, tag="job.prioritise", kw_only=True, frozen=True):
    owner: UUID | None
    job_id: UUID
    priority: Priority


class DeleteJobFiles(Command, tag="job.delete_files", kw_only=True, frozen=True):
    """What a job stored goes, the job stays."""

    owner: UUID | None
    job_id: UUID


class StartBatch(Command, tag="job.start_batch", kw_only=True, frozen=True):
    """Every held job of a batch that was submitted held is queued. The reply is the number of them."""

    owner: UUID | None
    batch_id: UUID


class Rename(Struct, frozen=True, kw_only=True):
    job_id: UUID
    filename: Annotated[str, Meta(min_length=1, max_length=255)]


class RenameJobs(Command, tag="job.rename", kw_only=True, frozen=True):
    """Only in a batch that is still held. The reply is `Renamed`."""

    owner: UUID | None
    batch_id: UUID
    renames: Annotated[tuple[Rename, ...], Meta(max_length=10000)]


class Renamed(Struct, frozen=True, kw_only=True):
    updated: int
    errors: tuple[str, ...] = ()
    """One for each that was not."""


class ClaimAttempt(Command, tag="job.claim", kw_only=True, frozen=True):
    """A worker took the ticket. The reply (`Claimed`) may carry a higher attempt when an earlier worker was lost."""

    job_id: UUID
    attempt: Attempt
    worker_id: UUID


class Claimed(Struct, frozen=True, kw_only=True):
    """Everything a worker needs; it reads no database."""

    job_id: UUID
    owner: UUID
    attempt: Attempt
    url: Link
    options: Options
    done: tuple[str, ...] = ()
    """Keys of the items that earlier attempts stored."""
    reserve: bool = False
    """The owner's storage is limited: nothing is stored that was not reserved."""
    rate: Annotated[int, Meta(ge=1)] | None = None
    """As in `ProgressReply`."""


class ReserveStorage(Command, tag="job.reserve", kw_only=True, frozen=True):
    """Room for what this attempt is going to store and has not reported yet. Asked before the bytes are fetched, or as
    soon as their number is known; a refusal ends the attempt. What was reserved is kept until the job ends."""

    job_id: UUID
    attempt: Attempt
    bytes: Bytes


class ReportItem(Command, tag="job.report_item", kw_only=True, frozen=True):
    job_id: UUID
    attempt: Attempt
    item: StoredItem | None = None
    skipped: Annotated[int, Meta(ge=1)] | None = None
    """How many items this attempt has passed over so far, because the user has them from earlier jobs."""
    failed: tuple[str, Failure] | None = None


class StageNote(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stage that was entered, with the time it was: it may be reported later."""

    stage: Stage
    at: Instant
    engine: EngineName | None = None
    title: str | None = None
    total_bytes: Bytes | None = None
    items_total: int | None = None
    description: Description | None = None
    release_date: str | None = None


class ReportStage(Command, tag="job.report_stage", kw_only=True, frozen=True):
    """Entering `downloading` carries what was learnt while resolving."""

    job_id: UUID
    attempt: Attempt
    note: StageNote


class ReportCompleted(Command, tag="job.report_completed", kw_only=True, frozen=True):
    """The attempt is done. Items may be reported here instead of one by one, which saves a round trip."""

    job_id: UUID
    attempt: Attempt
    engine: EngineName
    title: str | None = None
    items: tuple[StoredItem, ...] = ()
    stages: tuple[StageNote, ...] = ()
    """What a quick attempt went through before there was a need to say so."""
    skipped: Annotated[int, Meta(ge=0)] = 0
    """As in `ReportItem`, of the whole attempt."""


class ReportFailed(Command, tag="job.report_failed", kw_only=True, frozen=True):
    job_id: UUID
    attempt: Attempt
    failure: Failure


class ReportInterrupted(Command, tag="job.report_interrupted", kw_only=True, frozen=True):
    """A draining worker gives the job back; no attempt is charged."""

    job_id: UUID
    attempt: Attempt


class ReportProgress(Command, tag="job.report_progress", kw_only=True, frozen=True):
    """A signal with an answer: latest value only, never stored. The reply is `ProgressReply`."""

    job_id: UUID
    attempt: Attempt
    done_bytes: Bytes = 0
    total_bytes: Bytes | None = None
    items_done: int = 0
    items_total: int | None = None
    speed: Bytes = 0
    """Bytes per second."""
    eta: int | None = None
    """Seconds."""
    current_item: str | None = None


class ProgressReply(Struct, frozen=True, kw_only=True):
    wanted: Wanted
    rate: Annotated[int, Meta(ge=1)] | None = None
    """This worker's share of the owner's bandwidth in bytes per second, for all the owner's attempts that it runs."""


class WorkerHeartbeat(Command, tag="job.heartbeat", kw_only=True, frozen=True):
    """Sent every second. `running` lists (job, attempt); the reply is empty."""

    worker_id: UUID
    slots: Annotated[int, Meta(ge=0, le=1024)]
    running: tuple[tuple[UUID, int], ...] = ()
    draining: bool = False


class LoseWorker(Command, tag="job.lose_worker", kw_only=True, frozen=True):
    """Someone who knows (the supervisor) says that a worker is dead; its jobs go back at once."""

    worker_id: UUID


# ---- queries --------------------------------------------------------------------------------------------------


class ReadHistory(Query, tag="job.history", kw_only=True, frozen=True):
    """Every stored event of one job, oldest first; the reply is a JSON list of `HistoryEntry`."""

    owner: UUID | None
    job_id: UUID


class ReadSubmission(Query, tag="job.submission", kw_only=True, frozen=True):
    """What `job.submit` with this `command_id` was answered before; the reply is `Submitted` or null. Refused when it
    was another request."""

    command_id: UUID
    asked: str


class ReadUsage(Query, tag="job.usage", kw_only=True, frozen=True):
    """What an owner may take and takes, as this service counts it; the reply is `Usage`."""

    owner: UUID


class Usage(Struct, frozen=True, kw_only=True):
    limits: Limits
    kept: Bytes
    """Stored by jobs and not given up since."""
    reserved: Bytes


class ListArchived(Query, tag="job.archived", kw_only=True, frozen=True):
    """For a worker: the keys of what a user has of the sites that links of this host led to, in pages. The reply is an
    `ArchivePage`."""

    owner: UUID
    host: str
    archive: Archive
    after: tuple[str, str] | None = None
    """As the page before says."""


class ArchivePage(Struct, frozen=True, kw_only=True):
    keys: tuple[str, ...]
    after: tuple[str, str] | None = None
    """Site and key where the next page begins; None on the last one."""


class HistoryEntry(Struct, frozen=True, kw_only=True):
    version: int
    type: str
    recorded_at: Instant
    actor: str
    data: dict[str, object]


# ---- events ---------------------------------------------------------------------------------------------------


class JobSubmitted(Event, tag="job.submitted", kw_only=True, frozen=True):
    job_id: UUID
    number: int
    owner: UUID
    dialect: Dialect
    url: Link
    options: Options
    priority: Priority
    held: bool
    at: Instant
    not_before: Instant | None = None
    batch_id: UUID | None = None
    retry_of: UUID | None = None


class JobDeferred(Event, tag="job.deferred", kw_only=True, frozen=True):
    """Not admitted before `until`: it was submitted for later, or its owner's hours are over."""

    job_id: UUID
    owner: UUID
    until: Instant
    at: Instant
    reason: Literal["asked", "window"] = "asked"


class JobWebhookRequested(Event, tag="job.webhook_requested", kw_only=True, frozen=True):
    """Submitted with an address that is to hear how it ends; `link` and `folder` are what that address is told."""

    job_id: UUID
    owner: UUID
    url: Link
    link: Link
    folder: str | None
    at: Instant
    progress: bool = False
    style: Style = "current"


class BatchWebhookRequested(Event, tag="job.batch_webhook_requested", kw_only=True, frozen=True):
    """The address that hears of each job of a batch hears of its end as well."""

    batch_id: UUID
    owner: UUID
    url: Link
    link: str
    folder: str | None
    size: int
    at: Instant


class BatchSubmitted(Event, tag="job.batch_submitted", kw_only=True, frozen=True):
    batch_id: UUID
    owner: UUID
    dialect: Dialect
    label: str
    size: int
    held: bool
    at: Instant
    url: str = ""
    folder: str | None = None


class BatchStarted(Event, tag="job.batch_started", kw_only=True, frozen=True):
    """A held batch was let go."""

    batch_id: UUID
    owner: UUID
    at: Instant


class JobRenamed(Event, tag="job.renamed", kw_only=True, frozen=True):
    """What the job will store is called so, with the ending it has anyway."""

    job_id: UUID
    owner: UUID
    filename: str
    at: Instant


class JobFilesDeleted(Event, tag="job.files_deleted", kw_only=True, frozen=True):
    job_id: UUID
    owner: UUID
    file_ids: tuple[UUID, ...]
    at: Instant


class JobAdmitted(Event, tag="job.admitted", kw_only=True, frozen=True):
    """Capacity was found; the ticket follows."""

    job_id: UUID
    owner: UUID
    attempt: Attempt
    at: Instant


class JobStarted(Event, tag="job.started", kw_only=True, frozen=True):
    """A worker holds the attempt and is resolving the link."""

    job_id: UUID
    owner: UUID
    attempt: Attempt
    worker_id: UUID
    at: Instant


class JobStageEntered(Event, tag="job.stage_entered", kw_only=True, frozen=True):
    job_id: UUID
    owner: UUID
    attempt: Attempt
    stage: Stage
    at: Instant
    engine: EngineName | None = None
    title: str | None = None
    total_bytes: Bytes | None = None
    items_total: int | None = None
    description: Description | None = None
    release_date: str | None = None
    """As in 2026-01-31."""


class JobStorageReserved(Event, tag="job.storage_reserved", kw_only=True, frozen=True):
    """From now on the job has room for so many bytes beyond what it has stored."""

    job_id: UUID
    owner: UUID
    attempt: Attempt
    bytes: Bytes
    at: Instant


class JobItemCompleted(Event, tag="job.item_completed", kw_only=True, frozen=True):
    job_id: UUID
    owner: UUID
    attempt: Attempt
    item: StoredItem
    at: Instant


class JobItemsSkipped(Event, tag="job.items_skipped", kw_only=True, frozen=True):
    """A count and no keys: a gallery of which a user has all may have a hundred thousand items."""

    job_id: UUID
    owner: UUID
    attempt: Attempt
    count: int
    """All that the job has passed over, those that were told before included."""
    at: Instant


class JobItemFailed(Event, tag="job.item_failed", kw_only=True, frozen=True):
    job_id: UUID
    owner: UUID
    attempt: Attempt
    key: str
    failure: Failure
    at: Instant


class JobCompleted(Event, tag="job.completed", kw_only=True, frozen=True):
    job_id: UUID
    owner: UUID
    attempt: Attempt
    engine: EngineName
    items_done: int
    items_skipped: int
    items_failed: int
    size: Bytes
    at: Instant
    title: str | None = None
    batch_id: UUID | None = None
    url: str = ""
    description: Description | None = None
    release_date: str | None = None


class JobAttemptFailed(Event, tag="job.attempt_failed", kw_only=True, frozen=True):
    """The job goes on: it is queued again and not admitted before `retry_at`."""

    job_id: UUID
    owner: UUID
    attempt: Attempt
    failure: Failure
    retry_at: Instant
    at: Instant


class JobFailed(Event, tag="job.failed", kw_only=True, frozen=True):
    job_id: UUID
    owner: UUID
    attempt: int
    failure: Failure
    at: Instant
    batch_id: UUID | None = None
    url: str = ""


class JobInterrupted(Event, tag="job.interrupted", kw_only=True, frozen=True):
    """A worker drained or was lost: queued again, no attempt charged."""

    job_id: UUID
    owner: UUID
    attempt: Attempt
    reason: Literal["drained", "worker_lost"]
    at: Instant


class JobPaused(Event, tag="job.paused", kw_only=True, frozen=True):
    job_id: UUID
    owner: UUID
    at: Instant


class JobResumed(Event, tag="job.resumed", kw_only=True, frozen=True):
    """From held or paused back to queued."""

    job_id: UUID
    owner: UUID
    at: Instant


class JobRetried(Event, tag="job.retried", kw_only=True, frozen=True):
    job_id: UUID
    owner: UUID
    at: Instant


class JobPrioritised(Event, tag="job.prioritised", kw_only=True, frozen=True):
    job_id: UUID
    owner: UUID
    priority: Priority
    at: Instant


class JobCancelled(Event, tag="job.cancelled", kw_only=True, frozen=True):
    job_id: UUID
    owner: UUID
    at: Instant
    batch_id: UUID | None = None


# ---- refusals -------------------------------------------------------------------------------------------------


class JobNotFound(Refusal, tag="job.not_found", kw_only=True, frozen=True):
    """Also the answer for a job of another owner."""

    job_id: UUID


class WrongState(Refusal, tag="job.wrong_state", kw_only=True, frozen=True):
    job_id: UUID
    state: State
    wanted: str


class NoFiles(Refusal, tag="job.no_files", kw_only=True, frozen=True):
    """Nothing is stored of this job, or not yet."""

    job_id: UUID


class BatchNotFound(Refusal, tag="job.batch_not_found", kw_only=True, frozen=True):
    """Also the answer for a batch of another owner."""

    batch_id: UUID


class BatchNotHeld(Refusal, tag="job.batch_not_held", kw_only=True, frozen=True):
    batch_id: UUID


class StaleAttempt(Refusal, tag="job.stale_attempt", kw_only=True, frozen=True):
    job_id: UUID
    attempt: int
    current: int


class QuotaExceeded(Refusal, tag="job.quota_exceeded", kw_only=True, frozen=True):
    """The owner's storage has no room for it."""

    limit: Bytes
    used: Bytes
    """Kept and reserved, by all the owner's jobs."""


class BadRequest(Refusal, tag="job.bad_request", kw_only=True, frozen=True):
    """A link or option that passed the types but is not acceptable; `index` is the place in the submission."""

    index: int
    code: str
    choices: tuple[str, ...] = ()
    """What would have been acceptable, where that is a list of words."""


class IdempotencyMismatch(Refusal, tag="job.idempotency_mismatch", kw_only=True, frozen=True):
    """The same key was used before for a different request."""


# ---- signals --------------------------------------------------------------------------------------------------


class Progress(Struct, frozen=True, kw_only=True, tag_field="type", tag="job.progress"):
    """Published on `progress.<owner>.<job>`; latest value wins."""

    job_id: UUID
    owner: UUID
    attempt: int
    state: State
    done_bytes: int
    total_bytes: int | None
    items_done: int
    items_total: int | None
    speed: int
    eta: int | None
    current_item: str | None
    at: Instant


class Control(Struct, frozen=True, kw_only=True, tag_field="type", tag="job.control"):
    """Published on `ctl.job.<job>` to whoever runs it."""

    job_id: UUID
    wanted: Wanted


class Dealt(Struct, frozen=True, kw_only=True, tag_field="type", tag="job.dealt"):
    """Published on `ctl.shares` whenever an attempt of an owner with limited bandwidth begins or ends, so that nobody
    goes on with a share that is another's by now."""

    owner: UUID
    bandwidth: Annotated[int, Meta(ge=1)]
    running: dict[UUID, int]
    """Attempts that move bytes, by worker."""


class Ticket(Struct, frozen=True, kw_only=True, tag_field="type", tag="job.ticket"):
    """One admitted attempt in the WORK stream."""

    job_id: UUID
    attempt: Attempt
    traceparent: str = ""
