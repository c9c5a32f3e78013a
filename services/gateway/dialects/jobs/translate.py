"""Their words for what they want, in ours. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET

from libs.message import Refusal, tag
from proto.auth import Style
from proto.job import BadRequest, Options, Rename, RenameJobs, Request, SubmitJobs
from proto.worker import Entry
from services.gateway.dialects.jobs import shown, wire
from services.gateway.domain import JobView

DAY_SECONDS = 24 * 3600
CLIP_SECONDS = 10 * DAY_SECONDS
LINK_SECONDS = DAY_SECONDS
LIST_DEFAULT, LIST_MOST = 20, 100
_FAR = 10**18 - 1
"""Where no list has anything any more; Postgres still counts as far."""
MISSING_KEY = "Missing x-api-key header"
BAD_KEY = "Invalid API Key"
NOT_FOUND = "Job not found"
NO_CANCEL = "Job cannot be cancelled (not in queue or already processing)"
NO_RETRY = "Only failed jobs can be retried"

BULK_MOST = 100
NO_FILE = "Job has no file to delete"
NO_BATCH = "Batch not found"

TOO_SLOW = "Metadata extraction timed out"

_MANY = re.compile(
    r"[?&]list=|/(?:playlists?|channel|c|user|shows?|album|sets|series|feed)(?:[/?.#]|$)|//(?:www\.)?(?:youtube|tiktok)\.com/@[^/?#]+(?:/(?:videos|shorts|streams))?/?$"
    r"|\.(?:rss|xml|opml)(?:[?#]|$)"
)
_RESOLUTIONS = {"best": None, "2160": 2160, "1440": 1440, "1080": 1080, "720": 720, "480": 480, "360": 360}
_VIDEO = {"mp4", "mkv", "webm", "mov"}
_AUDIO = {"m4a", "mp3", "ogg", "opus"}
_VIDEO_CODECS = {"copy", "h264", "h265", "vp9"}
_AUDIO_CODECS = {"copy", "aac", "opus", "mp3"}
_BITRATES = {"64k": 64, "128k": 128, "192k": 192, "256k": 256, "320k": 320}
_PRESETS = {"highest": 16, "high": 20, "medium": 23, "low": 28, "lowest": 35}
"""Their presets as constant rate factors; 23 is the default of the encoders."""
_PRESET = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_WORST_QUALITY = 51
_CLOCK = re.compile(r"(?:(?:(\d{1,3}):)?(\d{1,2}):)?(\d{1,6}(?:\.\d{1,3})?)")

FILTERS = {
    "pending": ("held", "queued", "admitted", "paused"),
    "processing": ("resolving", "downloading", "processing", "storing"),
    "completed": ("completed",),
    "failed": ("failed", "cancelled"),
    "cancelled": ("cancelled",),
    "warning": ("warned",),
    "skipped": ("skipped",),
}
"""Outcomes by their word for a status."""
COUNTED = {
    **FILTERS,
    "completed": ("completed", "skipped"),
    "failed": ("failed", "cancelled", "warned"),
}
LEGACY = {**FILTERS, "failed": ("failed", "cancelled", "warned", "skipped"), "warning": (), "skipped": ()}
"""As FILTERS, for who knows no status but those that jobs once had."""


class Invalid(ValueError):
    """Their text for a 400, or for another `status`."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


T = TypeVar("T")


def decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise Invalid(str(error), 422) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid("Request body is not valid JSON") from error


