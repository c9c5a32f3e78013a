"""Requests that come again under the key of the first: at once, later, much later, and when the site says more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiohttp import web

from libs.supervisor import DataFolder
from proto import SERVICES

ITEM = '<item><title>Episode {0}</title><enclosure url="{1}" type="video/mp4" length="1"/></item>'
PAGE = '<?xml version="1.0"?><rss version="2.0"><channel><title>Show</title>{0}</channel></rss>'


@asynccontextmanager
async def growing(links: list[str]) -> AsyncIterator[str]:
    """A feed that has one entry more each time it is asked for."""
    asked = 0

    async def show(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        items = [ITEM.format(number, link) for number, link in enumerate(links[: asked + 1])]
        return web.Response(text=PAGE.format("".join(items)), content_type="application/rss+xml")

    app = web.Application()
    app.add_routes([web.get("/show.rss", show)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/show.rss"
    finally:
        await runner.cleanup()


async def days_pass(system) -> None:
    """The job service forgets what it was asked."""
    secrets = DataFolder(system.data).secrets(SERVICES)
    conn = await asyncpg.connect(
        host=str(system.data / "postgres"), database="longshore", user="longshore_job",
        password=secrets.service_passwords["job"],
    )  # fmt: skip
    await conn.execute("delete from job.commands where at < now()")
    await conn.close()


@pytest.fixture
def key() -> str:
    return uuid4().hex


async def test_one_link_under_one_key_twenty_times_at_once_is_one_job_and_twenty_answers(user, site, key: str):
    async with user.http() as http:
        body = {"url": site.file(1000, f"{key}.bin")}
        answers = await asyncio.gather(*(http.jobs("POST", "/jobs", body, x_idempotency_key=key) for _ in range(20)))
        _, page = await http.jobs("GET", "/jobs")

    assert {status for status, _ in answers} == {201}
    assert {answer["job_id"] for _, answer in answers} == {job["id"] for job in page["jobs"]}
    assert page["total"] == 1
    assert sorted(answer.get("cached", False) for _, answer in answers) == [False] + [True] * 19


async def test_many_links_under_one_key_ten_times_at_once_are_one_batch_and_ten_answers(user, site, key: str):
    async with user.http() as http:
        body = {"jobs": [{"url": site.file(1000, f"{number}-{key}.bin")} for number in range(3)]}
        answers = await asyncio.gather(
            *(http.jobs("POST", "/jobs/bulk", body, x_idempotency_key=key) for _ in range(10))
        )
        _, page = await http.jobs("GET", "/jobs")

    assert {status for status, _ in answers} == {201}
    assert len({(answer["batch_id"], *answer["job_ids"]) for _, answer in answers}) == 1
    assert page["total"] == 3


async def test_links_of_the_extension_under_one_key_at_once_are_each_one_job(user, site, key: str):
    headers = {"authorization": f"Bearer {user.keys['gdluxx']}", "idempotency_key": key}
    async with user.http() as http:
        body = {"urls": [site.file(1000, f"{number}-{key}.bin") for number in range(3)]}
        answers = await asyncio.gather(
            *(http.call("POST", "/api/extension/external", body, **headers) for _ in range(10))
        )
        clash = await http.call("POST", "/api/extension/external", {"urls": body["urls"][:2]}, **headers)
        _, page = await http.jobs("GET", "/jobs")

    assert {status for status, _ in answers} == {200}
    assert len({tuple(one["jobId"] for one in answer["data"]["results"]) for _, answer in answers}) == 1
    assert clash[0] == 409
    assert page["total"] == 3


async def test_a_feed_that_has_grown_meanwhile_is_answered_under_the_same_key_as_the_first_time(user, site, key: str):
    async with user.http() as http, growing([site.file(1000, f"{number}-{key}.mp4") for number in range(9)]) as feed:
        await http.ended(await http.submit(site.file(1000, f"{key}.bin")))  # a worker is there, which can look
        _, first = await http.jobs("POST", "/jobs", {"url": feed}, x_idempotency_key=key)
        async with http.session.get(feed) as grown:
            assert grown.ok
        status, again = await http.jobs("POST", "/jobs", {"url": feed, "paused": False}, x_idempotency_key=key)
        clash = await http.jobs("POST", "/jobs", {"url": feed, "paused": True}, x_idempotency_key=key)
        _, page = await http.jobs("GET", "/jobs")

    assert status == 201
    assert again["cached"] is True
    assert (again["batch_id"], again["episode_jobs"], again["paused"]) == (
        first["batch_id"],
        first["episode_jobs"],
        first["paused"],
    )
    assert [(one["job_id"], one["url"]) for one in again["episodes"]] == [
        (one["job_id"], one["url"]) for one in first["episodes"]
    ]
    assert clash[0] == 409
    assert page["total"] == 1 + len(first["episode_jobs"])


async def test_a_retry_under_one_key_is_one_job_however_often_it_is_asked_for(user, site, key: str):
    async with user.http() as http:
        failed = await http.ended(await http.submit(site.file(1000, f"{key}.bin", fail=403)))
        first = await http.jobs("POST", f"/jobs/{failed['id']}/retry", x_idempotency_key=key)
        again = await http.jobs("POST", f"/jobs/{failed['id']}/retry", x_idempotency_key=key)

    assert (first[0], again) == (201, first)


async def test_a_key_that_was_used_days_ago_is_for_a_new_job(user, site, system, key: str):
    async with user.http() as http:
        one, many = {"url": site.file(1000, f"{key}.bin")}, {"jobs": [{"url": site.file(1000, f"many-{key}.bin")}]}
        gallery = {"urls": [one["url"], many["jobs"][0]["url"]]}
        bearer = f"Bearer {user.keys['gdluxx']}"

        async def everything() -> list[UUID]:
            _, single = await http.jobs("POST", "/jobs", one, x_idempotency_key=f"{key}-1")
            _, batch = await http.jobs("POST", "/jobs/bulk", many, x_idempotency_key=f"{key}-2")
            _, sent = await http.call(
                "POST", "/api/extension/external", gallery, authorization=bearer, idempotency_key=f"{key}-3"
            )
            results = [result["jobId"] for result in sent["data"]["results"]]
            return [UUID(text) for text in (single["job_id"], batch["batch_id"], *batch["job_ids"], *results)]

        first = await everything()
        same = await everything()
        await days_pass(system)
        later = await everything()

    assert same == first
    assert not {*later} & {*first}
    assert {one.version for one in first} == {7}, "an id begins with its time, which is shown while no view has the job"
