"""What the owner of a job gives up."""

from __future__ import annotations

import asyncio
from uuid import uuid4


async def test_a_file_that_is_given_up_leaves_the_disk_and_its_link_while_the_job_stays(user, other, system, site):
    name = f"{uuid4().hex}.bin"
    async with user.http() as http, other.http() as stranger:
        job = await http.ended(await http.submit(site.file(1000, name)))
        foreign, _ = await stranger.jobs("DELETE", f"/jobs/{job['id']}/file")
        status, _ = await http.jobs("DELETE", f"/jobs/{job['id']}/file")
        after = await http.show(job["id"])
        async with asyncio.timeout(20):
            while list((system.data / "files").rglob(name)):
                await asyncio.sleep(0.02)  # storage hears of it a moment later
        async with http.session.get(job["s3_url"]) as answer:
            link = answer.status
        history = http.history(job["id"])

    assert (foreign, status, link) == (404, 200, 404)
    assert (after["status"], after["s3_url"], after["s3_key"]) == ("Completed", None, None)
    assert history[-1] == "job.files_deleted"
