"""Their spelling."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType


class Shared(Struct, frozen=True, kw_only=True):
    """What one link and many have in common."""

    format: str | None = None
    audio_only: bool = False
    max_resolution: str | None = None
    folder: str | None = None
    webhook_url: str | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    audio_bitrate: str | None = None
    video_quality: Annotated[int, Meta(ge=0, le=255)] | None = None
    quality_preset: str | None = None
    download_subtitles: bool = False
    download_thumbnail: bool = False
    clip_start: str | None = None
    clip_end: str | None = None
    live_recording: bool = False
    live_from_start: bool = False
    wait_for_video: bool = False
    max_duration: int | None = None
    enable_progress_webhook: bool = False
    storage: dict[str, Any] | None = None
    paused: bool = False


class Create(Shared, frozen=True, kw_only=True):
    url: str
    filename: str | None = None


class Look(Struct, frozen=True, kw_only=True):
    url: str


class BulkItem(Struct, frozen=True, kw_only=True):
    url: str
    filename: str | None = None


class Bulk(Shared, frozen=True, kw_only=True):
    jobs: list[BulkItem]


class Rename(Struct, frozen=True, kw_only=True):
    job_id: str
    filename: str


class Renames(Struct, frozen=True, kw_only=True):
    renames: list[Rename]


class Job(Struct, frozen=True, kw_only=True):
    """Always-present fields first; the others are null when unknown."""

    id: str
    url: str
    status: str
    step: str
    s3_url: str | None = None
    subtitle_url: str | None = None
    error: str | None = None
    error_type: str | None = None
    title: str | None = None
    folder: str | None = None
    filename: str | None = None
    batch_id: str | None = None
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
    audio_only: bool | None = None
    created_at: int | None = None
    """Epoch milliseconds."""
    finished_at: int | None = None
    s3_bucket: str | UnsetType = UNSET
    thumbnail_url: str | UnsetType = UNSET
    waiting_for: str | UnsetType = UNSET
    """Ours: why it is not begun, and until when at the least (epoch milliseconds)."""
    waiting_until: int | UnsetType = UNSET
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
    # How telling the webhook went; absent while nothing was told.
    webhook_status: str | UnsetType = UNSET
    webhook_attempts: int | UnsetType = UNSET
    webhook_last_error: str | UnsetType | None = UNSET
    webhook_response_time_ms: int | UnsetType = UNSET


class Batch(Struct, frozen=True, kw_only=True):
    id: str
    show_url: str
    status: str
    folder: str | None
    total_episodes: int
    completed_episodes: int
    failed_episodes: int
    skipped_episodes: int
    episode_jobs: list[str]


class Usage(Struct, frozen=True, kw_only=True):
    client_name: str
    usage_count: int
    storage_usage_gb: float
    """Of 2^30 bytes; what was ever stored, deleted or not."""
    storage_reserved_gb: float
    storage_effective_usage_gb: float
    billing_period_start: str
    billing_period_end: str
    current_period_usage_gb: float


class Stats(Struct, frozen=True, kw_only=True):
    total_jobs: int
    pending_jobs: int
    processing_jobs: int
    completed_jobs: int
    failed_jobs: int
    storage_used_gb: float
    avg_processing_time_seconds: float


class Row(Struct, frozen=True, kw_only=True):
    id: str
    url: str
    status: str
    error: str | None
    s3_key: str | None
    created_at: int | None


class Day(Struct, frozen=True, kw_only=True):
    date: str
    completed: int
    failed: int


class Cluster(Struct, frozen=True, kw_only=True):
    total_downloading: int
    total_muxing: int
    total_uploading: int
