"""What the notifier remembers of a job whose end somebody wants to hear of."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from libs.eventstore.projection import Applied
from libs.feed import Delivered
from libs.message import Event, Position, new_id
from proto.job import JobCompleted, JobItemCompleted, JobStageEntered, JobWebhookRequested, StoredItem
from services.notifier import views
from services.notifier.handlers import note

AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("there", [None, "shows/film.mp4"])
async def test_the_key_is_of_the_film_and_not_of_what_goes_with_it(installation, there: str | None) -> None:
    """Of several films what goes with one is stored before it; in a storage of the user's own the key is the whole."""
    about: dict[str, Any] = {"job_id": new_id(), "owner": new_id(), "at": AT}
    names = {"v 1 metadata": "film.json", "v 1 subtitle en": "film.en.srt", "v 1": "film.mp4", "v 2": "other.mp4"}
    events: list[Event] = [
        JobWebhookRequested(folder=None, url="https://example.org/hook", link="https://video.test/", **about)
    ]
    for key, name in names.items():
        place = {"object_key": f"shows/{name}", "provider": "s3", "bucket": "b"} if there else {}
        item = StoredItem(file_id=new_id(), key=key, name=name, size=1, sha256="0" * 64, **place)
        events.append(JobItemCompleted(attempt=1, item=item, **about))
    events.append(
        JobCompleted(attempt=1, engine="ytdlp", items_done=2, items_skipped=0, items_failed=0, size=4, **about)
    )
    pool = await installation.pool("notifier")
    async with pool.acquire() as conn, conn.transaction():
        await note(conn, [Applied(one, delivered(n)) for n, one in enumerate(events)], AT, lambda *_: "a link")
        body = await conn.fetchval("select body from notifier.deliveries where job_id = $1", about["job_id"])
    told = json.loads(body)

    assert told["key"] == told["s3_key"] == (there or "film.mp4")
    assert told["subtitle_key"] == ("shows/film.en.srt" if there else "film.en.srt")
    assert told["s3_url"] == (None if there else "a link")


async def test_how_telling_went_is_said_of_the_end_and_not_of_what_was_told_on_the_way(installation) -> None:
    about: dict[str, Any] = {"job_id": new_id(), "owner": new_id(), "at": AT}
    events: list[Event] = [
        JobWebhookRequested(
            folder=None, url="https://example.org/h", link="https://video.test/", progress=True, **about
        ),
        JobStageEntered(attempt=1, stage="downloading", **about),
        JobStageEntered(attempt=1, stage="storing", **about),
        JobCompleted(attempt=1, engine="http", items_done=1, items_skipped=0, items_failed=0, size=4, **about),
    ]
    pool = await installation.pool("notifier")
    async with pool.acquire() as conn, conn.transaction():
        await note(conn, [Applied(one, delivered(n)) for n, one in enumerate(events)], AT, lambda *_: "a link")
        rows = await conn.fetch(
            "select delivery_id, body from notifier.deliveries where job_id = $1 order by due_at", about["job_id"]
        )
        of_the_end = await views.deliveries_of(conn, about["job_id"], about["owner"])
    told = [json.loads(row["body"]) for row in rows]

    stages = ["downloading", "download_complete", "uploading", "completed"]
    assert [one.get("stage", one["type"]) for one in told] == [*stages, "job_completed"]
    assert of_the_end == [rows[-1]["delivery_id"]]


def delivered(number: int) -> Delivered:
    return Delivered(
        sequence=number, position=Position(1, number), event_type="", schema_version=1, stream_id=new_id(),
        version=number, recorded_at=AT, headers={}, body=b"",
    )  # fmt: skip
