"""What webhooks say and how they are signed."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proto.job import Failure, JobCompleted, JobFailed, JobStageEntered, Stage
from services.notifier import domain
from services.notifier.domain import Hook

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
JOB, OWNER = UUID(int=1), UUID(int=2)


def test_the_signature_is_the_one_that_receivers_compute():
    # printf '1795176000.{"a":1}' | openssl dgst -sha256 -hmac whsec_test
    mac = "f979659ee977d3cd58157f66145dda5d434b0558143f0c801fbfa3b65c9a537d"

    assert domain.signature("whsec_test", b'{"a":1}', AT) == f"t=1795176000,v1={mac}"


def test_a_signature_is_of_its_moment_its_body_and_its_secret():
    known = domain.signature("s", b"body", AT)

    assert known == domain.signature("s", b"body", AT)
    assert (
        len(
            {
                known,
                domain.signature("t", b"body", AT),
                domain.signature("s", b"Body", AT),
                domain.signature("s", b"body", AT.replace(second=1)),
            }
        )
        == 4
    )


@pytest.mark.parametrize("folder", [None, "a/b"])
def test_a_completed_job_has_the_fields_of_both_editions(folder: str | None):
    event = JobCompleted(
        job_id=JOB, owner=OWNER, attempt=1, engine="http", items_done=2, items_skipped=0, items_failed=0, size=70,
        at=AT, title="a title", description="what it is about", release_date="2026-01-31",
    )  # fmt: skip

    assert json.loads(domain.body(event, Hook("https://example.com/a", folder, "a.bin"))) == {
        "type": "job_completed",
        "status": "completed",
        "job_id": str(JOB),
        "url": "https://example.com/a",
        "folder": folder,
        "title": "a title",
        "description": "what it is about",
        "release_date": "2026-01-31",
        "key": "a.bin",
        "s3_key": "a.bin",
        "subtitle_key": None,
        "s3_url": None,
        "file_size_bytes": 70,
        "items": 2,
    }


def test_a_failed_job_says_why():
    failure = Failure(kind="permanent", code="gone", message="there is nothing behind this link")
    event = JobFailed(job_id=JOB, owner=OWNER, attempt=1, failure=failure, at=AT)

    assert json.loads(domain.body(event, Hook("https://example.com/a", None, None))) == {
        "type": "job_failed",
        "status": "failed",
        "job_id": str(JOB),
        "url": "https://example.com/a",
        "folder": None,
        "error": "there is nothing behind this link",
        "error_code": "gone",
    }


def test_a_receiver_is_tried_six_times_within_an_hour_and_a_half():
    assert len(domain.DELAYS) + 1 == 6
    assert 3600 < sum(delay.total_seconds() for delay in domain.DELAYS) < 5400
    assert list(domain.DELAYS) == sorted(domain.DELAYS)


@given(secret=st.text(st.characters(exclude_categories=["Cs"]), max_size=80), raw=st.binary(max_size=400))
def test_a_receiver_that_follows_the_recipe_comes_to_the_same_signature(secret: str, raw: bytes):
    """HMAC-SHA256 with the secret over `<t>.<raw body>`, whatever the two hold."""
    stamp, mac = (one.partition("=")[2] for one in domain.signature(secret, raw, AT).split(","))

    assert stamp == "1795176000"
    assert mac == hmac.new(secret.encode(), b"1795176000." + raw, hashlib.sha256).hexdigest()


def test_a_moment_is_signed_in_whole_seconds_and_the_same_in_every_time_zone():
    known = domain.signature("s", b"body", AT)

    assert domain.signature("s", b"body", AT + timedelta(microseconds=999_999)) == known
    assert domain.signature("s", b"body", AT.astimezone(timezone(timedelta(hours=8)))) == known


def test_the_further_tries_come_after_5_s_30_s_3_min_15_min_and_an_hour():
    assert [delay.total_seconds() for delay in domain.DELAYS] == [5, 30, 180, 900, 3600]


def test_a_completed_job_that_stored_nothing_names_no_file():
    event = JobCompleted(
        job_id=JOB, owner=OWNER, attempt=1, engine="gallerydl", items_done=0, items_skipped=3, items_failed=0, size=0,
        at=AT,
    )  # fmt: skip
    told = json.loads(domain.body(event, Hook("https://example.com/a", None, None)))

    assert (told["key"], told["s3_key"], told["title"]) == (None, None, None)
    assert (told["items"], told["file_size_bytes"]) == (0, 0)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_a_body_is_json_whatever_the_title_and_the_names_are(text: str):
    event = JobCompleted(
        job_id=JOB, owner=OWNER, attempt=1, engine="http", items_done=1, items_skipped=0, items_failed=0, size=1,
        at=AT, title=text,
    )  # fmt: skip
    told = json.loads(domain.body(event, Hook("https://example.com/a", text, text)))

    assert (told["title"], told["folder"], told["key"]) == (text, text, text)


COMPLETED = JobCompleted(
    job_id=JOB, owner=OWNER, attempt=1, engine="http", items_done=1, items_skipped=0, items_failed=0, size=7, at=AT
)
GONE = JobFailed(
    job_id=JOB, owner=OWNER, attempt=1, failure=Failure(kind="content", code="gone", message="it is gone"), at=AT
)


def test_older_receivers_hear_every_end_under_one_type():
    hook = Hook("https://example.com/a", None, "a.bin", False, "legacy")
    done, gone = (json.loads(domain.body(event, hook)) for event in (COMPLETED, GONE))

    assert (done["type"], done["status"], done["s3_key"]) == ("job_completed", "Completed", "a.bin")
    assert (gone["type"], gone["status"], gone["error_type"]) == ("job_completed", "Failed", "warning")


def test_a_job_that_brought_nothing_new_is_told_as_skipped_with_the_reason():
    told = json.loads(domain.body(replace(COMPLETED, items_done=0, size=0), Hook("https://example.com/a", None, None)))

    assert (told["type"], told["status"], told["reason"]) == ("job_skipped", "skipped", "nothing new behind this link")


def entered(stage: Stage) -> JobStageEntered:
    return JobStageEntered(job_id=JOB, owner=OWNER, attempt=1, stage=stage, at=AT)


@pytest.mark.parametrize(
    ("events", "told"),
    [
        (
            [entered("resolving"), entered("downloading"), entered("processing"), entered("storing"), COMPLETED],
            "downloading 0, download_complete 33, muxing 33, mux_complete 66, uploading 66, completed 100",
        ),
        (
            [entered("downloading"), entered("storing"), entered("storing"), COMPLETED],
            "downloading 0, download_complete 33, uploading 66, completed 100",
        ),
        ([entered("downloading"), COMPLETED], "downloading 0, download_complete 33, completed 100"),
        (
            [entered("downloading"), entered("processing"), entered("resolving"), entered("downloading")],
            "downloading 0, download_complete 33, muxing 33, downloading 0",
        ),
        ([COMPLETED], "completed 100"),
    ],
    ids=["all", "nothing to make", "several", "again", "at once"],
)
def test_progress_tells_when_a_stage_begins_and_when_it_is_over(
    events: list[JobStageEntered | JobCompleted], told: str
):
    before, bodies = None, []
    for event in events:
        bodies += [json.loads(one) for one in domain.progress_bodies(event, before)]
        before = event.stage if isinstance(event, JobStageEntered) else "completed"

    assert ", ".join(f"{one['stage']} {one['progress_percent']}" for one in bodies) == told


@pytest.mark.parametrize("event", [COMPLETED, GONE])
def test_a_job_of_a_batch_names_it(event: JobCompleted | JobFailed):
    hook, batch = Hook("https://example.com/a", None, "a.bin"), UUID(int=3)

    assert json.loads(domain.body(replace(event, batch_id=batch), hook))["batch_id"] == str(batch)
    assert "batch_id" not in json.loads(domain.body(event, hook))
