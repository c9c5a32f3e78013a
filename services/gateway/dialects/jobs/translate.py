"""Between their words and ours. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from uuid import UUID, uuid5

import msgspec

from libs.message import Refusal, tag
from proto.job import Options, Request, SubmitJobs
from services.gateway.dialects.jobs import wire
from services.gateway.domain import JobView

LINK_SECONDS = 24 * 3600
LIST_DEFAULT, LIST_MOST = 20, 100
MISSING_KEY = "Missing x-api-key header"
BAD_KEY = "Invalid API Key"
NOT_FOUND = "Job not found"
NO_CANCEL = "Job cannot be cancelled (not in queue or already processing)"
NO_RETRY = "Only failed jobs can be retried"
CANCELLED = "Job cancelled by user"

_RESOLUTIONS = {"best": None, "2160": 2160, "1440": 1440, "1080": 1080, "720": 720, "480": 480, "360": 360}
_FORMATS = frozenset({"mp4", "m4a"})
_NOT_YET = (
    "video_codec",
    "audio_codec",
    "audio_bitrate",
    "video_quality",
    "quality_preset",
    "download_subtitles",
    "download_thumbnail",
    "clip_start",
    "clip_end",
    "live_recording",
    "live_from_start",
    "wait_for_video",
    "max_duration",
    "enable_progress_webhook",
    "storage",
    "paused",
)
"""Options of theirs that nothing behind us does: saying so is better than a file that is not what was asked for."""

STATUS = {
    "held": ("Pending", "Queued"),
    "queued": ("Pending", "Queued"),
    "admitted": ("Pending", "Queued"),
    "paused": ("Pending", "Queued"),
    "resolving": ("Processing", "Downloading"),
    "downloading": ("Processing", "Downloading"),
    "processing": ("Processing", "Muxing"),
    "storing": ("Processing", "Uploading"),
    "completed": ("Completed", "Finished"),
    "failed": ("Failed", "Finished"),
    "cancelled": ("Failed", "Cancelled"),
}
FILTERS = {
    "pending": ("held", "queued", "admitted", "paused"),
    "processing": ("resolving", "downloading", "processing", "storing"),
    "completed": ("completed",),
    "failed": ("failed", "cancelled"),
    "cancelled": ("cancelled",),
    "warning": (),
    "skipped": (),
}


class Invalid(ValueError):
    """Their text for a 400, or with `status` 422 for a value of the wrong type."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


def decode(body: bytes) -> wire.Create:
    try:
        return msgspec.json.decode(body, type=wire.Create)
    except msgspec.ValidationError as error:
        raise Invalid(str(error), 422) from error
    except msgspec.DecodeError as error:
        raise Invalid("Request body is not valid JSON") from error


def options(body: wire.Create) -> Options:
    for name in _NOT_YET:
        value = getattr(body, name)
        if value not in (None, False, "copy"):
            raise Invalid(f"{name} is not supported by this server")
    if body.format is not None and (body.format not in _FORMATS or (body.format == "m4a") != body.audio_only):
        raise Invalid(f"format {body.format} is not supported by this server")
    resolution = body.max_resolution or "best"
    if resolution not in _RESOLUTIONS:
        raise Invalid("max_resolution must be best, 2160, 1440, 1080, 720, 480 or 360")
    return Options(
        audio_only=body.audio_only,
        max_height=_RESOLUTIONS[resolution],
        webhook_url=body.webhook_url,
        filename=_filename(body.filename),
        directory=_folder(body.folder),
    )


def _filename(name: str | None) -> str | None:
    if name is None:
        return None
    if not name.strip() or len(name) > 255 or ".." in name or any(c in name for c in "/\\\0"):
        raise Invalid("Invalid filename")
    return name


def _folder(folder: str | None) -> tuple[str, ...]:
    if folder is None:
        return ()
    if len(folder) > 200:
        raise Invalid("Folder name too long (max 200 characters)")
    if not folder.strip() or folder.startswith(("/", "\\")) or ".." in folder or "\0" in folder:
        raise Invalid("Invalid folder name")
    parts = tuple(part for part in folder.replace("\\", "/").split("/") if part.strip())
    if len(parts) > 8:
        raise Invalid("Folder name too deep (max 8 levels)")
    return parts


