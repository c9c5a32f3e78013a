"""What one user may take, as the operator sets it and the user's programs meet it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec
import pytest

from libs import bus as buses
from libs.bus import Message
from libs.message import Refused
from libs.supervisor import DataFolder
from proto.auth import Limits, ReadLimits, ReadUser, SetLimits, User
from proto.job import Dealt, ReadUsage, Usage
from tests.support.sure import sure
from tests.support.system import longshore


async def limit(user, *words: str) -> str:
    """What `longshore user limit` prints."""
    return await asyncio.to_thread(longshore, "user", "limit", user.name, *words, data=user.system.data)


async def test_the_operator_sets_and_sees_a_users_limits(user):
    await limit(user, "--concurrent", "3", "--bandwidth", "2M", "--window", "22:00-06:00", "--window", "12:00-13:00")
    shown = await limit(user, "--concurrent", "none", "--storage", "10G")

    assert shown.splitlines() == [
        "concurrent: none",
        "bandwidth: 2097152",
        "storage: 10737418240",
        "window: 22:00-06:00, 12:00-13:00",
    ]


async def test_a_user_who_is_no_admin_sets_nobodys_limits(user, system):
    async with system.operator() as (_, caller):
        known = await caller.query(ReadUser(username=user.name), result=User)
        with pytest.raises(Refused, match="only an admin"):
            await caller.command(SetLimits(by=known.user_id, username=user.name, limits=Limits(concurrent=1)))

        assert await caller.query(ReadLimits(username=user.name), result=Limits) == Limits()


def hours(now: datetime, first: float, last: float) -> str:
    """A window from so many hours to so many hours from `now`."""
    return "-".join(f"{now + timedelta(hours=one):%H:%M}" for one in (first, last))


async def heard(user, *words: str) -> None:
    """Sets limits and waits until the job service has heard of them."""
    await limit(user, *words)
    async with user.system.operator() as (_, caller), asyncio.timeout(30):
        known = await caller.query(ReadUser(username=user.name), result=User)
        wanted = await caller.query(ReadLimits(username=user.name), result=Limits)
        while (await caller.query(ReadUsage(owner=known.user_id), result=Usage)).limits != wanted:
            await asyncio.sleep(0.02)  # the interval of a polling client


async def test_no_more_of_a_users_jobs_run_at_a_time_than_the_limit_says(user, other, site):
    """All of the site's files stand still half way, so that what is asked for is what runs."""
    name = uuid4().hex
    links = [site.file(200_000, f"{name}-{n}.bin", gate=name, gate_at=100_000) for n in range(3)]
    await heard(user, "--concurrent", "1")
    async with user.http() as http, other.http() as theirs:
        ids = [await http.submit(link) for link in links]
        await site.reached(name)
        await http.until(ids[0], lambda job: job["status"] == "Processing")
        # Somebody else's job begins and ends meanwhile: there is room, and it is not for the first user.
        await theirs.ended(await theirs.submit(site.file(1000, f"{uuid4().hex}.bin")))
        asked = {hit.path for hit in site.log if name in hit.path}
        states = [(await http.show(one))["status"] for one in ids]
        await site.release(name)
        ended = [(await http.ended(one))["status"] for one in ids]

    assert len(asked) == 1
    assert sorted(states) == ["Pending", "Pending", "Processing"]
    assert ended == ["Completed"] * 3


async def test_a_job_outside_its_owners_hours_waits_with_the_reason_and_the_time(user, site):
    name, now = f"{uuid4().hex}.bin", datetime.now(UTC).replace(second=0, microsecond=0)
    await heard(user, "--window", hours(now, 2, 3))
    async with user.http() as http:
        job_id = await http.submit(site.file(1000, name))
        job = await http.until(job_id, lambda job: "waiting_for" in job)
        _, told = await http.gdluxx("GET", f"/jobs?ids={job_id}")
        opens = datetime.fromtimestamp(job["waiting_until"] / 1000, UTC)
        await limit(user, "--window", hours(now, -1, 1))
        ended = await http.ended(job_id)

        assert http.history(job_id).count("job.deferred") == 2
    assert (job["status"], job["waiting_for"]) == ("Pending", "window")
    assert opens == now + timedelta(hours=2)
    assert told["data"]["jobs"][0]["waitingFor"] == "window"
    assert ended["status"] == "Completed"


MEGABYTE = 2**20


