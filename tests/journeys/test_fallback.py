"""Links that a browser gives along with one, should nobody know what to do with it."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

from tests.support.system import PATIENCE


def unique() -> str:
    return f"{uuid4().hex}.bin"


async def outcome(http, url: str, *fallbacks: str) -> dict[str, Any]:
    """What the extension sees of its job at the end."""
    _, answer = await http.gdluxx("POST", "/external", {"urlToProcess": url, "fallbackUrls": fallbacks})
    [result] = answer["data"]["results"]
    async with asyncio.timeout(PATIENCE):
        while True:
            _, answer = await http.gdluxx("GET", f"/jobs?ids={result['jobId']}")
            [job] = answer["data"]["jobs"]
            if job["status"] != "running":
                return job
            await asyncio.sleep(0.05)  # the interval of a polling client


async def test_a_link_that_nobody_knows_is_replaced_by_the_first_of_its_fallbacks_that_works(user, site):
    page, name, unneeded = site.url("/html/page", disposition=unique()), unique(), unique()
    async with user.http() as http:
        job = await outcome(http, page, site.url("/status/404"), site.file(1000, name), site.file(1000, unneeded))
        stored = await http.show(job["id"])

    assert (job["status"], job["url"], job["downloadCount"]) == ("success", page, 1)
    assert (stored["s3_key"], stored["file_size"]) == (name, 1000)
    assert site.hits(f"/file/1000/{unneeded}") == []


async def test_a_link_that_works_leaves_its_fallbacks_alone(user, site):
    unneeded = unique()
    async with user.http() as http:
        job = await outcome(http, site.file(1000, unique()), site.file(1000, unneeded))

    assert job["status"] == "success"
    assert site.hits(f"/file/1000/{unneeded}") == []


async def test_a_link_that_is_known_and_gone_leaves_its_fallbacks_alone(user, site):
    unneeded = unique()
    async with user.http() as http:
        job = await outcome(http, site.url("/status/404"), site.file(1000, unneeded))

    assert job["status"] == "error"
    assert site.hits(f"/file/1000/{unneeded}") == []


async def test_a_job_fails_when_its_last_fallback_does(user, site):
    async with user.http() as http:
        job = await outcome(http, site.url("/html/page", disposition=unique()), site.url("/status/404"))

    assert job["status"] == "error"


async def test_a_fallback_that_is_no_good_is_dropped_and_never_a_reason_to_refuse(user, site):
    async with user.http() as http:
        job = await outcome(http, site.file(1000, unique()), "ftp://files.test/a", "http://10.0.0.1/a", "nope")

    assert job["status"] == "success"
