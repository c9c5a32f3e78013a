"""Two job services at once, on a real server: what one owner's jobs take together never exceeds the limit, and racing
submissions of the same make one job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from msgspec.structs import replace

from libs.calls import Call
from libs.egress.policy import EgressPolicy
from libs.message import Meta, Refused, new_id
from proto.auth import Limits
from proto.job import (
    CancelJob,
    ClaimAttempt,
    QuotaExceeded,
    ReportStage,
    Request,
    ReserveStorage,
    StageNote,
    SubmitJobs,
    Submitted,
)
from services.job import domain, views
from services.job.allowances import Allowances
from services.job.commit import Built, Ledger, opened
from services.job.domain import quota
from services.job.engines.presets import Presets
from services.job.handlers.submission import submit_jobs
from services.job.submitting import fingerprints, submit_once, written
from tests.support.sure import being

META = Meta(correlation=UUID(int=1))


@asynccontextmanager
async def ledgers(installation, count: int) -> AsyncIterator[list[Ledger]]:
    made = [Ledger(await installation.pool("job"), await installation.store("job")) for _ in range(count)]
    tasks = [asyncio.create_task(one.run()) for one in made]
    try:
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def claimed(claim: ClaimAttempt, now: datetime, job: domain.Job) -> domain.Decision:
    return domain.claim(job, claim, now, held=False)


async def running(ledger: Ledger, owner: UUID, count: int) -> list[UUID]:
    """Jobs whose first attempt is under way."""
    requests = tuple(Request(job_id=new_id(), url="https://files.test/a.bin") for _ in range(count))
    command = SubmitJobs(owner=owner, dialect="jobs", requests=requests)

    def build(numbers: tuple[int, ...]) -> Built:
        streams = [opened(events, META) for events in domain.submit(command, numbers, datetime.now(UTC))]
        return Built([write for write, _ in streams], [job for _, job in streams])

    await ledger.submit(count, build)
    for request in requests:
        claim = ClaimAttempt(job_id=request.job_id, attempt=1, worker_id=new_id())
        await ledger.change(request.job_id, lambda job: domain.admit(job, ledger.clock()), META)
        await ledger.change(request.job_id, partial(claimed, claim, ledger.clock()), META)
    return [request.job_id for request in requests]


async def reserves(ledger: Ledger, job_id: UUID, size: int) -> bool:
    command = ReserveStorage(job_id=job_id, attempt=1, bytes=size)
    try:
        await ledger.change_among(
            job_id,
            lambda job, taken: quota.reserve(job, command, taken.limit, taken.kept + taken.reserved, ledger.clock()),
            META,
        )
    except Refused as refused:
        assert isinstance(refused.refusal, QuotaExceeded)
        return False
    return True


async def test_fifty_jobs_that_reserve_at_once_over_two_processes_never_go_over(installation):
    owner, other = new_id(), new_id()
    async with ledgers(installation, 2) as (one, two):
        pool = await installation.pool("job")
        async with pool.acquire() as conn:
            await views.set_limits(conn, owner, Limits(storage=1000))
        jobs, theirs = await running(one, owner, 50), await running(one, other, 5)
        async with asyncio.timeout(60):
            got = await asyncio.gather(
                *(reserves((one, two)[n % 2], job_id, 90) for n, job_id in enumerate(jobs)),
                *(reserves(two, job_id, 10_000) for job_id in theirs),
            )
        async with pool.acquire() as conn:
            taken = await views.take(conn, owner)

    assert (got[:50].count(True), got[50:]) == (11, [True] * 5)
    assert (taken.reserved, taken.limit) == (990, 1000)


async def test_what_a_cancelled_job_had_reserved_is_there_for_another(installation):
    owner = new_id()
    async with ledgers(installation, 1) as (ledger,):
        pool = await installation.pool("job")
        async with pool.acquire() as conn:
            await views.set_limits(conn, owner, Limits(storage=1000))
        first, second = await running(ledger, owner, 2)
        before = [await reserves(ledger, one, 600) for one in (first, second)]
        cancelling = CancelJob(owner=owner, job_id=first)
        await ledger.change(first, lambda job: domain.cancel(job, cancelling, ledger.clock()), META)

        assert before == [True, False]
        assert await reserves(ledger, second, 600)


async def test_a_job_that_learns_of_more_bytes_needs_room_for_all_of_them_once(installation):
    """What it has reserved itself is not somebody else's."""
    owner = new_id()
    async with ledgers(installation, 1) as (ledger,):
        async with (await installation.pool("job")).acquire() as conn:
            await views.set_limits(conn, owner, Limits(storage=1000))
        (job,) = await running(ledger, owner, 1)

        assert [await reserves(ledger, job, size) for size in (600, 900, 1001)] == [True, True, False]


