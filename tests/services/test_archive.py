"""What a user has from earlier jobs is not fetched again, where the job asks for that."""

from __future__ import annotations

import asyncio

from libs.message import new_id
from proto.auth import ReadUser, User
from proto.job import Options, Request, SubmitJobs, Submitted
from tests.support.system import ENDED


async def gallery(http, url: str) -> dict:
    """As the extension sends and watches it."""
    _, answer = await http.gdluxx("POST", "/external", {"urlToProcess": url})
    job_id = answer["data"]["results"][0]["jobId"]
    async with asyncio.timeout(60):
        while True:
            _, page = await http.gdluxx("GET", f"/jobs?ids={job_id}")
            (job,) = page["data"]["jobs"]
            if job["status"] != "running":
                return job
            await asyncio.sleep(0.05)  # the interval of a polling client


def counts(job: dict) -> tuple[str, int, int]:
    return job["status"], job["downloadCount"], job["skipCount"]


async def test_a_gallery_that_the_user_has_is_passed_over_and_counted(user, other, site):
    """By another job, without asking the site for a byte of it; another user has it not. How many were passed over is
    told every two seconds at the most, not one by one."""
    async with user.http() as http, other.http() as stranger:
        first = await gallery(http, "http://don.test/@many-13")
        again = await gallery(http, "http://don.test/@many-13")
        asked = len(site.hits("/art/many-13-1.png"))
        theirs = await gallery(stranger, "http://don.test/@many-13")
        history = http.history(again["id"])

    assert (counts(first), counts(again), counts(theirs)) == (
        ("success", 13, 0),
        ("no_action", 0, 13),
        ("success", 13, 0),
    )
    assert asked == 1
    assert 1 <= history.count("job.items_skipped") < 13


async def test_a_gallery_without_pictures_is_no_mistake_of_the_extensions(user):
    """Its program ended well and brought nothing; one that is not there is a mistake."""
    async with user.http() as http:
        empty = await gallery(http, "http://don.test/@empty")
        nobody = await gallery(http, "http://don.test/@nobody")

    assert (counts(empty), empty["exitCode"]) == (("no_action", 0, 0), 0)
    assert (counts(nobody), nobody["exitCode"]) == (("error", 0, 0), 1)


async def test_what_is_new_in_a_gallery_comes_and_what_was_given_up_comes_again(user):
    async with user.http() as http:
        post = await gallery(http, "http://don.test/@alice/77")
        whole = await gallery(http, "http://don.test/@alice")
        await http.jobs("DELETE", f"/jobs/{post['id']}/file")
        again = await gallery(http, "http://don.test/@alice")

    assert (counts(post), counts(whole)) == (("success", 2, 0), ("success", 3, 2))
    assert counts(again) == ("success", 2, 3)


async def test_a_subscription_leaves_alone_what_was_given_up_and_ends_at_what_is_known(user, system):
    async with user.http() as http, system.operator() as (_, caller):
        first = await gallery(http, "http://don.test/@many-14")
        await http.jobs("DELETE", f"/jobs/{first['id']}/file")
        ids = [await _submitted(caller, http, Options(archive="fetched", stop_at_known=known)) for known in (None, 4)]
        _, page = await http.gdluxx("GET", f"/jobs?ids={','.join(ids)}")

    assert [counts(job) for job in page["data"]["jobs"]] == [("no_action", 0, 14), ("no_action", 0, 4)]


async def _submitted(caller, http, options: Options) -> str:
    """By the operator, for this user."""
    me = await caller.query(ReadUser(username=http.user.name), result=User)
    command = SubmitJobs(
        owner=me.user_id,
        dialect="cli",
        requests=(Request(job_id=new_id(), url="http://don.test/@many-14", options=options),),
    )
    submitted, _ = await caller.command(command, result=Submitted)
    job_id = str(submitted.job_ids[0])
    await http.appeared(job_id)
    await http.until(job_id, lambda job: job["status"] in ENDED)
    return job_id


async def test_a_playlist_whose_films_the_user_has_is_passed_over(user, site):
    """yt-dlp asks the same archive."""
    async with user.http() as http:
        first = await gallery(http, site.url("/watch/two"))
        again = await gallery(http, site.url("/watch/two"))

    assert (counts(first), counts(again)) == (("success", 2, 0), ("no_action", 0, 2))
