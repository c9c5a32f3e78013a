"""What is kept of a job's files, how it is served, and what their owner gives up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.support.system import System, running, stored


@pytest.fixture(scope="module")
def picky(tmp_path_factory, site, installed) -> Iterator[System]:
    """An installation that keeps nothing but PNG, in folders of its own."""
    settings: dict[str, Any] = {
        "LONGSHORE_EXTENSIONS": "png",
        "LONGSHORE_FOLDERS": "{site}/{uploader}/{date}",
        "LONGSHORE_GALLERY_INSTANCES": "mastodon=http://don.test",
    }
    with running(installed.at(tmp_path_factory.mktemp("picky") / "data"), site.egress_allow, **settings) as one:
        yield one


async def test_a_file_that_is_given_up_leaves_the_disk_and_its_link_while_the_job_stays(user, other, system, site):
    name = f"{uuid4().hex}.bin"
    async with user.http() as http, other.http() as stranger:
        job = await http.ended(await http.submit(site.file(1000, name)))
        foreign, _ = await stranger.jobs("DELETE", f"/jobs/{job['id']}/file")
        status, _ = await http.jobs("DELETE", f"/jobs/{job['id']}/file")
        after = await http.show(job["id"])
        async with asyncio.timeout(60):
            while list((system.data / "files").rglob(name)):
                await asyncio.sleep(0.02)  # storage hears of it a moment later
        async with http.session.get(job["s3_url"]) as answer:
            link = answer.status
        history = http.history(job["id"])

    assert (foreign, status, link) == (404, 200, 404)
    assert (after["status"], after["s3_url"], after["s3_key"]) == ("Completed", None, None)
    assert history[-1] == "job.files_deleted"


async def test_what_two_jobs_fetched_is_on_the_disk_once_and_belongs_to_both(user, system, site):
    """One gives its file up, the other keeps it."""
    name = f"{uuid4().hex}.bin"
    async with user.http() as http:
        first = await http.ended(await http.submit(site.file(1000, name)))
        second = await http.ended(await http.submit(site.file(1000, name), filename="other"))
        paths = [stored(system)[name], stored(system)["other.bin"]]
        once = paths[0].samefile(paths[1])
        await http.jobs("DELETE", f"/jobs/{first['id']}/file")
        async with asyncio.timeout(60):
            while paths[0].exists():
                await asyncio.sleep(0.02)  # storage hears of it a moment later
        async with http.session.get((await http.show(second["id"]))["s3_url"]) as answer:
            status, size = answer.status, len(await answer.read())

    assert once
    assert (status, size) == (200, 1000)


async def test_a_file_of_a_kind_that_is_not_kept_fails_its_job_with_a_reason(user, system, site):
    name = f"{uuid4().hex}.exe"
    async with user.http() as http:
        job = await http.ended(await http.submit(site.file(1000, name)))

    assert (job["status"], job["error_type"], job["s3_key"]) == ("Warning", "warning", None)
    assert job["error"] == "files that end in .exe are not kept here"
    assert name not in stored(system)


async def test_in_a_gallery_only_what_is_not_kept_fails(picky):
    async with picky.user().http() as http:
        some = await http.ended(await http.submit("http://don.test/@alice"))
        none = await http.ended(await http.submit("http://don.test/@alice/78"))
        history = http.history(some["id"])

    assert (some["status"], none["status"]) == ("Completed", "Warning")
    assert (history.count("job.item_completed"), history.count("job.item_failed")) == (3, 2)
    kept = stored(picky).values()
    assert {path.suffix for path in kept} == {".png"}
    assert {path.parent.relative_to(path.parents[3]).parts for path in kept} == {("don_test", "alice", "2026-01-02")}


@pytest.mark.parametrize(
    ("name", "media_type", "served"),
    [
        ("a.svg", "image/svg+xml", "application/octet-stream"),
        ("b.pdf", "application/pdf", "application/pdf"),
        ("c.xml", "application/xml", "application/octet-stream"),
        ("d.txt", "text/html; charset=utf-8", "application/octet-stream"),
        ("e.txt", "text/javascript", "application/octet-stream"),
        ("f.png", "image/png", "image/png"),
        ("g.mp4", "video/mp4", "video/mp4"),
    ],
)
async def test_nothing_that_is_served_runs_in_a_browser(user, site, name, media_type, served):
    """Downloaded, never shown, in no origin, and as no type that a page could take for a script. What the site sends
    depends on the name alone: of other names one in some hundreds begins as a page does, and is taken for one."""
    async with user.http() as http:
        link = site.file(1000, f"served-{name}", type=media_type)
        job = await http.ended(await http.submit(link))
        assert job["status"] == "Completed", job
        async with http.session.get(job["s3_url"]) as answer:
            headers = answer.headers

    assert headers["Content-Type"] == served
    assert headers["Content-Disposition"].startswith("attachment;")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"].split("; ")