async def test_fifty_jobs_at_once_never_store_more_than_the_limit_and_the_rest_says_why(user, site):
    await heard(user, "--storage", "1M")
    links = [site.file(100_000, f"{uuid4().hex}.bin") for _ in range(50)]
    async with user.http() as http:
        _, made = await http.jobs("POST", "/jobs/bulk", {"jobs": [{"url": link} for link in links]})
        jobs = [await http.ended(one) for one in made["job_ids"]]
        _, usage = await http.jobs("GET", "/usage")

    assert [job["status"] for job in jobs].count("Completed") == 10
    assert {job["error"] for job in jobs if job["status"] == "Failed"} == {"Storage quota exceeded"}
    assert (usage["storage_limit_bytes"], usage["storage_reserved_gb"]) == (MEGABYTE, 0)
    assert usage["storage_effective_usage_gb"] == round(1_000_000 / 2**30, 6)
    assert usage["storage_remaining_gb"] == round((MEGABYTE - 1_000_000) / 2**30, 6)


async def test_a_file_whose_size_is_only_known_at_its_end_is_not_stored_over_the_limit(user, site):
    await heard(user, "--storage", "50K")
    async with user.http() as http:
        job = await http.ended(await http.submit(site.file(100_000, f"{uuid4().hex}.bin", length="none")))
        _, usage = await http.jobs("GET", "/usage")

    assert (job["status"], job["error"]) == ("Failed", "Storage quota exceeded")
    assert usage["storage_effective_usage_gb"] == 0


async def test_what_is_reserved_is_shown_while_a_job_runs_and_deleted_files_make_room(user, site):
    gate = uuid4().hex
    await heard(user, "--storage", "300K")
    async with user.http() as http:
        first = await http.submit(site.file(300_000, f"{gate}.bin", gate=gate, gate_at=100_000))
        async with asyncio.timeout(30):
            while not (during := (await http.jobs("GET", "/usage"))[1])["storage_reserved_gb"]:
                await asyncio.sleep(0.02)  # the interval of a polling client
        await site.release(gate)
        await http.ended(first)
        second = await http.ended(await http.submit(site.file(10_000, f"{uuid4().hex}.bin")))
        await http.jobs("DELETE", f"/jobs/{first}/file")
        third = await http.ended(await http.submit(site.file(10_000, f"{uuid4().hex}.bin")))

    assert during["storage_reserved_gb"] == round(300_000 / 2**30, 6)
    assert (second["error"], third["status"]) == ("Storage quota exceeded", "Completed")


async def test_who_has_no_room_left_is_refused_in_the_words_of_each_dialect(user, site):
    await heard(user, "--storage", "0")
    async with user.http() as http:
        refused = await http.jobs("POST", "/jobs", {"url": site.file(1000, "a.bin")})
        status, told = await http.gdluxx("POST", "/external", {"urls": [site.file(1000, "a.bin")]})

    assert refused == (
        403,
        {
            "error": "Storage quota exceeded",
            "limit_gb": "0.00",
            "used_gb": "0.00",
            "message": "0.00 GB of 0.00 GB are used or reserved; delete files or ask for a higher limit",
        },
    )
    assert (status, told["data"]["overallSuccess"]) == (200, False)
    assert told["data"]["results"][0]["error"] == "Storage quota exceeded"


async def test_workers_are_told_at_once_how_many_attempts_share_a_limit(system, user, site):
    await heard(user, "--bandwidth", "1K")
    told: asyncio.Queue[int] = asyncio.Queue()

    async def dealt(message: Message) -> None:
        told.put_nowait(sum(msgspec.json.decode(message.body, type=Dealt).running.values()))

    async def until(attempts: int) -> None:
        async with asyncio.timeout(30):
            while await told.get() != attempts:
                pass

    folder = DataFolder(system.data)
    worker = await buses.open(sure(folder.endpoint()), user="worker", seed=folder.seed("worker"))
    try:
        await worker.listen("ctl.shares", dealt)
        async with user.http() as http:
            first = await http.submit(site.file(600_000, f"{uuid4().hex}.bin"))
            await until(1)
            second = await http.submit(site.file(600_000, f"{uuid4().hex}.bin"))
            await until(2)
            await http.jobs("DELETE", f"/jobs/{second}")
            await until(1)
            await http.jobs("DELETE", f"/jobs/{first}")
            await until(0)
    finally:
        await worker.close()


PACED = {"http": "/file/600000/{name}", "through the proxy": "/watch/embed"}


@pytest.mark.parametrize("path", PACED.values(), ids=PACED)
async def test_a_paced_download_crawls_until_the_limit_is_lifted(user, other, site, path: str):
    """At a kilobyte a second neither is over while the test waits for anything."""
    name = f"{uuid4().hex}.bin"
    await heard(user, "--bandwidth", "1K")
    async with user.http() as http, other.http() as theirs:
        slow = await http.submit(site.url(path.format(name=name)))
        await http.until(slow, lambda job: job["status"] == "Processing")
        flew = await theirs.ended(await theirs.submit(site.url(path.format(name=name))))
        crawling = await http.show(slow)
        await limit(user, "--bandwidth", "none")
        ended = await http.ended(slow)

    assert (flew["status"], crawling["status"], crawling["error"]) == ("Completed", "Processing", None)
    assert ended["status"] == "Completed"
