"""What the gateway shows of a job, from its events."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from proto import job as p
from services.gateway import domain
from services.gateway.dialects.jobs import answers
from services.gateway.dialects.jobs.answers import Links

JOB, OWNER, AT = UUID(int=1), UUID(int=2), datetime(2026, 1, 1, tzinfo=UTC)


def test_of_many_files_the_first_are_shown_and_all_are_counted():
    """With what goes with them, which is no item; and what is given up is gone, but was done."""
    view = domain.opened(
        p.JobSubmitted(
            job_id=JOB, number=1, owner=OWNER, dialect="jobs", url="https://don.test/@many", options=p.Options(),
            priority=5, held=False, at=AT,
        )
    )  # fmt: skip
    for number in range(300):
        key = f"{number // 2} metadata" if number % 2 else str(number // 2)
        item = p.StoredItem(file_id=UUID(int=number), key=key, name=f"{key}.png", size=10, sha256="0" * 64)
        view = domain.evolve(view, p.JobItemCompleted(job_id=JOB, owner=OWNER, attempt=1, item=item, at=AT))
    given_up = domain.evolve(view, p.JobFilesDeleted(job_id=JOB, owner=OWNER, file_ids=(), at=AT))

    assert (len(view.items), view.items_done, view.size) == (domain.SHOWN, 150, 3000)
    assert view.main is not None
    assert view.main.key == "0"
    assert (given_up.items, given_up.items_done, given_up.size) == ((), 150, 0)


def test_what_a_site_says_of_a_film_is_shown_and_a_later_stage_takes_nothing_away():
    view = domain.opened(
        p.JobSubmitted(
            job_id=JOB, number=1, owner=OWNER, dialect="jobs", url="https://video.test/1", options=p.Options(),
            priority=5, held=False, at=AT,
        )
    )  # fmt: skip
    stage: dict[str, Any] = {"job_id": JOB, "owner": OWNER, "attempt": 1, "at": AT}
    view = domain.evolve(
        view, p.JobStageEntered(**stage, stage="downloading", description="about", release_date="2026-01-31")
    )
    shown = answers.job(domain.evolve(view, p.JobStageEntered(**stage, stage="storing")), Links(), "current")

    assert (shown.description, shown.release_date) == ("about", "2026-01-31")
