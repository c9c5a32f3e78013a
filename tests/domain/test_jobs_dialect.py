"""Options of the jobs API and what becomes of them."""

from __future__ import annotations

from uuid import UUID

import msgspec
import pytest
from msgspec.structs import asdict

from libs.message import new_id
from proto.job import Options
from services.gateway.dialects.jobs import credentials, translate, wire
from services.gateway.dialects.jobs.translate import Invalid

URL = "https://example.com/v"

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

    assert translate.options(asked, None) == translate.options(wire.Create(url=URL), None)


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
