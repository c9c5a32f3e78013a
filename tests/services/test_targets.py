"""Files that go to a storage of the user's own, through the jobs API."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import msgspec
import pytest

from tests.support.accounts import pooled
from tests.support.objects.s3 import Moto, moto


@pytest.fixture(scope="module")
def server() -> Iterator[Moto]:
    with moto() as one:
        yield one


@pytest.fixture
def bucket(server: Moto) -> dict[str, str]:
    """What a user tells of an S3 bucket that is this test's own."""
    told = msgspec.to_builtins(server.bucket().credentials)
    del told["provider"]
    return {name: value for name, value in told.items() if value is not None}


async def test_a_file_goes_to_the_users_own_storage_and_its_link_leads_there(user, site, bucket):
    name = f"{uuid4().hex}.bin"
    async with user.http() as http:
        status, answer = await http.jobs("POST", "/user/s3", {**bucket, "folder_prefix": "mine"})
        job = await http.ended(await http.submit(site.file(300_000, name), folder="a"))
        async with http.session.get(job["s3_url"]) as there:
            body = await there.read()

    assert status == 200
    assert answer == {
        "message": "S3 storage configured successfully",
        "provider": "s3",
        "container_or_bucket": bucket["bucket"],
        "folder_prefix": "mine",
    }
    assert (job["status"], job["storage_provider"], job["s3_bucket"]) == ("Completed", "s3", bucket["bucket"])
    assert job["s3_key"] == f"mine/videos/a/{name}"
    assert job["s3_url"].startswith(bucket["endpoint"])
    assert hashlib.sha256(body).hexdigest() == site.sha256(300_000, name)


async def test_what_was_fetched_for_a_link_is_read_from_the_users_own_storage(system, user, hosts, bucket):
    gator = hosts.host("rapidgator")
    file = gator.add_file("größe.mkv", 300_000)
    async with system.operator() as (_, caller), pooled(caller, gator), user.http() as http:
        await http.jobs("POST", "/user/s3", bucket)
        link = (await http.unrestricted(file.url))["link"]
        async with http.session.get(link, allow_redirects=False) as sent_on:
            where = sent_on.headers["Location"]
        async with http.session.get(link, headers={"Range": "bytes=100-299999"}) as there:
            body = await there.read()

    assert sent_on.status == 302
    assert where.startswith(bucket["endpoint"])
    assert (there.status, len(body)) == (206, 299_900)


async def test_folders_in_a_storage_are_named_after_the_file(user, site, bucket):
    name = f"{uuid4().hex}.bin"
    async with user.http() as http:
        wrong, _ = await http.jobs("POST", "/user/s3", {**bucket, "folder_prefix": "{colour}"})
        await http.jobs("POST", "/user/s3", {**bucket, "folder_prefix": "from {site}", "base_folder": "{uploader}"})
        job = await http.ended(await http.submit(site.file(1000, name, "files.test"), folder="a"))

    assert wrong == 400
    assert job["s3_key"] == f"from files.test/unknown/a/{name}"


async def test_two_files_of_one_name_are_both_kept(user, site, bucket):
    name = f"{uuid4().hex}.bin"
    async with user.http() as http:
        await http.jobs("POST", "/user/s3", bucket)
        first = await http.ended(await http.submit(site.file(1000, name)))
        second = await http.ended(await http.submit(site.file(2000, name)))

    assert first["s3_key"] == f"videos/{name}"
    assert second["s3_key"] == f"videos/{name.removesuffix('.bin')} (2).bin"


async def test_what_is_configured_is_shown_without_its_secret_until_it_is_removed(user, bucket):
    async with user.http() as http:
        before = await http.jobs("GET", "/user/s3")
        await http.jobs("POST", "/user/s3", bucket)
        _, shown = await http.jobs("GET", "/user/s3")
        removed = await http.jobs("DELETE", "/user/s3")
        after = await http.jobs("GET", "/user/s3")
        again, _ = await http.jobs("DELETE", "/user/s3")

    assert before == after == (200, {"configured": False})
    assert (shown["configured"], shown["provider"], shown["container_or_bucket"]) == (True, "s3", bucket["bucket"])
    assert bucket["secret_key"] not in str(shown)
    assert removed == (200, {"message": "S3 storage removed successfully"})
    assert again == 404


async def test_what_is_kept_in_a_storage_is_reached_with_the_keys_that_were_told_last(user, site, server, bucket):
    """Changed in one call, or removed and configured anew; the old ones are no longer good."""

    def signer(job: dict) -> str | None:
        return job["s3_url"] and parse_qs(urlsplit(job["s3_url"]).query)["X-Amz-Credential"][0].partition("/")[0]

    async with user.http() as http:
        await http.jobs("POST", "/user/s3", {**bucket, "access_key": "AKIAFIRST"})
        job_id = (await http.ended(await http.submit(site.file(1000, f"{uuid4().hex}.bin"))))["id"]
        elsewhere = msgspec.to_builtins(server.bucket().credentials)["bucket"]
        signers = [signer(await http.show(job_id))]
        for step in ({"access_key": "AKIASECOND"}, None, {"access_key": "AKIATHIRD"}, {"bucket": elsewhere}, None):
            await http.jobs(*(("DELETE", "/user/s3") if step is None else ("POST", "/user/s3", {**bucket, **step})))
            signers.append(signer(await http.show(job_id)))
        await http.ended(await http.submit(site.file(1000, f"{uuid4().hex}.bin"), storage={**bucket, "provider": "s3"}))
        signers.append(signer(await http.show(job_id)))

    assert signers == ["AKIAFIRST", "AKIASECOND", None, "AKIATHIRD", "AKIATHIRD", None, None]


