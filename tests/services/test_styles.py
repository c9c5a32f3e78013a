"""Keys of programs that know an older edition of the jobs API."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from tests.support.receiver import receiving
from tests.support.system import ROOT, longshore


async def key(user, *words: str) -> str:
    return await asyncio.to_thread(
        longshore, "key", "create", "--dialect", "jobs", "--user", user.name, *words, data=user.system.data
    )


async def total(http, status: str, **headers: str) -> int:
    return (await http.call("GET", f"/jobs?status={status}", **headers))[1]["total"]


async def test_what_a_site_does_not_have_is_a_warning_to_new_programs_and_a_failure_to_old_ones(user, site):
    old = {"x_api_key": await key(user, "--status-style", "legacy")}
    new = {"x_api_key": user.keys["jobs"]}
    async with user.http() as http:
        job = await http.ended(await http.submit(site.url("/status/404")))
        _, same = await http.call("GET", f"/jobs/{job['id']}", **old)
        counts = {
            (word, name): await total(http, word, **who)
            for name, who in (("old", old), ("new", new))
            for word in ("failed", "warning", "skipped")
        }
        _, stats = await http.jobs("GET", "/dashboard/stats")

    assert (job["status"], job["error_type"]) == ("Warning", "warning")
    assert (same["status"], same["error_type"], same["error"]) == ("Failed", "warning", job["error"])
    assert [counts[word, "new"] for word in ("failed", "warning", "skipped")] == [0, 1, 0]
    assert [counts[word, "old"] for word in ("failed", "warning", "skipped")] == [1, 0, 0]
    assert stats["failed_jobs"] == 1


async def test_a_gallery_with_nothing_new_is_skipped_to_new_programs_and_failed_to_old_ones(user):
    old = await key(user, "--status-style", "legacy")
    async with user.http() as http:
        ids = []
        for _ in range(2):
            _, sent = await http.gdluxx("POST", "/external", {"urls": ["http://don.test/@alice"]})
            ids.append(sent["data"]["results"][0]["jobId"])
            job = await http.ended(ids[-1])
        _, same = await http.call("GET", f"/jobs/{ids[1]}", x_api_key=old)

    assert (job["status"], job["error_type"]) == ("Skipped", None)
    assert (same["status"], same["error_type"]) == ("Failed", "warning")


@pytest.mark.parametrize(
    ("words", "kind", "status"),
    [((), "job_warning", "warning"), (("--webhook-style", "legacy"), "job_completed", "Failed")],
    ids=["current", "legacy"],
)
async def test_webhooks_speak_as_the_key_does_that_submitted_the_job(user, site, words, kind: str, status: str):
    mine = await key(user, *words)
    async with receiving() as receiver, user.http() as http:
        body = {"url": site.url("/status/404"), "webhook_url": f"{receiver.url}/hook"}
        await http.call("POST", "/jobs", body, x_api_key=mine)
        post = (await receiver.until(1))[0]

    told = json.loads(post.body)
    assert (told["type"], told["status"]) == (kind, status)


async def test_old_programs_hear_of_the_end_of_a_batch_too(user, site):
    old = await key(user, "--webhook-style", "legacy")
    async with receiving() as receiver, user.http() as http:
        body = {"jobs": [{"url": site.url("/status/404")}], "webhook_url": f"{receiver.url}/hook"}
        _, made = await http.call("POST", "/jobs/bulk", body, x_api_key=old)
        told = [json.loads(post.body) for post in await receiver.until(2)]

    assert {(one["type"], one.get("status"), one["batch_id"]) for one in told} == {
        ("job_completed", "Failed", made["batch_id"]),
        ("batch_completed", None, made["batch_id"]),
    }


async def test_only_keys_of_the_jobs_api_have_an_older_style(user):
    def refused() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "services", "key", "create", "--dialect", "gdluxx", "--status-style", "legacy",
             "--user", user.name, "--data", str(user.system.data)],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    done = await asyncio.to_thread(refused)

    assert (done.returncode, done.stdout) == (2, "")
