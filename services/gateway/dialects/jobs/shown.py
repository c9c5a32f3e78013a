"""Their spelling of what they are shown."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from libs.message import repr_without
from services.gateway.dialects.jobs.wire import Id

Millis = Annotated[int, Meta(description="Epoch milliseconds")]


class Problem(Struct, frozen=True, kw_only=True):
    error: str


class Quota(Problem, frozen=True, kw_only=True):
    """There is no room in the user's storage."""

    limit_gb: str
    used_gb: str
    """Kept and reserved."""
    message: str


class Created(Struct, frozen=True, kw_only=True):
    job_id: Id
    cached: bool | UnsetType = UNSET
    """True for a repeated request."""


class Episode(Struct, frozen=True, kw_only=True):
    job_id: Id
    url: str
    title: str | None


class Collected(Struct, frozen=True, kw_only=True):
    """The keys of shows and those of playlists: either reader finds its own."""

    batch_id: Id
    total_videos: int
    video_jobs: list[Id]
    total_episodes: int
    paused: bool
    episodes: list[Episode]
    episode_jobs: list[Id]
    cached: bool | UnsetType = UNSET
    """True for a repeated request."""


class BulkCreated(Struct, frozen=True, kw_only=True):
    batch_id: Id
    total_jobs: int
    job_ids: list[Id]
    cached: bool | UnsetType = UNSET
    """True for a repeated request."""


class Message(Struct, frozen=True, kw_only=True):
    message: str


class Cancelled(Message, frozen=True, kw_only=True):
    job_id: Id


class Retried(Struct, frozen=True, kw_only=True):
    job_id: Id
    original_job_id: Id
    message: str


class FileDeleted(Message, frozen=True, kw_only=True):
    job_id: Id
    deleted_key: str


class Renamed(Struct, frozen=True, kw_only=True):
    updated: int
    errors: list[str]


class Started(Struct, frozen=True, kw_only=True):
    batch_id: Id
    started_jobs: int
    status: str


class Metadata(Struct, frozen=True, kw_only=True):
    title: str | None
    duration: float | None
    """Seconds."""
    width: int | None
    height: int | None
    extractor: str | None
    uploader: str | None
    thumbnail: str | None
    description: str | None
    view_count: int | None
    like_count: int | None
    upload_date: str | None
    """YYYYMMDD."""
    filesize_approx: int | None


class Shortness(Struct, frozen=True, kw_only=True):
    is_short: bool
    video_type: Literal["short", "video", "live"]
    width: int | None
    height: int | None
    aspect_ratio: float | None
    duration_seconds: float | None


class Job(Struct, frozen=True, kw_only=True):
    """Always-present fields first; the others are null when unknown."""

    id: Id
    url: str
    status: Literal["Pending", "Processing", "Completed", "Failed", "Warning", "Skipped"]
    step: Literal["Queued", "Downloading", "Muxing", "Uploading", "Finished", "Cancelled"]
    s3_url: str | None = None
    subtitle_url: str | None = None
    error: str | None = None
    error_type: Literal["error", "warning"] | None = None
    title: str | None = None
    folder: str | None = None
    filename: str | None = None
    batch_id: Id | None = None
    file_size: int | None = None
    s3_key: str | None = None
    storage_provider: str | None = None
    queue_wait_ms: int | None = None
    extract_duration_ms: int | None = None
    download_duration_ms: int | None = None
    mux_duration_ms: int | None = None
    upload_duration_ms: int | None = None
    total_duration_ms: int | None = None
    download_retries: int | None = None
    download_speed_mbps: float | None = None
    """2^20 bytes a second."""
    audio_only: bool | None = None
    created_at: Millis | None = None
    finished_at: Millis | None = None
    s3_bucket: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    release_date: str | UnsetType = UNSET
    upload_speed_mbps: float | UnsetType = UNSET
    """To object storage."""
    thumbnail_url: str | UnsetType = UNSET
    waiting_for: str | UnsetType = UNSET
    """Ours: why it is not begun, and until when at the least."""
    waiting_until: Millis | UnsetType = UNSET
    # What was asked for; absent when it was not.
    format: str | UnsetType = UNSET
    video_codec: str | UnsetType = UNSET
    audio_codec: str | UnsetType = UNSET
    audio_bitrate: str | UnsetType = UNSET
    video_quality: int | UnsetType = UNSET
    max_resolution: str | UnsetType = UNSET
    download_subtitles: bool | UnsetType = UNSET
    download_thumbnail: bool | UnsetType = UNSET
    clip_start: str | UnsetType = UNSET
    clip_end: str | UnsetType = UNSET
    webhook_url: str | UnsetType = UNSET
    enable_progress_webhook: bool | UnsetType = UNSET
    live_recording: bool | UnsetType = UNSET
    live_from_start: bool | UnsetType = UNSET
    wait_for_video: bool | UnsetType = UNSET
    max_duration: int | UnsetType = UNSET
    # How telling the webhook went; absent while nothing was told.
    webhook_status: str | UnsetType = UNSET
    webhook_attempts: int | UnsetType = UNSET
    webhook_last_error: str | UnsetType | None = UNSET
    webhook_response_time_ms: int | UnsetType = UNSET