def command(owner: UUID, body: wire.Create, job_id: UUID) -> SubmitJobs:
    return SubmitJobs(
        owner=owner, dialect="jobs", requests=(Request(job_id=job_id, url=body.url, options=options(body)),)
    )


def identities(key_id: UUID, idempotency_key: str | None, new_id: Callable[[], UUID]) -> tuple[UUID, UUID | None]:
    """(job id, command id). With a client's key both follow from it, so a repeat is the very same command."""
    if idempotency_key is None:
        return new_id(), None
    if not 1 <= len(idempotency_key) <= 255:
        raise Invalid("Invalid x-idempotency-key")
    command_id = uuid5(key_id, hashlib.sha256(idempotency_key.encode()).hexdigest())
    return uuid5(command_id, "job"), command_id


def again(view: JobView, owner: UUID, job_id: UUID) -> SubmitJobs:
    """Their retry is a new job that names the old one."""
    return SubmitJobs(
        owner=owner,
        dialect="jobs",
        requests=(
            Request(job_id=job_id, url=view.url, options=view.options, priority=view.priority, retry_of=view.job_id),
        ),
    )


def listing(limit: str | None, offset: str | None, status: str | None) -> tuple[int, int, tuple[str, ...] | None]:
    """(limit, offset, states); what is no number and what is no status is as if it were not there."""
    states = FILTERS.get(status.lower()) if status else None
    return min(max(_number(limit, LIST_DEFAULT), 1), LIST_MOST), max(_number(offset, 0), 0), states


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdecimal() and len(text) < 10 else default


def job(view: JobView, link: Callable[[UUID, str], str] | None) -> wire.Job:
    """`link` signs a file's address; lists have none."""
    status, step = STATUS[view.state]
    item = view.items[0] if view.items else None
    error = CANCELLED if view.state == "cancelled" else None
    failure = view.failure if view.state == "failed" else None
    if failure is not None:
        error = failure.message
    return wire.Job(
        id=str(view.job_id),
        url=view.url,
        status=status,
        step=step,
        error=error,
        error_type=None if failure is None else "warning" if failure.kind == "content" else "error",
        title=view.title,
        folder="/".join(view.options.directory) or None,
        filename=view.options.filename,
        batch_id=str(view.batch_id) if view.batch_id else None,
        file_size=view.size if view.items else None,
        s3_key=item.name if item else None,
        s3_url=link(item.file_id, item.name) if item and link else None,
        storage_provider="local" if item else None,
        queue_wait_ms=_between(view.submitted_at, view.started_at),
        extract_duration_ms=_between(view.started_at, view.downloading_at),
        download_duration_ms=_between(view.downloading_at, view.processing_at or view.storing_at),
        mux_duration_ms=_between(view.processing_at, view.storing_at),
        upload_duration_ms=_between(view.storing_at, view.finished_at),
        total_duration_ms=_between(view.submitted_at, view.finished_at),
        download_retries=view.retries,
        audio_only=view.options.audio_only,
        created_at=_millis(view.submitted_at),
        finished_at=_millis(view.finished_at) if view.finished_at else None,
    )


STATUS_OF_REFUSAL: dict[str, int] = {
    "job.not_found": 404,
    "gateway.no_such_job": 404,
    "storage.file_not_found": 404,
    "job.wrong_state": 400,
    "job.idempotency_mismatch": 409,
    "auth.locked_out": 429,
}
"""HTTP status of our refusals; any other is 400."""


def refusal(refused: Refusal) -> tuple[int, str]:
    """(HTTP status, text)."""
    return STATUS_OF_REFUSAL.get(tag(refused), 400), refused.message


def _between(first: datetime | None, last: datetime | None) -> int | None:
    if first is None or last is None or last < first:
        return None
    return int((last - first).total_seconds() * 1000)


def _millis(at: datetime) -> int:
    return int(at.timestamp() * 1000)
