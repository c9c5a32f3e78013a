"""What a webhook says, how it is signed, and when it is tried again. Pure; clock and secret are arguments."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from msgspec import Struct

from proto.auth import Style
from proto.job import JobCompleted, JobFailed, JobStageEntered

DELAYS = tuple(timedelta(seconds=s) for s in (5, 30, 180, 900, 3600))
"""Before the second and each later try; after the last there is none."""
SKIPPED = "nothing new behind this link"
TOLD_KEPT = timedelta(days=30)
"""For so long a job shows how telling of its end went."""
RETRIED_WITHIN = timedelta(days=90)
"""Who asked to be told of a job that failed or was cancelled is told when it is tried again within that time."""
FIRST_LEASE = timedelta(seconds=60)
"""A try that ends without a word, because we died, is made again after this."""


class Hook(Struct, frozen=True):
    """What was known of a job when it was submitted, and the first file it stored."""

    link: str
    folder: str | None
    first_file: str | None
    progress: bool = False
    """Whether every stage is told."""
    style: Style = "current"
    file_id: UUID | None = None
    """Of that file, when it is on our disk."""
    subtitle: str | None = None
    """As `first_file`, which is none that only goes with another."""
    stage: str | None = None
    """The last that it entered."""


def body(event: JobCompleted | JobFailed, hook: Hook, link: str | None = None) -> bytes:
    """The fields of all editions together: receivers read those they know; `link` is to the first file. For the older
    ones one type says every end, and there is no word for what is neither done nor failed."""
    kind, status = _kind(event)
    told: dict[str, object] = {"type": kind, "status": status}
    if hook.style == "legacy":
        told = {"type": "job_completed", "status": "Completed" if isinstance(event, JobCompleted) else "Failed"}
    told |= {"job_id": str(event.job_id), "url": hook.link, "folder": hook.folder}
    if event.batch_id is not None:
        told["batch_id"] = str(event.batch_id)
    if isinstance(event, JobFailed):
        told |= {"error": event.failure.message, "error_code": event.failure.code}
        if hook.style == "legacy":
            told["error_type"] = "warning" if event.failure.kind == "content" else "error"
        return msgspec.json.encode(told)
    if kind == "job_skipped":
        told["reason"] = SKIPPED
    return msgspec.json.encode(
        {
            **told,
            "title": event.title,
            "description": event.description,
            "release_date": event.release_date,
            "key": hook.first_file,
            "s3_key": hook.first_file,
            "subtitle_key": hook.subtitle,
            "s3_url": link,
            "file_size_bytes": event.size,
            "items": event.items_done,
        }
    )


def _kind(event: JobCompleted | JobFailed) -> tuple[str, str]:
    """Type and status. What the site does not have, or not for us, is nobody's fault here."""
    if isinstance(event, JobFailed):
        return ("job_warning", "warning") if event.failure.kind == "content" else ("job_failed", "failed")
    return ("job_completed", "completed") if event.items_done else ("job_skipped", "skipped")


ENTERED = {"downloading": ("downloading", 0), "processing": ("muxing", 33), "storing": ("uploading", 66)}
LEFT = {"downloading": ("download_complete", 33), "processing": ("mux_complete", 66)}
"""Our stages in the words and percents of theirs, which have one for the end of some as well."""
_ORDER = (*ENTERED, "completed")
PROGRESS = '{"type":"progress",'
"""What every one of these begins with."""


def progress_bodies(event: JobStageEntered | JobCompleted, before: str | None) -> list[bytes]:
    """What there is to tell after the stage `before`, in order; nothing of a stage that they have no word for. Who goes
    back to a stage begins anew and has completed nothing."""
    stage = "completed" if isinstance(event, JobCompleted) else event.stage
    if stage not in _ORDER or stage == before:
        return []
    told = [("completed", 100) if stage == "completed" else ENTERED[stage]]
    if before in LEFT and _ORDER.index(before) < _ORDER.index(stage):
        told.insert(0, LEFT[before])
    return [
        msgspec.json.encode(
            {"type": "progress", "job_id": str(event.job_id), "stage": word, "progress_percent": percent}
        )
        for word, percent in told
    ]


class BatchHook(Struct, frozen=True, kw_only=True):
    """What was known of a batch when it was submitted, and how many of its jobs have ended since."""

    batch_id: UUID
    owner: UUID
    url: str
    link: str
    folder: str | None
    size: int
    completed: int = 0
    failed: int = 0

    @property
    def over(self) -> bool:
        return self.completed + self.failed >= self.size


def batch_body(batch: BatchHook) -> bytes:
    return msgspec.json.encode(
        {
            "type": "batch_completed",
            "batch_id": str(batch.batch_id),
            "show_url": batch.link,
            "folder": batch.folder,
            "completed": batch.completed,
            "failed": batch.failed,
            "total": batch.size,
        }
    )


def signature(secret: str, raw: bytes, at: datetime) -> str:
    """`t=<unix>,v1=<hex>`: HMAC-SHA256 over time and body, made anew for every try: a receiver can refuse old ones."""
    stamp = int(at.timestamp())
    mac = hmac.new(secret.encode(), f"{stamp}.".encode() + raw, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={mac}"
