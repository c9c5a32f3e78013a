"""Their spelling."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct


class Create(Struct, frozen=True, kw_only=True):
    url: str
    format: str | None = None
    audio_only: bool = False
    max_resolution: str | None = None
    filename: str | None = None
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
