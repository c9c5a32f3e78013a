"""A link goes in through a public API, and what is behind it comes out."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from uuid import uuid4

from tests.site import pictures
from tests.support.system import longshore


def unique(suffix: str = ".bin") -> str:
    return f"{uuid4().hex}{suffix}"


async def fetched(http, link: str) -> bytes:
    async with http.session.get(link) as answer:
        assert answer.status == 200
        return await answer.read()


async def test_a_direct_file_is_fetched_once_stored_and_served_with_the_right_hash(user, site):
    name = unique()
    async with user.http() as http:
        job = await http.ended(await http.submit(site.file(300_000, name)))
        body = await fetched(http, job["s3_url"])

    assert (job["status"], job["file_size"], job["s3_key"]) == ("Completed", 300_000, name)
    assert hashlib.sha256(body).hexdigest() == site.sha256(300_000, name)
    assert len(site.hits(f"/file/300000/{name}")) == 1


async def test_a_video_page_goes_through_yt_dlp_and_what_it_says_of_the_film_is_shown(user, site, tmp_path: Path):
    async with user.http() as http:
        job = await http.ended(await http.submit(site.url("/watch/jsonld")))
        body = await fetched(http, job["s3_url"])

    assert (job["description"], job["release_date"]) == ("What it is about.", "2026-01-31")
    assert hashlib.sha256(body).hexdigest() == site.media("clip.mp4").sha256


async def test_an_hls_stream_becomes_one_file_with_the_same_pictures(user, site, tmp_path: Path):
    async with user.http() as http:
        job = await http.ended(await http.submit(site.url("/hls/clip.m3u8")))
        (tmp_path / "hls.mp4").write_bytes(await fetched(http, job["s3_url"]))
    (tmp_path / "clip.mp4").write_bytes(site.media("clip.mp4").body)

    assert pictures(tmp_path / "hls.mp4") == pictures(tmp_path / "clip.mp4")


async def test_a_stream_that_has_not_begun_is_waited_for_by_who_says_no_more_than_that(user, site, tmp_path: Path):
    """Its manifest is not there when it is first asked for."""
    async with user.http() as http:
        job = await http.ended(await http.submit(site.url("/live/ending.m3u8", fail=404, times=2), wait_for_video=True))
        (tmp_path / "live.mp4").write_bytes(await fetched(http, job["s3_url"]))

    assert job["live_recording"] is True
    assert pictures(tmp_path / "live.mp4")


async def test_a_page_with_two_videos_is_one_job_with_two_files(user, site):
    async with user.http() as http:
        job = await http.ended(await http.submit(site.url("/watch/two")))
        _, counted = await http.gdluxx("GET", f"/jobs?ids={job['id']}")

    assert job["status"] == "Completed"
    assert counted["data"]["jobs"][0]["downloadCount"] == 2


async def test_galleries_go_through_gallery_dl(user):
    links = ["http://don.test/@alice", "http://booru.test/post?tags=cat", "http://chan.test/b/res/1.html"]
    async with user.http() as http:
        ids = [await http.submit(link) for link in links]
        jobs = [await http.ended(one) for one in ids]
        _, counted = await http.gdluxx("GET", f"/jobs?ids={','.join(ids)}")

    assert [(job["status"], job["error"]) for job in jobs] == [("Completed", None)] * 3
    assert [job["downloadCount"] for job in counted["data"]["jobs"]] == [5, 3, 3]


async def test_a_503_is_healed_without_the_user_noticing_and_shown_in_the_history(user, site):
    async with user.http() as http:
        job = await http.ended(await http.submit(site.file(20_000, unique(), fail=503, times=1)))

        assert job["status"] == "Completed"
        assert job["download_retries"] == 1
        assert "job.attempt_failed" in http.history(job["id"])


async def test_a_connection_that_breaks_half_way_is_resumed_from_the_byte_where_it_broke(user, site):
    name = unique()
    async with user.http() as http:
        job = await http.ended(await http.submit(site.file(3_000_000, name, cut=1_000_000, cut_times=1)))
        body = await fetched(http, job["s3_url"])

    hits = site.hits(f"/file/3000000/{name}")
    assert hashlib.sha256(body).hexdigest() == site.sha256(3_000_000, name)
    assert len(hits) == 2
    assert hits[1].start > 0


async def test_a_link_to_nothing_fails_at_once_with_a_reason(user, site):
    async with user.http() as http:
        job = await http.ended(await http.submit(site.url("/status/404")))

    assert (job["status"], job["error_type"]) == ("Warning", "warning")
    assert "nothing behind this link" in job["error"]


async def test_a_redirect_to_a_private_address_is_refused(user, site):
    async with user.http() as http:
        job = await http.ended(await http.submit(site.url("/redirect", to="http://169.254.169.254/latest")))

    assert job["status"] == "Failed"
    assert "public internet" in job["error"]


async def test_a_name_that_climbs_ends_inside_its_owners_folder(user, system, site):
    async with user.http() as http:
        link = site.file(1000, unique(), disposition="attachment; filename=../../../etc/passwd")
        job = await http.ended(await http.submit(link, folder="a/b"))

    assert job["s3_key"] == "passwd"
    kept = [path for path in (system.data / "files").rglob("passwd*") if path.is_file()]
    assert kept
    assert all(path.parent.name == "b" and path.parent.parent.name == "a" for path in kept)


async def test_two_hundred_links_in_one_call_all_arrive(user, site):
    names = [unique() for _ in range(200)]
    async with user.http() as http:
        status, answer = await http.gdluxx("POST", "/external", {"urls": [site.file(2000, name) for name in names]})
        ids = [one["jobId"] for one in answer["data"]["results"]]

        assert status == 200
        assert [one["url"] for one in answer["data"]["results"]] == [site.file(2000, name) for name in names]

        async with asyncio.timeout(90):
            while True:
                done = []
                for start in (0, 100):
                    _, page = await http.gdluxx("GET", f"/jobs?ids={','.join(ids[start : start + 100])}")
                    done += [job["status"] for job in page["data"]["jobs"]]
                assert len(done) == 200  # an accepted id is never missing
                if all(one != "running" for one in done):
                    break
                await asyncio.sleep(0.2)  # the interval of a polling client

    assert done == ["success"] * 200


async def test_served_files_honour_ranges_and_refuse_what_was_tampered_with(user, site):
    name = unique()
    async with user.http() as http:
        job = await http.ended(await http.submit(site.file(10_000, name)))
        link = job["s3_url"]
        whole = await fetched(http, link)
        async with http.session.get(link, headers={"Range": "bytes=100-199"}) as part:
            assert (part.status, part.headers["Content-Range"]) == (206, "bytes 100-199/10000")
            assert await part.read() == whole[100:200]
            etag = part.headers["ETag"]
        async with http.session.get(link, headers={"Range": "bytes=-5", "If-Range": '"other"'}) as changed:
            assert changed.status == 200
        async with http.session.get(link, headers={"Range": "bytes=-5", "If-Range": etag}) as tail:
            assert await tail.read() == whole[-5:]
        async with http.session.get(link, headers={"Range": "bytes=10000-"}) as beyond:
            assert beyond.status == 416
        async with http.session.head(link) as head:
            assert (head.status, head.headers["Content-Length"]) == (200, "10000")
            assert head.headers["Content-Disposition"].startswith("attachment")
            assert head.headers["X-Content-Type-Options"] == "nosniff"
        tampered = link.replace(f"/{name}", f"x/{name}")
        async with http.session.get(tampered) as forged:
            assert forged.status == 404


async def test_get_from_the_terminal_waits_and_prints_what_came(system, site):
    name = unique()
    out = await asyncio.to_thread(longshore, "get", site.file(5000, name), "--json", data=system.data)

    history = await asyncio.to_thread(longshore, "history", json.loads(out)["job_id"], data=system.data)

    assert f'"files":["{name}"]' in out
    assert history.splitlines()[-1].split()[2] == "job.completed"
    assert name in await asyncio.to_thread(longshore, "jobs", data=system.data)
    events = await asyncio.to_thread(longshore, "events", data=system.data)
    assert '"type": "job.completed"' in events