WAITING = "select count(*) from pg_locks where locktype = 'advisory' and not granted"


async def test_who_decides_about_an_owners_room_waits_while_another_process_does(installation):
    owner = new_id()
    async with ledgers(installation, 1) as (ledger,), asyncio.timeout(60):
        (job,) = await running(ledger, owner, 1)
        async with (await installation.pool("job")).acquire() as conn, conn.transaction():
            await views.lock_owner(conn, owner)
            deciding = asyncio.create_task(reserves(ledger, job, 600))
            while not deciding.done() and not await conn.fetchval(WAITING):
                await asyncio.sleep(0.005)  # the server tells nobody
            waited = not deciding.done()

        assert await deciding
        assert waited


async def test_what_another_process_changed_is_known_before_a_change_is_refused_or_made(installation):
    """By a process that had the job in memory as it was before."""
    owner, command = new_id(), CancelJob(owner=None, job_id=new_id())
    async with ledgers(installation, 2) as (one, two), asyncio.timeout(60):
        jobs: list[UUID] = []
        for _ in range(2):
            submitted, _ = await submit_once(sending(owner, f"https://a.test/{new_id()}"), META, two, timedelta(0))
            jobs += submitted.job_ids
        for job_id in jobs:
            claim = ClaimAttempt(job_id=job_id, attempt=1, worker_id=new_id())
            assert (await two.read(job_id)).state == "queued"
            await one.change(job_id, lambda job: domain.admit(job, one.clock()), META)
            await one.change(job_id, partial(claimed, claim, one.clock()), META)
        stage = ReportStage(job_id=jobs[0], attempt=1, note=StageNote(stage="downloading", at=two.clock()))
        told, _ = await two.change(jobs[0], lambda job: domain.report_stage(job, stage), META)
        ended, _ = await two.change(jobs[1], lambda job: domain.cancel(job, command, two.clock()), META)

    assert (told.state, told.attempt) == ("downloading", 1)
    assert (ended.state, ended.attempt) == ("cancelled", 1)


def sending(owner: UUID, *links: str) -> SubmitJobs:
    requests = tuple(Request(job_id=new_id(), url=link) for link in links)
    return SubmitJobs(owner=owner, dialect="gdluxx", requests=requests, batch_id=new_id(), reuse=True)


async def test_the_same_link_sent_twenty_times_at_once_over_two_processes_is_one_job(installation):
    owner, window = new_id(), timedelta(minutes=5)
    async with ledgers(installation, 2) as both, asyncio.timeout(60):
        commands = [sending(owner, "https://a.test/1", "https://a.test/2", "https://a.test/1") for _ in range(20)]
        answers = await asyncio.gather(*(submit_once(one, META, both[n % 2], window) for n, one in enumerate(commands)))
        other, _ = await submit_once(sending(new_id(), "https://a.test/1"), META, both[0], window)
        late, _ = await submit_once(sending(owner, "https://a.test/1"), META, both[0], timedelta(0))

    first, second, third = answers[0][0].job_ids
    assert {one.job_ids for one, _ in answers} == {(first, second, first)}
    assert third == first != second
    assert sum(position is not None for _, position in answers) == 1
    assert len({first, other.job_ids[0], late.job_ids[0]}) == 3


