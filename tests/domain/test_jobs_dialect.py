"""Options of the jobs API and what becomes of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from msgspec.structs import asdict

from libs.message import new_id
from proto.auth import Limits
from proto.job import JobSubmitted, Options, Usage
from proto.worker import LinkInfo
from services.gateway.dialects.jobs import answers, credentials, translate, wire
from services.gateway.dialects.jobs.translate import Invalid
from services.gateway.domain import BatchView, DayView, opened

URL = "https://example.com/v"
AT = datetime(2026, 11, 8, 10, tzinfo=UTC)

MAPPED = [
    ({}, {}),
    ({"format": "mkv"}, {"container": "mkv"}),
    ({"audio_only": True, "format": "mp3"}, {"audio_only": True, "container": "mp3"}),
    ({"video_codec": "h265", "video_quality": 30}, {"video_codec": "h265", "video_crf": 30}),
    ({"video_codec": "h264", "quality_preset": "low", "video_quality": 1}, {"video_codec": "h264", "video_crf": 28}),
    ({"quality_preset": "podcast", "video_quality": 30}, {"preset": "podcast", "video_crf": 30}),
    ({"audio_codec": "opus", "audio_bitrate": "128k"}, {"audio_codec": "opus", "audio_bitrate": 128}),
    ({"max_resolution": "720"}, {"max_height": 720}),
    ({"max_resolution": "best"}, {}),
    ({"clip_start": "1:02:03", "clip_end": "1:02:03.5"}, {"clip_start": 3723.0, "clip_end": 3723.5}),
    ({"clip_start": "02:03"}, {"clip_start": 123.0}),
    ({"clip_end": "90"}, {"clip_end": 90.0}),
    ({"download_subtitles": True, "download_thumbnail": True}, {"subtitles": True, "thumbnail": True}),
    ({"live_recording": True, "live_from_start": True}, {"record_live": True, "live_from_start": True}),
    ({"max_duration": 60, "wait_for_video": True}, {"record_live": True, "max_duration": 60, "wait_for_live": True}),
    ({"wait_for_video": True}, {"record_live": True, "wait_for_live": True}),
    ({"wait_for_live": True}, {"record_live": True, "wait_for_live": True}),
    ({"live_from_start": True}, {"record_live": True, "live_from_start": True}),
    ({"folder": "a/b"}, {"directory": ("a", "b")}),
    (
        {"webhook_url": "https://example.com/h", "enable_progress_webhook": True},
        {"webhook_url": "https://example.com/h", "progress_webhook": True},
    ),
]


@pytest.mark.parametrize(("given", "changed"), MAPPED, ids=range(len(MAPPED)))
def test_every_option_of_theirs_is_one_of_ours(given: dict, changed: dict):
    chosen = translate.options(wire.Create(url=URL, **given), None)

    preferred = None if {"format", "audio_only"} & given.keys() else "mp4"
    assert asdict(chosen) == {**asdict(Options()), "preferred_container": preferred, **changed}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"folder_name": "films"}, {"base_folder": "films"}),
        ({"folder_name": "films", "base_folder": "shows"}, {"base_folder": "shows"}),
        ({}, {}),
    ],
)
def test_the_folder_of_a_storage_may_have_the_workflow_nodes_name(given: dict, kept: dict):
    place = {"endpoint": "https://s3.example.com", "bucket": "b", "region": "r", "access_key": "a", "secret_key": "s"}

    assert credentials.told(msgspec.convert({**place, **given}, credentials.S3)) == {**place, **kept}


def test_an_option_that_is_null_is_one_that_was_left_out():
    left_out = {one.name: None for one in msgspec.structs.fields(wire.Create) if one.name != "url"}
    asked = translate.decode(msgspec.json.encode({"url": URL, **left_out}), wire.Create)

    assert asked == wire.Create(url=URL)


@pytest.mark.parametrize("kind", [wire.Create, wire.BulkItem, wire.Look])
def test_the_space_about_a_link_is_none_of_it(kind: type[wire.Create | wire.BulkItem | wire.Look]):
    assert msgspec.json.decode(f'{{"url": " {URL}\\n"}}', type=kind).url == URL


REFUSED = [
    ({"format": "avi"}, "format must be one of"),
    ({"format": "mp3"}, "format must be one of mkv, mov, mp4, webm"),
    ({"audio_only": True, "format": "mp4"}, "format must be one of m4a, mp3, ogg, opus"),
    ({"video_codec": "av1"}, "video_codec must be one of"),
    ({"audio_bitrate": "1k"}, "audio_bitrate must be one of"),
    ({"video_quality": 52}, "between 0 and 51"),
    ({"quality_preset": "No such!"}, "quality_preset must be one of"),
    ({"max_resolution": "8k"}, "max_resolution must be one of"),
    ({"clip_start": "1:2:3:4"}, "HH:MM:SS"),
    ({"clip_start": "-5"}, "HH:MM:SS"),
    ({"clip_start": "10", "clip_end": "10"}, "clip_end must be after clip_start"),
    ({"max_duration": 0}, "max_duration"),
    ({"folder": "../up"}, "Invalid folder name"),
]


@pytest.mark.parametrize(("given", "text"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_not_in_their_table_is_refused_by_name(given: dict, text: str):
    with pytest.raises(Invalid, match=text):
        translate.options(wire.Create(url=URL, **given), None)


def test_every_link_of_a_batch_is_a_job_of_its_own_with_what_all_have_in_common():
    body = wire.Bulk(jobs=[wire.BulkItem(url=URL), wire.BulkItem(url=URL, filename="two")], paused=True)
    command = translate.bulk(UUID(int=1), body, new_id, None)

    assert len({command.batch_id, *(request.job_id for request in command.requests)}) == 3
    assert [(request.held, request.options.filename) for request in command.requests] == [(True, None), (True, "two")]


@pytest.mark.parametrize(
    ("url", "many"),
    [
        ("https://www.youtube.com/playlist?list=PL1", True),
        ("https://www.youtube.com/@someone/videos", True),
        ("https://open.spotify.com/show/abc", True),
        ("https://example.com/feed.rss", True),
        ("https://www.youtube.com/watch?v=abc", False),
        ("https://mastodon.example/@someone", False),
        ("https://example.com/channels.zip", False),
        ("https://example.com/film.mp4", False),
    ],
)
def test_only_a_link_that_looks_like_many_films_is_looked_at_before_it_is_taken(url: str, many: bool):
    assert translate.may_be_many(url) is many


@pytest.mark.parametrize(
    ("states", "counted"),
    [
        ({"completed": 2, "skipped": 2}, ("completed", 2, 0, 2)),
        ({"completed": 1, "failed": 1, "warned": 1, "cancelled": 1}, ("finished", 1, 3, 0)),
        ({"completed": 3, "storing": 1}, ("processing", 3, 0, 0)),
    ],
)
def test_a_batch_is_over_when_each_of_its_jobs_is_however_it_ended(states: dict[str, int], counted: tuple):
    view = BatchView(
        batch_id=new_id(), url=URL, folder=None, size=4, held=False, submitted_at=AT, job_ids=(), states=states
    )
    told = answers.batch(view)

    assert (told.status, told.completed_episodes, told.failed_episodes, told.skipped_episodes) == counted


def test_a_month_begins_with_its_first_day_and_a_week_ends_today():
    days = [day(1, completed=1, size=2**30), day(7, failed=1), day(8, completed=2, size=2**31)]
    taken = Usage(limits=Limits(storage=2**30), kept=2**31, reserved=0)
    usage = answers.usage("ada", days, taken, AT.date())
    week = answers.daily(days, AT.date())

    assert (usage.current_period_usage_gb, usage.storage_remaining_gb) == (3.0, 0)
    assert (usage.billing_period_start, usage.billing_period_end) == ("2026-11-01", "2026-12-01")
    assert [(one.date[-2:], one.completed, one.failed) for one in week] == [
        ("02", 0, 0), ("03", 0, 0), ("04", 0, 0), ("05", 0, 0), ("06", 0, 0), ("07", 0, 1), ("08", 2, 0),
    ]  # fmt: skip


def test_who_has_completed_nothing_has_taken_no_time():
    assert answers.stats({}, [day(1)]).avg_processing_time_seconds == 0


def day(number: int, *, completed: int = 0, failed: int = 0, size: int = 0) -> DayView:
    return DayView(
        day=AT.date().replace(day=number), submitted=1, completed=completed, failed=failed, bytes=size, seconds=0
    )


@pytest.mark.parametrize(
    ("seconds", "size", "short"), [(180, (9, 16), True), (181, (9, 16), False), (9, (9, 9), False)]
)
def test_an_upright_film_of_three_minutes_is_a_short(seconds: int, size: tuple[int, int], short: bool):
    width, height = size

    assert answers.shortness(LinkInfo(width=width, height=height, duration=seconds)).is_short == short


def test_a_job_says_how_the_latest_try_to_tell_its_webhook_went_in_whatever_order_they_come():
    submitted = JobSubmitted(
        job_id=new_id(), number=1, owner=new_id(), dialect="jobs", url=URL, options=Options(), priority=5, held=False,
        at=AT,
    )  # fmt: skip
    job = answers.job(opened(submitted), answers.Links(), "current")
    first: dict[str, Any] = {
        "at": "2026-11-08T10:00:00Z",
        "outcome": "failed",
        "error": "it answered 500",
        "elapsed_ms": 5,
    }
    second: dict[str, Any] = {"at": "2026-11-08T10:00:05Z", "outcome": "delivered", "error": None, "elapsed_ms": 7}
    told = [answers.told(job, attempts) for attempts in ([first, second], [second, first])]

    assert [(one.webhook_status, one.webhook_attempts, one.webhook_last_error) for one in told] == [
        ("delivered", 2, None)
    ] * 2