async def test_a_storage_that_does_not_work_is_not_kept(user, bucket):
    async with user.http() as http:
        wrong = await http.jobs("POST", "/user/s3", {**bucket, "bucket": "no-such-bucket"})
        incomplete = await http.jobs("POST", "/user/s3", {"bucket": "x"})
        inside = await http.jobs("POST", "/user/s3", {**bucket, "endpoint": "http://169.254.169.254"})
        azure = await http.jobs("POST", "/user/blob", {"account_name": "account", "container": "box"})
        kept = await http.jobs("GET", "/user/s3")

    assert wrong == (400, {"error": "Verification failed: there is no such bucket or container"})
    assert incomplete == (422, {"error": "Object missing required field `endpoint`"})
    assert inside == (400, {"error": "Verification failed: the storage service's address may not be reached from here"})
    assert azure == (400, {"error": "Either account_key or sas_token must be provided"})
    assert kept == (200, {"configured": False})


async def test_a_storage_that_is_told_with_a_job_is_for_that_job_alone(user, site, bucket):
    async with user.http() as http:
        there = await http.ended(
            await http.submit(site.file(1000, f"{uuid4().hex}.bin"), storage={**bucket, "provider": "s3"})
        )
        here = await http.ended(await http.submit(site.file(1000, f"{uuid4().hex}.bin")))
        refused = await http.jobs(
            "POST",
            "/jobs",
            {"url": site.file(1000, "x.bin"), "storage": {**bucket, "provider": "s3", "bucket": "nope"}},
        )
        history = http.history(there["id"])

    assert (there["storage_provider"], here["storage_provider"]) == ("s3", "local")
    assert refused[0] == 400
    assert history[-1] == "job.completed"


async def test_links_that_come_again_with_their_storage_are_answered_as_before_though_that_is_gone(
    user, site, server, bucket
):
    links = {"jobs": [{"url": site.file(1000, f"{uuid4().hex}.bin")}], "paused": True}
    storage, key = {**bucket, "provider": "s3"}, uuid4().hex
    async with user.http() as http:
        first = await http.jobs("POST", "/jobs/bulk", {**links, "storage": storage}, x_idempotency_key=key)
        server.client("s3").delete_bucket(Bucket=bucket["bucket"])
        again = await http.jobs("POST", "/jobs/bulk", {**links, "storage": storage}, x_idempotency_key=key)
        other = await http.jobs(
            "POST", "/jobs/bulk", {**links, "storage": {**storage, "secret_key": "another"}}, x_idempotency_key=key
        )

    assert again == (201, {**first[1], "cached": True})
    assert other[0] == 409


async def test_a_file_in_object_storage_that_is_given_up_is_gone_from_there(user, site, bucket):
    async with user.http() as http:
        await http.jobs("POST", "/user/s3", bucket)
        job = await http.ended(await http.submit(site.file(1000, f"{uuid4().hex}.bin")))
        status, answer = await http.jobs("DELETE", f"/jobs/{job['id']}/file")

        found = 200
        async with asyncio.timeout(60):
            while found == 200:  # storage hears of it a moment later
                async with http.session.get(job["s3_url"]) as there:
                    found = there.status

    assert (status, answer["deleted_key"]) == (200, job["s3_key"])
    assert found in (403, 404)  # a link to nothing tells who may not list the bucket no more than that


async def test_a_storage_that_disappears_is_said_and_tried_again_without_fetching_again(user, site, server, bucket):
    name = f"{uuid4().hex}.bin"
    s3 = server.client("s3")
    async with user.http() as http:
        await http.jobs("POST", "/user/s3", bucket)
        await asyncio.to_thread(s3.delete_bucket, Bucket=bucket["bucket"])
        job_id = await http.submit(site.file(50_000, name))
        await http.until(job_id, lambda job: job["download_retries"] > 0 and job["status"] == "Pending")
        kept = [path for path in (user.system.data / "work" / job_id).rglob("*") if path.is_file()]
        await asyncio.to_thread(s3.create_bucket, Bucket=bucket["bucket"])
        job = await http.ended(job_id)
        history = await asyncio.to_thread(http.history, job_id)

    assert kept
    assert (job["status"], job["storage_provider"]) == ("Completed", "s3")
    assert "job.attempt_failed" in history
    assert sum(hit.sent for hit in site.hits(f"/file/50000/{name}")) < 100_000