async def test_of_two_processes_that_both_found_nothing_one_makes_the_job_and_the_other_is_given_it(installation):
    owner, window = new_id(), timedelta(minutes=5)
    async with ledgers(installation, 2) as both, asyncio.timeout(60):
        pool = await installation.pool("job")
        async with pool.acquire() as conn, conn.transaction():
            await views.lock_owner(conn, owner)
            racing = [
                asyncio.create_task(submit_once(sending(owner, "https://a.test/1", own), META, ledger, window))
                for ledger, own in zip(both, ("https://a.test/2", "https://a.test/3"), strict=True)
            ]
            while await conn.fetchval(WAITING) < 2:
                await asyncio.sleep(0.005)
        answers = [submitted for submitted, _ in await asyncio.gather(*racing)]
        made = await pool.fetchval("select count(*) from job.jobs")
        events = await pool.fetchval("select count(*) from job.events where type = 'job.submitted'")

    assert answers[0].job_ids[0] == answers[1].job_ids[0]
    assert answers[0].numbers[0] == answers[1].numbers[0]
    assert (made, events) == (3, 3)


async def test_links_of_many_owners_and_calls_without_that_wish_share_one_group(installation):
    owners, window = [new_id() for _ in range(5)], timedelta(minutes=5)
    async with ledgers(installation, 1) as (ledger,), asyncio.timeout(60):
        plain = asyncio.create_task(running(ledger, owners[0], 3))
        answers = await asyncio.gather(
            *(
                submit_once(sending(owner, "https://a.test/1", link), META, ledger, window)
                for owner in owners
                for link in ("https://a.test/2", "https://a.test/1")
            )
        )
        jobs = {job_id for submitted, _ in answers for job_id in submitted.job_ids} | set(await plain)
        pool = await installation.pool("job")
        rows = await pool.fetch("select job_id, number, owner from job.jobs")

    assert len(jobs) == 5 * 2 + 3
    assert {row["job_id"] for row in rows} == jobs
    assert sorted(row["number"] for row in rows) == list(range(1, 14))
    assert {
        (job_id, number)
        for submitted, _ in answers
        for job_id, number in zip(submitted.job_ids, submitted.numbers, strict=True)
    } <= {(row["job_id"], row["number"]) for row in rows}


async def test_a_command_that_comes_ten_times_at_once_over_two_processes_is_answered_once_and_repeated(installation):
    command = replace(sending(new_id(), "https://a.test/1"), reuse=False, batch_id=None)
    call = Call(meta=META, command_id=new_id(), actor="", deadline=0.0, body=b"{}")
    pool, store = await installation.pool("job"), await installation.store("job")
    async with ledgers(installation, 2) as both, asyncio.timeout(60):
        answers = await asyncio.gather(
            *(
                submit_jobs(
                    command=replace(command, requests=(replace(command.requests[0], job_id=new_id()),)),
                    call=call,
                    ledger=both[n % 2],
                    store=store,
                    policy=EgressPolicy(),
                    allowances=Allowances(pool),
                    duplicates=timedelta(0),
                    presets=Presets(),
                )
                for n in range(10)
            )
        )

    submitted = [being(Submitted, answer.result) for answer in answers]
    assert len({(one.job_ids, one.numbers) for one in submitted}) == 1
    assert sorted(one.replayed for one in submitted) == [False] + [True] * 9
    assert await pool.fetchval("select count(*) from job.jobs") == 1


async def test_a_job_of_a_dialect_without_that_wish_is_given_to_one_that_has_it(installation):
    owner = new_id()
    async with ledgers(installation, 1) as (ledger,), asyncio.timeout(60):
        plain = replace(sending(owner, "https://a.test/1"), batch_id=None)
        at = ledger.clock()
        await ledger.submit(1, lambda numbers: written(plain, fingerprints(plain), numbers, META, at))
        given, position = await submit_once(sending(owner, "https://a.test/1"), META, ledger, timedelta(minutes=5))

    assert given.job_ids == (plain.requests[0].job_id,)
    assert position is None


async def test_a_job_that_has_ended_is_not_given_again(installation):
    owner, window = new_id(), timedelta(minutes=5)
    async with ledgers(installation, 1) as (ledger,):
        (first,), _ = (await submit_once(sending(owner, "https://a.test/1"), META, ledger, window))[0].job_ids, None
        await ledger.change(
            first, lambda job: domain.cancel(job, CancelJob(owner=owner, job_id=first), ledger.clock()), META
        )
        again, _ = await submit_once(sending(owner, "https://a.test/1"), META, ledger, window)

    assert again.job_ids[0] != first
