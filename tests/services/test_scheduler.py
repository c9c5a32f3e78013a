"""Schedules through the running system, and the clock itself on real servers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from libs.message import Refused, new_id
from proto.auth import ReadUser, User
from proto.job import Request, SubmitJobs
from proto.scheduler import ChangeSchedule, CreateSchedule, DeleteSchedule, RunSchedule


async def owner_of(user, caller):
    return (await caller.query(ReadUser(username=user.name), result=User)).user_id


def creating(owner, url: str, **more) -> CreateSchedule:
    known = {"owner": owner, "schedule_id": new_id(), "name": "Every night", "cron": "0 3 * * *", "url": url}
    return CreateSchedule(**{**known, **more})


async def test_a_schedule_that_is_run_by_hand_submits_its_job_even_when_disabled(user, system, site):
    url = site.file(1000, f"{uuid4().hex}.bin")
    async with system.operator() as (_, caller), user.http() as http:
        schedule = creating(await owner_of(user, caller), url, enabled=False)
        await caller.command(schedule)
        job_id, _ = await caller.command(
            RunSchedule(owner=schedule.owner, schedule_id=schedule.schedule_id), result=str
        )
        await http.appeared(job_id)
        job = await http.ended(job_id)

    assert (job["url"], job["status"]) == (url, "Completed")


async def test_a_schedule_is_nobody_elses(user, other, system):
    async with system.operator() as (_, caller):
        schedule = creating(await owner_of(user, caller), "https://example.com/")
        stranger = await owner_of(other, caller)
        await caller.command(schedule)
        for command in (
            ChangeSchedule(owner=stranger, schedule_id=schedule.schedule_id, enabled=False),
            DeleteSchedule(owner=stranger, schedule_id=schedule.schedule_id),
            RunSchedule(owner=stranger, schedule_id=schedule.schedule_id),
        ):
            with pytest.raises(Refused, match="no such schedule"):
                await caller.command(command)


async def test_schedules_of_one_name_that_are_made_at_once_are_all_made(user, system):
    async with system.operator() as (_, caller):
        owner = await owner_of(user, caller)
        wanted = [creating(owner, "https://example.com/") for _ in range(12)]
        made = await asyncio.gather(*(caller.command(one, result=UUID) for one in wanted))

    assert [schedule_id for schedule_id, _ in made] == [one.schedule_id for one in wanted]


async def test_an_expression_that_is_no_cron_is_refused(user, system):
    async with system.operator() as (_, caller):
        owner = await owner_of(user, caller)
        for cron in ("61 * * * *", "every day", "0 0 31 2 *"):
            with pytest.raises(Refused):
                await caller.command(creating(owner, "https://example.com/", cron=cron))


async def test_a_job_that_is_submitted_for_later_waits_until_then(user, system, site):
    later = datetime.now(UTC) + timedelta(seconds=1.5)
    name = f"{uuid4().hex}.bin"
    async with system.operator() as (_, caller), user.http() as http:
        request = Request(job_id=new_id(), url=site.file(1000, name), not_before=later)
        await caller.command(
            SubmitJobs(owner=await owner_of(user, caller), dialect="cli", requests=(request,)), actor="operator"
        )
        await http.appeared(str(request.job_id))
        job = await http.ended(str(request.job_id))

    assert job["status"] == "Completed"
    assert all(hit.at >= later.timestamp() for hit in site.hits(f"/file/1000/{name}"))
