"""What they are shown, in their words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Literal, NamedTuple

from msgspec import UNSET
from msgspec.structs import replace

from libs.message import Refusal
from proto.auth import Style
from proto.job import Options, QuotaExceeded, Usage
from proto.notifier import SlackInfo
from proto.storage import TargetInfo, TargetRejected
from proto.worker import LinkInfo
from services.gateway.dialects.jobs import shown
from services.gateway.dialects.jobs.translate import COUNTED
from services.gateway.domain import BatchView, DayView, JobView

CANCELLED = "Job cancelled by user"
SKIPPED = "Nothing new behind this link"
LONGEST_SHORT = 180
"""Seconds of an upright film that is called a short."""

Status = Literal["Pending", "Processing", "Completed", "Failed", "Warning", "Skipped"]
Step = Literal["Queued", "Downloading", "Muxing", "Uploading", "Finished", "Cancelled"]

STATUS: dict[str, tuple[Status, Step]] = {
    "held": ("Pending", "Queued"),
    "queued": ("Pending", "Queued"),
    "admitted": ("Pending", "Queued"),
    "paused": ("Pending", "Queued"),
    "resolving": ("Processing", "Downloading"),
    "downloading": ("Processing", "Downloading"),
    "processing": ("Processing", "Muxing"),
    "storing": ("Processing", "Uploading"),
    "completed": ("Completed", "Finished"),
    "skipped": ("Skipped", "Finished"),
    "warned": ("Warning", "Finished"),
    "failed": ("Failed", "Finished"),
    "cancelled": ("Failed", "Cancelled"),
}


def metadata(info: LinkInfo) -> shown.Metadata:
    return shown.Metadata(
        title=info.title,
        duration=info.duration,
        width=info.width,
        height=info.height,
        extractor=info.extractor,
        uploader=info.uploader,
        thumbnail=info.thumbnail,
        description=info.description,
        view_count=info.view_count,
        like_count=info.like_count,
        upload_date=info.upload_date,
        filesize_approx=info.filesize,
    )


def shortness(info: LinkInfo) -> shown.Shortness:
    upright = info.width is not None and info.height is not None and info.height > info.width
    short = upright and info.duration is not None and info.duration <= LONGEST_SHORT
    return shown.Shortness(
        is_short=short,
        video_type="live" if info.live else "short" if short else "video",
        width=info.width,
        height=info.height,
        aspect_ratio=round(info.width / info.height, 4) if info.width and info.height else None,
        duration_seconds=info.duration,
    )


class Links(NamedTuple):
    """To the files of a job; None for one that it has not."""

    main: str | None = None
    subtitle: str | None = None
    thumbnail: str | None = None


def job(view: JobView, links: Links, style: Style) -> shown.Job:
    """Lists show no links."""
    status, step = STATUS[view.outcome]
    item, fetched_at = view.main, view.processing_at or view.storing_at
    error, error_type = _wrong(view)
    if style == "legacy" and view.outcome in ("warned", "skipped"):
        status, error, error_type = "Failed", error or SKIPPED, "warning"
    return shown.Job(
        id=str(view.job_id),
        url=view.url,
        status=status,
        step=step,
        error=error,
        error_type=error_type,
        title=view.title,
        folder="/".join(view.options.directory) or None,
        filename=view.options.filename,
        batch_id=str(view.batch_id) if view.batch_id else None,
        file_size=view.size if view.items else None,
        s3_key=item.object_key or item.name if item else None,
        s3_url=links.main,
        subtitle_url=links.subtitle,
        thumbnail_url=links.thumbnail or UNSET,
        waiting_for=view.waits[0] if view.waits else UNSET,
        waiting_until=_millis(view.waits[1]) if view.waits else UNSET,
        storage_provider=item.provider if item else None,
        description=view.description or UNSET,
        release_date=view.release_date or UNSET,
        download_speed_mbps=_speed(view.total_bytes or view.size, view.downloading_at, fetched_at),
        upload_speed_mbps=(item and item.bucket and _speed(view.size, view.storing_at, view.finished_at)) or UNSET,
        s3_bucket=item.bucket if item and item.bucket else UNSET,
        queue_wait_ms=_between(view.submitted_at, view.started_at),
        extract_duration_ms=_between(view.started_at, view.downloading_at),
        download_duration_ms=_between(view.downloading_at, fetched_at),
        mux_duration_ms=_between(view.processing_at, view.storing_at),
        upload_duration_ms=_between(view.storing_at, view.finished_at),
        total_duration_ms=_between(view.submitted_at, view.finished_at),
        download_retries=view.retries,
        audio_only=view.options.audio_only,
        created_at=_millis(view.submitted_at),
        finished_at=_millis(view.finished_at) if view.finished_at else None,
        **_asked_for(view.options),
    )


def _wrong(view: JobView) -> tuple[str | None, Literal["error", "warning"] | None]:
    """Their text and their word for why there is no file."""
    if view.state == "cancelled":
        return CANCELLED, None
    if view.state != "failed" or view.failure is None:
        return None, None
    return view.failure.message, "warning" if view.outcome == "warned" else "error"


def told(job: shown.Job, attempts: Sequence[Mapping[str, Any]]) -> shown.Job:
    """With how telling its webhook went, the latest attempt last."""
    if not attempts:
        return job
    last = max(attempts, key=lambda one: str(one["at"]))
    waiting = last["outcome"] == "failed" and last.get("next_attempt_at") is not None
    return replace(
        job,
        webhook_status="pending" if waiting else last["outcome"],
        webhook_attempts=len(attempts),
        webhook_last_error=last["error"],
        webhook_response_time_ms=last["elapsed_ms"],
    )


def _asked_for(chosen: Options) -> dict[str, Any]:
    found = {
        "format": chosen.container,
        "video_codec": chosen.video_codec if chosen.video_codec != "copy" else None,
        "audio_codec": chosen.audio_codec if chosen.audio_codec != "copy" else None,
        "audio_bitrate": f"{chosen.audio_bitrate}k" if chosen.audio_bitrate else None,
        "video_quality": chosen.video_crf,
        "max_resolution": str(chosen.max_height) if chosen.max_height else None,
        "download_subtitles": chosen.subtitles or None,
        "download_thumbnail": chosen.thumbnail or None,
        "clip_start": f"{chosen.clip_start:g}" if chosen.clip_start is not None else None,
        "clip_end": f"{chosen.clip_end:g}" if chosen.clip_end is not None else None,
        "webhook_url": chosen.webhook_url,
        "enable_progress_webhook": chosen.progress_webhook or None,
        "live_recording": chosen.record_live or None,
        "live_from_start": chosen.live_from_start or None,
        "wait_for_video": chosen.wait_for_live or None,
        "max_duration": chosen.max_duration,
    }
    return {name: value for name, value in found.items() if value is not None}


def batch(view: BatchView) -> shown.Batch:
    completed, skipped = view.states.get("completed", 0), view.states.get("skipped", 0)
    failed = sum(view.states.get(outcome, 0) for outcome in ("failed", "warned", "cancelled"))
    return shown.Batch(
        id=str(view.batch_id),
        show_url=view.url,
        status=batch_status(view, completed + skipped, failed),
        folder=view.folder,
        total_episodes=view.size,
        completed_episodes=completed,
        failed_episodes=failed,
        skipped_episodes=skipped,
        episode_jobs=[str(job_id) for job_id in view.job_ids],
    )


def batch_status(
    view: BatchView, completed: int, failed: int
) -> Literal["paused", "processing", "completed", "finished"]:
    if view.held:
        return "paused"
    if completed + failed < view.size:
        return "processing"
    return "finished" if failed else "completed"


def usage(name: str, days: Sequence[DayView], taken: Usage, today: date) -> shown.Usage:
    first = today.replace(day=1)
    following = (first + timedelta(days=32)).replace(day=1)
    limit, effective = taken.limits.storage, taken.kept + taken.reserved
    return shown.Usage(
        client_name=name,
        usage_count=sum(day.submitted for day in days),
        storage_usage_gb=_gib(sum(day.bytes for day in days)),
        storage_reserved_gb=_gib(taken.reserved),
        storage_effective_usage_gb=_gib(effective),
        billing_period_start=first.isoformat(),
        billing_period_end=following.isoformat(),
        current_period_usage_gb=_gib(sum(day.bytes for day in days if day.day >= first)),
        storage_limit_gb=UNSET if limit is None else _gib(limit),
        storage_limit_bytes=UNSET if limit is None else limit,
        storage_remaining_gb=UNSET if limit is None else _gib(max(0, limit - effective)),
    )


def quota(refused: QuotaExceeded) -> shown.Quota:
    """Numbers as strings, as they have them."""
    limit, used = (f"{size / 2**30:.2f}" for size in (refused.limit, refused.used))
    return shown.Quota(
        error="Storage quota exceeded",
        limit_gb=limit,
        used_gb=used,
        message=f"{used} GB of {limit} GB are used or reserved; delete files or ask for a higher limit",
    )


def stats(counted: Mapping[str, int], days: Sequence[DayView]) -> shown.Stats:
    completed = sum(day.completed for day in days)
    return shown.Stats(
        total_jobs=sum(counted.values()),
        pending_jobs=_counted(counted, "pending"),
        processing_jobs=_counted(counted, "processing"),
        completed_jobs=_counted(counted, "completed"),
        failed_jobs=_counted(counted, "failed"),
        storage_used_gb=_gib(sum(day.bytes for day in days)),
        avg_processing_time_seconds=round(sum(day.seconds for day in days) / completed, 3) if completed else 0.0,
    )


def row(view: JobView, style: Style) -> shown.Row:
    whole = job(view, Links(), style)
    return shown.Row(
        id=whole.id,
        url=whole.url,
        status=whole.status,
        error=whole.error,
        s3_key=whole.s3_key,
        created_at=whole.created_at,
    )


def daily(days: Sequence[DayView], today: date) -> list[shown.Day]:
    """The last seven days, oldest first, also those on which nothing happened."""
    known = {day.day: day for day in days}
    week = [today - timedelta(days=back) for back in range(6, -1, -1)]
    return [
        shown.Day(
            date=day.isoformat(),
            completed=known[day].completed if day in known else 0,
            failed=known[day].failed if day in known else 0,
        )
        for day in week
    ]


def cluster(counted: Mapping[str, int]) -> shown.Cluster:
    return shown.Cluster(
        total_downloading=counted.get("resolving", 0) + counted.get("downloading", 0),
        total_muxing=counted.get("processing", 0),
        total_uploading=counted.get("storing", 0),
    )


def _counted(counted: Mapping[str, int], status: str) -> int:
    """As those count them who know only whether a job completed or failed."""
    return sum(counted.get(outcome, 0) for outcome in COUNTED[status])


def _gib(size: int) -> float:
    return round(size / 2**30, 6)


def target(info: TargetInfo) -> shown.TargetShown:
    return shown.TargetShown(
        configured=True,
        provider=info.provider,
        container_or_bucket=info.bucket,
        endpoint=info.endpoint,
        region=info.region,
        folder_prefix=info.folder_prefix,
        base_folder=info.base_folder,
        access_key_masked=info.masked,
        last_modified=_iso(info.configured_at),
        source="user",
    )


def slack(info: SlackInfo) -> shown.SlackShown:
    return shown.SlackShown(
        configured=True,
        webhook_url_masked=info.masked,
        notify_level=info.level,
        last_modified=_iso(info.configured_at),
    )


def target_refused(refused: Refusal) -> str:
    """Their words for what clients look for, ours for the rest."""
    if isinstance(refused, TargetRejected) and refused.code == "access_denied":
        return "Credential validation failed: AccessDenied"
    if isinstance(refused, TargetRejected) and refused.code == "bad_settings":
        return refused.message
    return f"Verification failed: {refused.message}"


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _between(first: datetime | None, last: datetime | None) -> int | None:
    if first is None or last is None or last < first:
        return None
    return int((last - first).total_seconds() * 1000)


def _speed(size: int, first: datetime | None, last: datetime | None) -> float | None:
    """In 2^20 bytes a second."""
    took = _between(first, last)
    return round(size / took * 1000 / (1 << 20), 3) if size and took else None


def _millis(at: datetime) -> int:
    return int(at.timestamp() * 1000)
