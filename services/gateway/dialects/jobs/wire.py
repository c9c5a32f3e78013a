"""Their spelling of what they ask."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field
from msgspec.structs import fields, force_setattr

from libs.message import repr_without
from services.gateway.dialects.jobs.credentials import Inline

Link = Annotated[str, Meta(extra_json_schema={"format": "uri"})]
Id = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
Flag = bool | None
"""Libraries send null for what their user left out."""
Clock = Annotated[str, Meta(description="HH:MM:SS, MM:SS or seconds")]


def _among(*values: str) -> Meta:
    """For the document: another value is refused by name, after what is not of the right type."""
    return Meta(extra_json_schema={"enum": list(values)})


_PRESET = Meta(description="highest, high, medium, low, lowest, or a preset of the operator")


class Shared(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one link and many have in common."""

    format: Annotated[str, _among("mp4", "mkv", "webm", "mov", "m4a", "mp3", "ogg", "opus")] | None = None
    audio_only: Flag = False
    max_resolution: Annotated[str, _among("best", "2160", "1440", "1080", "720", "480", "360")] | None = None
    folder: str | None = None
    webhook_url: Link | None = None
    video_codec: Annotated[str, _among("copy", "h264", "h265", "vp9")] | None = None
    audio_codec: Annotated[str, _among("copy", "aac", "opus", "mp3")] | None = None
    audio_bitrate: Annotated[str, _among("64k", "128k", "192k", "256k", "320k")] | None = None
    video_quality: Annotated[int, Meta(ge=0, le=255)] | None = None
    quality_preset: Annotated[str, _PRESET] | None = None
    download_subtitles: Flag = False
    download_thumbnail: Flag = False
    clip_start: Clock | None = None
    clip_end: Clock | None = None
    live_recording: Flag = False
    live_from_start: Flag = False
    wait_for_video: Flag = False
    wait_for_live: Flag = False
    """The same, as the workflow node calls it."""
    max_duration: int | None = None
    enable_progress_webhook: Flag = False
    storage: Inline | None = None
    paused: Flag = False

    def __post_init__(self) -> None:
        """The same request whether an option is null, false or not there: it may come again under one key."""
        for one in _FLAGS:
            if getattr(self, one) is None:
                force_setattr(self, one, False)


_FLAGS = tuple(one.name for one in fields(Shared) if one.default is False)


class Create(Shared, frozen=True, kw_only=True):
    url: Link
    filename: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _trim(self)


def _trim(asked: Create | Look | BulkItem) -> None:
    """What comes out of a spreadsheet or a template often has a space or a line's end about it."""
    force_setattr(asked, "url", asked.url.strip())


class Slack(Struct, frozen=True, kw_only=True):
    webhook_url: Annotated[str, Meta(max_length=500)]
    """Below https://hooks.slack.com/services/."""
    notify_level: Literal["all", "errors_only", "warnings_only"] = "all"

    def __repr__(self) -> str:
        return repr_without(self, "webhook_url")


class Look(Struct, frozen=True, kw_only=True):
    url: Link

    def __post_init__(self) -> None:
        _trim(self)


class BulkItem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    url: Link
    filename: str | None = None

    def __post_init__(self) -> None:
        _trim(self)


class Bulk(Shared, frozen=True, kw_only=True):
    jobs: list[BulkItem]


class Rename(Struct, frozen=True, kw_only=True):
    job_id: str
    filename: str


class Renames(Struct, frozen=True, kw_only=True):
    renames: list[Rename]


class Page(Struct, frozen=True, kw_only=True):
    """In the query. What is no number and what is no status is as if it were not there."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    offset: Annotated[int, Meta(ge=0)] = 0
    status: Literal["pending", "processing", "completed", "failed", "cancelled", "warning", "skipped"] | UnsetType = (
        UNSET
    )


class Latest(Struct, frozen=True, kw_only=True):
    """In the query."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 50


class LatestPage(Page, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=100)] = 50


class Repeatable(Struct, frozen=True, kw_only=True):
    """In the headers. A request that is repeated with its key is answered as the first was, for 24 hours."""

    key: Annotated[str, Meta(min_length=1, max_length=255)] | UnsetType = field(name="x-idempotency-key", default=UNSET)


class OneJob(Struct, frozen=True, kw_only=True):
    job_id: Id


class OneBatch(Struct, frozen=True, kw_only=True):
    batch_id: Id