class Batch(Struct, frozen=True, kw_only=True):
    id: Id
    show_url: str
    status: Literal["paused", "processing", "completed", "finished"]
    folder: str | None
    total_episodes: int
    completed_episodes: int
    failed_episodes: int
    skipped_episodes: int
    episode_jobs: list[Id]


class Listing(Struct, frozen=True, kw_only=True):
    jobs: list[Job]
    total: int
    limit: int
    offset: int


class Usage(Struct, frozen=True, kw_only=True):
    client_name: str
    usage_count: int
    storage_usage_gb: float
    """Of 2^30 bytes; what was ever stored, deleted or not."""
    storage_reserved_gb: float
    """For jobs that are under way."""
    storage_effective_usage_gb: float
    """What counts against the limit: what is kept now, and what is reserved."""
    billing_period_start: str
    billing_period_end: str
    current_period_usage_gb: float
    # Absent where there is no limit.
    storage_limit_gb: float | UnsetType = UNSET
    storage_limit_bytes: int | UnsetType = UNSET
    storage_remaining_gb: float | UnsetType = UNSET


class Stats(Struct, frozen=True, kw_only=True):
    total_jobs: int
    pending_jobs: int
    processing_jobs: int
    completed_jobs: int
    failed_jobs: int
    storage_used_gb: float
    avg_processing_time_seconds: float


class Row(Struct, frozen=True, kw_only=True):
    id: Id
    url: str
    status: str
    error: str | None
    s3_key: str | None
    created_at: Millis | None


class Day(Struct, frozen=True, kw_only=True):
    date: str
    completed: int
    failed: int


class Cluster(Struct, frozen=True, kw_only=True):
    total_downloading: int
    total_muxing: int
    total_uploading: int


class DashboardJobs(Struct, frozen=True, kw_only=True):
    jobs: list[Row]
    total: int


class DashboardBatches(Struct, frozen=True, kw_only=True):
    batches: list[Batch]


class Daily(Struct, frozen=True, kw_only=True):
    daily_stats: list[Day]
    """The last seven days, oldest first."""


class Billing(Struct, frozen=True, kw_only=True):
    billing_enabled: bool


class Secret(Struct, frozen=True, kw_only=True):
    webhook_signing_secret: str

    def __repr__(self) -> str:
        return repr_without(self, "webhook_signing_secret")


class TargetKept(Message, frozen=True, kw_only=True):
    provider: str
    container_or_bucket: str
    folder_prefix: str | UnsetType = UNSET


class NoTarget(Struct, frozen=True, kw_only=True):
    configured: bool = False


class TargetShown(Struct, frozen=True, kw_only=True):
    """Without its secrets."""

    configured: bool
    provider: str
    container_or_bucket: str
    endpoint: str | None
    region: str | None
    folder_prefix: str | None
    base_folder: str | None
    access_key_masked: str
    last_modified: str
    source: str


class SlackKept(Message, frozen=True, kw_only=True):
    notify_level: str


class NoSlack(Struct, frozen=True, kw_only=True):
    configured: bool = False


class SlackShown(Struct, frozen=True, kw_only=True):
    """Without its secret."""

    configured: bool
    webhook_url_masked: str
    notify_level: str
    last_modified: str
