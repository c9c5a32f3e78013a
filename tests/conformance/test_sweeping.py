"""What services remove of what they once wrote down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from libs import runtime
from libs.eventstore.projection import Applied
from libs.feed import Delivered
from libs.message import Event, Position, new_id
from libs.runtime import Service
from proto.job import (
    BatchWebhookRequested,
    Failure,
    JobCancelled,
    JobFailed,
    JobStageEntered,
    JobWebhookRequested,
)
from services.auth.service import SERVICE as AUTH
from services.notifier.handlers import Hooked, note
from services.notifier.service import SERVICE as NOTIFIER
from services.notifier.service import sweep
from tests.conformance.conftest import Installation
from tests.support.ports import own_port

AT = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@asynccontextmanager
async def serving(service: Service, installation: Installation, tmp_path: Path) -> AsyncIterator[None]:
    servers = installation.servers
    settings = service.settings(
        data_dir=tmp_path, database_url=servers.database_urls[service.name], nats_url=servers.nats_url,
        nats_seed=servers.nats_seeds[service.name], secret_key="k" * 32, http_port=own_port(),
    )  # fmt: skip
    stop = asyncio.Event()
    running = asyncio.create_task(runtime.run([(service, settings)], ready=lambda: None, stop=stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait({running})
    assert running.exception() is None


async def until_left(pool, query: str, wanted: set[Any]) -> None:
    """Until there is nothing but `wanted`."""
    async with asyncio.timeout(60):
        while {row[0] for row in await pool.fetch(query)} != wanted:
            await asyncio.sleep(0.05)  # the service tells nobody what it removed


async def test_sessions_that_are_over_and_lockouts_long_past_are_removed(installation: Installation, tmp_path: Path):
    now = datetime.now(UTC)
    live, ended, expired = new_id(), new_id(), new_id()
    pool = await installation.pool("auth")
    await pool.executemany(
        "insert into auth.sessions (session_id, user_id, generation, expires_at, ended_at) values ($1, $1, 0, $2, $3)",
        [(live, now + DAY, None), (ended, now + DAY, now - DAY), (expired, now - DAY, None)],
    )
    await pool.executemany(
        "insert into auth.lockouts (username, failures, locked_until) values ($1, 9, $2)",
        [("made-up", now - DAY), ("hasty", now - timedelta(minutes=20)), ("locked", now + timedelta(minutes=5))],
    )
    async with serving(AUTH, installation, tmp_path):
        await until_left(pool, "select session_id from auth.sessions", {live})
        await until_left(pool, "select username from auth.lockouts", {"hasty", "locked"})


async def test_deliveries_and_hooks_that_nobody_will_ask_for_are_removed(installation: Installation, tmp_path: Path):
    now = datetime.now(UTC)
    old, due, young = new_id(), new_id(), new_id()
    failed, lately, waiting = new_id(), new_id(), new_id()
    pool = await installation.pool("notifier")
    await pool.executemany(
        "insert into notifier.deliveries (delivery_id, owner, job_id, url, body, attempts, due_at, noted_at)"
        " values ($1, $1, $1, 'https://example.org/', '', 1, $2, $3)",
        [(old, None, now - 31 * DAY), (due, now + DAY, now - 31 * DAY), (young, None, now - 29 * DAY)],
    )
    await pool.executemany(
        "insert into notifier.hooks (job_id, owner, link, url, ended_at) values ($1, $1, '', '', $2)",
        [(failed, now - 91 * DAY), (lately, now - 89 * DAY), (waiting, None)],
    )
    async with serving(NOTIFIER, installation, tmp_path):
        await until_left(pool, "select delivery_id from notifier.deliveries", {due, young})
        await until_left(pool, "select job_id from notifier.hooks", {lately, waiting})


def delivered(number: int) -> Delivered:
    return Delivered(
        sequence=number, position=Position(1, number), event_type="", schema_version=1, stream_id=UUID(int=0),
        version=number, recorded_at=AT, headers={}, body=b"",
    )  # fmt: skip


async def noted(pool, events: list[Event]) -> None:
    async with pool.acquire() as conn, conn.transaction():
        await note(conn, [Applied(one, delivered(n)) for n, one in enumerate(events, 1)], AT, lambda *_: "a link")


async def test_of_a_batch_that_is_over_nothing_is_left_but_what_is_told(installation: Installation) -> None:
    batch, owner = new_id(), new_id()
    jobs = [new_id(), new_id()]
    pool = await installation.pool("notifier")
    asked = BatchWebhookRequested(
        batch_id=batch, owner=owner, url="https://example.org/", link="", folder=None, size=2, at=AT
    )
    ends: list[Event] = [JobCancelled(job_id=one, owner=owner, batch_id=batch, at=AT) for one in jobs]
    counts = "select count(*), (select count(*) from notifier.ended) from notifier.batches"
    await noted(pool, [asked, *ends[:1]])
    before = await pool.fetchrow(counts)
    await noted(pool, ends[1:])
    after = await pool.fetchrow(counts)
    await noted(pool, ends)  # tried again, and ended again

    assert (tuple(before), tuple(after)) == ((1, 1), (0, 0))
    assert await pool.fetchval("select count(*) from notifier.ended") == 0
    assert await pool.fetchval("select count(*) from notifier.deliveries where job_id = $1", batch) == 1


@pytest.mark.parametrize("again", [False, True])
async def test_the_hook_of_a_job_that_is_tried_again_is_not_that_of_an_ended_one(
    installation: Installation, again: bool
) -> None:
    about: dict[str, Any] = {"job_id": new_id(), "owner": new_id(), "at": AT}
    events: list[Event] = [
        JobWebhookRequested(folder=None, url="https://example.org/", link="", **about),
        JobFailed(attempt=1, failure=Failure(kind="permanent", code="gone", message="gone"), **about),
    ]
    if again:
        events.append(JobStageEntered(attempt=2, stage="downloading", **about))
    pool = await installation.pool("notifier")
    await noted(pool, events)

    assert await pool.fetchval("select ended_at from notifier.hooks") == (None if again else AT)


async def test_a_notifier_forgets_what_its_tables_have_no_more_and_not_what_they_do_not_have_yet(
    installation: Installation,
) -> None:
    gone, coming = (
        JobWebhookRequested(job_id=new_id(), owner=new_id(), folder=None, url="", link="", at=AT) for _ in range(2)
    )
    ends = [JobCancelled(job_id=one.job_id, owner=one.owner, at=AT) for one in (gone, coming)]
    pool = await installation.pool("notifier")
    hooked = Hooked(pool)
    await hooked.begin()
    relevant = [hooked(gone), hooked(coming)]
    await sweep(pool, hooked, lambda: AT)
    once = [hooked(one) for one in ends]
    await noted(pool, [coming])
    await sweep(pool, hooked, lambda: AT)
    twice = [hooked(one) for one in ends]

    assert (relevant, once, twice) == ([True, True], [True, True], [False, True])