def options(body: wire.Shared, filename: str | None, target_id: UUID | None = None) -> Options:
    """Every field of theirs has its place here; what is not one of the values of their table is refused by name."""
    start, end = _clock("clip_start", body.clip_start), _clock("clip_end", body.clip_end)
    if start is not None and end is not None and end <= start:
        raise Invalid("clip_end must be after clip_start")
    if body.max_duration is not None and not 1 <= body.max_duration <= DAY_SECONDS:
        raise Invalid(f"max_duration must be between 1 and {DAY_SECONDS} seconds")
    awaited = bool(body.wait_for_video or body.wait_for_live)
    wanted = {
        "container": _one_of("format", body.format, _AUDIO if body.audio_only else _VIDEO),
        "video_codec": _one_of("video_codec", body.video_codec, _VIDEO_CODECS) or "copy",
        "audio_codec": _one_of("audio_codec", body.audio_codec, _AUDIO_CODECS) or "copy",
    }
    return Options(
        **wanted,  # type: ignore[arg-type]  # the sets are those of the literals
        # Their default: `mp4`, which is not worth an encoding, nor a look at a direct file.
        preferred_container=None if body.format or body.audio_only else "mp4",
        audio_only=bool(body.audio_only),
        max_height=_RESOLUTIONS[_one_of("max_resolution", body.max_resolution, _RESOLUTIONS) or "best"],
        audio_bitrate=_BITRATES.get(_one_of("audio_bitrate", body.audio_bitrate, _BITRATES) or ""),
        video_crf=_quality(body),
        preset=_preset(body.quality_preset),
        subtitles=bool(body.download_subtitles),
        thumbnail=bool(body.download_thumbnail),
        clip_start=start,
        clip_end=end,
        # They find out for themselves that a link is live; without an end it is only recorded when asked for, and
        # whoever says how or when asks for it.
        record_live=bool(body.live_recording or body.live_from_start) or body.max_duration is not None or awaited,
        live_from_start=bool(body.live_from_start),
        wait_for_live=awaited,
        max_duration=body.max_duration,
        target_id=target_id,
        webhook_url=body.webhook_url,
        progress_webhook=bool(body.enable_progress_webhook),
        filename=_filename(filename),
        directory=_folder(body.folder),
    )


def _one_of(name: str, value: str | None, allowed: Collection[str]) -> str | None:
    if value is None or value in allowed:
        return value
    raise Invalid(f"{name} must be one of {', '.join(sorted(allowed))}")


def _quality(body: wire.Shared) -> int | None:
    if body.quality_preset in _PRESETS:
        return _PRESETS[body.quality_preset]
    if body.video_quality is not None and body.video_quality > _WORST_QUALITY:
        raise Invalid(f"video_quality must be between 0 and {_WORST_QUALITY}")
    return body.video_quality


def _preset(name: str | None) -> str | None:
    """One that is not theirs may be the operator's: the job service knows."""
    if name is None or name in _PRESETS:
        return None
    if not _PRESET.fullmatch(name):
        raise Invalid(_no_preset(()))
    return name


def _no_preset(more: Sequence[str]) -> str:
    return f"quality_preset must be one of {', '.join((*sorted(_PRESETS), *more))}"


def _clock(name: str, text: str | None) -> float | None:
    """Seconds of `HH:MM:SS`, `MM:SS` or seconds."""
    if text is None:
        return None
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        raise Invalid(f"{name} must be HH:MM:SS, MM:SS or seconds")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    if (total := hours * 3600 + minutes * 60 + seconds) > CLIP_SECONDS:
        raise Invalid(f"{name} must be within ten days")
    return total


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


def command(owner: UUID, body: wire.Create, job_id: UUID, target_id: UUID | None) -> SubmitJobs:
    """`paused` is for batches alone: a lone job could not be started."""
    request = Request(job_id=job_id, url=body.url, options=options(body, body.filename, target_id))
    return SubmitJobs(owner=owner, dialect="jobs", requests=(request,))


def bulk(owner: UUID, body: wire.Bulk, make_id: Callable[[], UUID], target_id: UUID | None) -> SubmitJobs:
    if not 1 <= len(body.jobs) <= BULK_MOST:
        raise Invalid(f"jobs must have between 1 and {BULK_MOST} entries")
    return SubmitJobs(
        owner=owner,
        dialect="jobs",
        batch_id=make_id(),
        batch_folder=body.folder,
        requests=tuple(
            Request(
                job_id=make_id(), url=one.url, options=options(body, one.filename, target_id), held=bool(body.paused)
            )
            for one in body.jobs
        ),
    )


