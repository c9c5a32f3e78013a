"""When schedules are due and what they are called."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.scheduler import domain

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


def test_one_run_has_one_job_however_often_the_clock_fires_for_it():
    one, other = UUID(int=1), UUID(int=2)

    assert domain.run_id(one, AT) == domain.run_id(one, AT)
    assert len({domain.run_id(one, AT), domain.run_id(other, AT), domain.run_id(one, AT.replace(hour=13))}) == 3
