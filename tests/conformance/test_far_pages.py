"""Pages of a list whose jobs are counted in several blocks of numbers."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from libs.eventstore.projection import Applied
from libs.feed import Delivered
from libs.message import Position, new_id, tag
from proto.job import JobCancelled, JobSubmitted, Options
from services.gateway import views
from services.gateway.folding import BLOCK

NUMBERS = (1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 2, 4 * BLOCK - 1, 4 * BLOCK, 9 * BLOCK + 7)
"""On both sides of the edges of blocks, with blocks between that have none."""
CANCELLED = NUMBERS[1::2]
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def applied(event: JobSubmitted | JobCancelled) -> Applied:
    return Applied(
        event,
        Delivered(
            sequence=1,
            position=Position(1, 1),
            event_type=tag(type(event)),
            schema_version=1,
            stream_id=event.job_id,
            version=1,
            recorded_at=NOW,
            headers={},
            body=b"",
        ),
    )


@pytest.fixture
async def listed(installation):
    """The view of two owners' jobs, and one of the owners: number N is the first's, N + 10 the second's."""
    pool = await installation.pool("gateway")
    owners = new_id(), new_id()
    async with pool.acquire() as conn:
        for owner, above in zip(owners, (0, 10), strict=True):
            jobs = {number: new_id() for number in NUMBERS}
            opened = [
                JobSubmitted(
                    job_id=job_id,
                    number=number + above,
                    owner=owner,
                    dialect="jobs",
                    url="https://files.test/a.bin",
                    options=Options(),
                    priority=5,
                    held=False,
                    at=NOW,
                )
                for number, job_id in jobs.items()
            ]
            await views.apply(conn, [applied(event) for event in opened])
            ended = [JobCancelled(job_id=jobs[number], owner=owner, at=NOW) for number in CANCELLED]
            await views.apply(conn, [applied(event) for event in ended])
    return views.Jobs(pool), owners[0]


WANTED = {
    None: NUMBERS,
    ("cancelled",): CANCELLED,
    ("cancelled", "completed"): CANCELLED,
    ("cancelled", "queued"): NUMBERS,
    ("failed",): (),
}


@pytest.mark.parametrize("states", WANTED, ids=str)
async def test_every_page_of_every_size_is_that_part_of_the_whole(listed, states):
    jobs, owner = listed
    newest = WANTED[states][::-1]

    for limit in (1, 2, 5, 100):
        for offset in range(len(NUMBERS) + 2):
            page, total = await jobs.page(owner, states, limit, offset)
            assert [view.number for view in page] == list(newest[offset : offset + limit])
            assert total == len(newest)


async def test_an_operator_has_pages_of_everybodys_jobs(listed):
    jobs, _ = listed
    everybody = sorted([*NUMBERS, *(number + 10 for number in NUMBERS)], reverse=True)

    for offset in range(0, len(everybody) + 3, 3):
        page, total = await jobs.page(None, None, 3, offset)
        assert [view.number for view in page] == everybody[offset : offset + 3]
        assert total == len(everybody)


async def test_jobs_of_all_blocks_are_counted_together(listed):
    jobs, owner = listed

    counted = await jobs.counted(owner)

    assert Counter(counted) == Counter(cancelled=len(CANCELLED), queued=len(NUMBERS) - len(CANCELLED))


async def test_a_list_of_nothing_has_no_pages(listed):
    jobs, _ = listed

    assert await jobs.page(new_id(), None, 10, 0) == ([], 0)