def may_be_many(url: str) -> bool:
    """Whether a link looks like a playlist, a channel, a show or a feed, so that it is worth a look before it is
    taken for one job."""
    return _MANY.search(url) is not None


def collection(
    owner: UUID, body: wire.Create, entries: Sequence[Entry], make_id: Callable[[], UUID], target_id: UUID | None
) -> SubmitJobs:
    """A job for each film behind one link, in the order of the site."""
    return SubmitJobs(
        owner=owner,
        dialect="jobs",
        batch_id=make_id(),
        batch_url=body.url,
        batch_folder=body.folder,
        requests=tuple(
            Request(job_id=make_id(), url=one.url, options=options(body, None, target_id), held=bool(body.paused))
            for one in entries
        ),
    )


def collected(
    batch_id: UUID, episodes: Sequence[shown.Episode], *, paused: bool, cached: bool = False
) -> shown.Collected:
    ids = [one.job_id for one in episodes]
    return shown.Collected(
        batch_id=str(batch_id),
        total_videos=len(ids),
        video_jobs=ids,
        total_episodes=len(ids),
        paused=paused,
        episodes=[*episodes],
        episode_jobs=ids,
        cached=cached or UNSET,
    )


def renames(owner: UUID, batch_id: UUID, body: wire.Renames) -> tuple[RenameJobs, list[str]]:
    """The command, and a text for each entry that can not even be asked for."""
    good, errors = [], []
    for one in body.renames:
        try:
            filename = _filename(one.filename)
            assert filename is not None
            good.append(Rename(job_id=UUID(one.job_id), filename=filename))
        except Invalid as error:
            errors.append(f"{one.job_id}: {error}")
        except ValueError:
            errors.append(f"{one.job_id}: Invalid job ID")
    return RenameJobs(owner=owner, batch_id=batch_id, renames=tuple(good)), errors


def again(view: JobView, owner: UUID, job_id: UUID) -> SubmitJobs:
    """Their retry is a new job that names the old one."""
    return SubmitJobs(
        owner=owner,
        dialect="jobs",
        requests=(
            Request(job_id=job_id, url=view.url, options=view.options, priority=view.priority, retry_of=view.job_id),
        ),
    )


def listing(
    limit: str | None, offset: str | None, status: str | None, *, style: Style
) -> tuple[int, int, tuple[str, ...] | None]:
    """(limit, offset, outcomes); what is no number and what is no status is as if it were not there."""
    states = (LEGACY if style == "legacy" else FILTERS).get(status.lower()) if status else None
    return min(max(_number(limit, LIST_DEFAULT), 1), LIST_MOST), max(_number(offset, 0), 0), states


def _number(text: str | None, default: int) -> int:
    if text is None or not text.isdecimal():
        return default
    return int(text) if len(text) < 19 else _FAR


STATUS_OF_REFUSAL: dict[str, int] = {
    "job.not_found": 404,
    "job.wrong_state": 400,
    "job.no_files": 400,
    "job.batch_not_found": 404,
    "job.batch_not_held": 400,
    "worker.uninspected": 400,
    "storage.target_not_found": 404,
    "storage.target_rejected": 400,
    "storage.target_unavailable": 400,
    "job.idempotency_mismatch": 409,
    "notifier.slack_not_found": 404,
    "notifier.slack_rejected": 400,
}
"""HTTP status of our refusals; any other is 400."""


def refusal(refused: Refusal) -> tuple[int, str]:
    """(HTTP status, text)."""
    if isinstance(refused, BadRequest) and refused.code == "unknown_preset":
        return 400, _no_preset(refused.choices)
    return STATUS_OF_REFUSAL.get(tag(refused), 400), refused.message
