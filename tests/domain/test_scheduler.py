"""When schedules are due and what they are called."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proto.scheduler import BadCron, ChangeSchedule, CreateSchedule, ScheduleChanged, ScheduleCreated
from services.scheduler import domain
from tests.support.sure import being

OWNER = UUID(int=9)
HIS: dict[str, Any] = {"owner": OWNER, "schedule_id": UUID(int=1)}
AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "due"),
    [
        ("0 3 * * *", datetime(2026, 11, 21, 3, 0, tzinfo=UTC)),
        ("*/15 * * * *", datetime(2026, 11, 20, 12, 15, tzinfo=UTC)),
        ("0 12 * * *", datetime(2026, 11, 21, 12, 0, tzinfo=UTC)),
        ("0 0 29 2 *", datetime(2028, 2, 29, 0, 0, tzinfo=UTC)),
        ("30 9 * * MON", datetime(2026, 11, 23, 9, 30, tzinfo=UTC)),
    ],
)
def test_the_next_run_comes_after_now_never_at_it(cron: str, due: datetime):
    assert domain.check_cron(cron, AT) is None
    assert domain.next_run(cron, AT) == due


@pytest.mark.parametrize("cron", ["", "* * * *", "60 * * * *", "* * * * * *", "@daily", "a b c d e", "0 0 31 2 *"])
def test_what_is_no_cron_or_never_comes_due_is_refused(cron: str):
    assert domain.check_cron(cron, AT) is not None


@pytest.mark.parametrize(
    ("name", "taken", "slug"),
    [
        ("Every Night!", set(), "every-night"),
        ("Ça & là", set(), "ca-la"),
        ("漢字", set(), "schedule"),
        ("a", {"a"}, "a-2"),
        ("a", {"a", "a-2", "a-3"}, "a-4"),
        ("x" * 200, set(), "x" * 80),
    ],
)
def test_a_schedule_is_called_after_its_name_and_unlike_any_other(name: str, taken: set[str], slug: str):
    assert domain.slug(name, frozenset(taken)) == slug


def created(**fields: Any) -> domain.Schedule:
    known: dict[str, Any] = {
        "owner": OWNER,
        "schedule_id": UUID(int=1),
        "name": "Nightly",
        "cron": "0 3 * * *",
        "url": "http://a.test/",
    }
    return domain.created(being(ScheduleCreated, domain.create(CreateSchedule(**{**known, **fields}), frozenset(), AT)))


def test_one_run_has_one_job_however_often_the_clock_fires_for_it():
    one, other = created(), created(schedule_id=UUID(int=2))
    first, again = domain.fire(one, AT, AT), domain.fire(one, AT, AT + timedelta(seconds=9))

    assert first.job_id == again.job_id
    assert first.job_id not in {domain.fire(other, AT, AT).job_id, domain.fire(one, AT.replace(hour=13), AT).job_id}


def test_a_schedule_that_is_off_is_never_due_and_one_that_is_turned_on_again_comes_when_it_says():
    off = created(enabled=False)
    event = being(ScheduleChanged, domain.change(off, ChangeSchedule(**HIS, enabled=True), AT))

    assert off.next_run is None
    assert domain.changed(off, event).next_run == datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


def test_a_change_leaves_what_it_does_not_name():
    one = created()
    event = being(ScheduleChanged, domain.change(one, ChangeSchedule(**HIS, name="Weekly"), AT))

    assert domain.changed(one, event) == replace(one, name="Weekly")


def test_a_schedule_is_not_changed_to_what_never_comes_due():
    assert isinstance(domain.change(created(), ChangeSchedule(**HIS, cron="0 0 31 2 *"), AT), BadCron)


def runs(cron: str, count: int) -> list[str]:
    found = [AT]
    for _ in range(count):
        found.append(domain.next_run(cron, found[-1]))
    return [one.strftime("%m-%d %H:%M") for one in found[1:]]


@pytest.mark.parametrize(
    ("cron", "following"),
    [
        ("0 0 13 * FRI", ["11-27 00:00", "12-04 00:00", "12-11 00:00", "12-13 00:00"]),
        ("0 0 31 * *", ["12-31 00:00", "01-31 00:00", "03-31 00:00"]),
        ("0 6 * * 0", ["11-22 06:00", "11-29 06:00"]),
        ("0 6 * * 7", ["11-22 06:00", "11-29 06:00"]),
        ("59 23 31 12 *", ["12-31 23:59", "12-31 23:59"]),
        ("0-2 12 20 11 *", ["11-20 12:01", "11-20 12:02", "11-20 12:00"]),
    ],
)
def test_runs_follow_one_another_as_cron_has_it(cron: str, following: list[str]):
    """A day of the month and a day of the week together mean either; Sunday is 0 and 7."""
    assert runs(cron, len(following)) == following


@pytest.mark.parametrize("after", [AT + timedelta(seconds=30), AT + timedelta(microseconds=1)])
def test_a_run_is_due_on_the_minute(after: datetime):
    assert domain.next_run("* * * * *", after) == datetime(2026, 11, 20, 12, 1, tzinfo=UTC)


def test_what_was_missed_is_not_made_up_one_by_one():
    assert domain.next_run("*/5 * * * *", AT + timedelta(days=3, minutes=2)) == AT + timedelta(days=3, minutes=5)


@pytest.mark.parametrize(
    ("cron", "words"),
    [("* * * *", "five fields"), ("60 * * * *", "minute"), ("* 24 * * *", "hour"), ("0 0 31 2 *", "day-of-month")],
)
def test_who_wrote_no_cron_is_told_what_is_wrong_with_it(cron: str, words: str):
    refused = domain.check_cron(cron, AT)

    assert refused is not None
    assert words in refused.message


FIELD = st.text("0123456789*/,-#?LWMONmon²٣", min_size=1, max_size=5)


@given(st.one_of(st.text(max_size=120), st.lists(FIELD, min_size=5, max_size=5).map(" ".join)))
def test_any_text_is_either_refused_or_has_a_next_run(cron: str):
    if domain.check_cron(cron, AT) is None:
        assert domain.next_run(cron, AT) > AT


@given(name=st.text(max_size=200), names=st.lists(st.text(max_size=3), max_size=20))
def test_any_name_gives_an_address_that_needs_no_escape_and_is_free(name: str, names: list[str]):
    taken: set[str] = set()
    for one in (*names, *names, name, name):
        slug = domain.slug(one, frozenset(taken))
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,89}", slug)
        assert slug not in taken
        taken.add(slug)


def test_a_slug_that_is_cut_between_two_words_does_not_end_in_a_dash():
    assert domain.slug("x" * 79 + " night", frozenset()) == "x" * 79
