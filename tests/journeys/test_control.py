"""Pausing, cancelling, retrying; who sees what; sockets that come back; answers to what is wrong."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import aiohttp
import pytest

from libs.message import new_id
from proto import job as p
from proto.auth import ReadUser, User
from tests.support.system import ROOT, longshore


def unique(suffix: str = ".bin") -> str:
    return f"{uuid4().hex}{suffix}"


async def command(system, message) -> None:
    """As an operator's program gives it: no dialect that exists has pause."""
    async with system.operator() as (_, caller):
        await caller.command(message, actor="operator")


def state_is(*states):
    return lambda job: job["status"] in states


async def test_a_paused_job_goes_on_from_the_byte_where_it_stopped(user, system, site):
    name, gate = unique(), uuid4().hex
    async with user.http() as http:
        job_id = await http.submit(site.file(4_000_000, name, gate=gate, gate_at=2_000_000))
        await site.reached(gate)
        await http.until(job_id, lambda job: job["step"] == "Downloading")
        await command(system, p.PauseJob(owner=None, job_id=UUID(job_id)))
        paused = await http.until(job_id, state_is("Pending"))
        await site.release(gate)
        await command(system, p.ResumeJob(owner=None, job_id=UUID(job_id)))
        job = await http.ended(job_id)
        async with http.session.get(job["s3_url"]) as answer:
            body = await answer.read()

    assert paused["status"] == "Pending"
    assert job["status"] == "Completed"
    assert hashlib.sha256(body).hexdigest() == site.sha256(4_000_000, name)
    assert max(hit.start for hit in site.hits(f"/file/4000000/{name}")) > 0


async def test_a_running_job_can_be_cancelled_and_retried_under_a_new_id(user, site):
    name, gate = unique(), uuid4().hex
    async with user.http() as http:
        job_id = await http.submit(site.file(1_000_000, name, gate=gate, gate_at=1000))
        await site.reached(gate)
        status, answer = await http.jobs("DELETE", f"/jobs/{job_id}")
        cancelled = await http.show(job_id)
        await site.release(gate)
        again_status, again = await http.jobs("POST", f"/jobs/{job_id}/retry")
        job = await http.ended(again["job_id"])

    assert (status, answer["message"]) == (200, "Job cancelled successfully")
    assert (cancelled["status"], cancelled["step"], cancelled["error"]) == (
        "Failed",
        "Cancelled",
        "Job cancelled by user",
    )
    assert (again_status, again["original_job_id"]) == (201, job_id)
    assert job["status"] == "Completed"


CANCELLED_WHEN = ("held", "deferred", "waiting for another try", "resolving", "downloading", "paused")


@pytest.mark.parametrize("when", CANCELLED_WHEN)
async def test_a_job_can_be_cancelled_in_every_state_it_can_wait_in_and_is_fetched_no_more(when, user, system, site):
    name, gate = unique(), uuid4().hex
    gated: dict[str, dict[str, Any]] = {
        "waiting for another try": {"fail": 503, "retry_after": 3600},
        "resolving": {"gate": gate, "gate_at": "head"},
        "downloading": {"gate": gate, "gate_at": 500_000},
        "paused": {"gate": gate, "gate_at": 500_000},
    }
    knobs = gated.get(when, {})
    later = datetime.now(UTC) + timedelta(hours=1)
    request = p.Request(
        job_id=new_id(),
        url=site.file(1_000_000, name, **knobs),
        held=when == "held",
        not_before=later if when == "deferred" else None,
    )
    async with system.operator() as (_, caller), user.http() as http:
        me = await caller.query(ReadUser(username=user.name), result=User)
        await caller.command(p.SubmitJobs(owner=me.user_id, dialect="cli", requests=(request,)))
        job_id = str(request.job_id)
        await http.appeared(job_id)
        if when == "waiting for another try":
            await http.until(job_id, lambda job: job["download_retries"] > 0)
        elif gate in str(knobs):
            await site.reached(gate)
        if when in ("downloading", "paused"):
            await http.until(job_id, lambda job: job["step"] == "Downloading")
        if when == "paused":
            await caller.command(p.PauseJob(owner=None, job_id=request.job_id))
        status, _ = await http.jobs("DELETE", f"/jobs/{job_id}")
        job = await http.show(job_id)
        asked = len(site.hits(f"/file/1000000/{name}"))
        await http.ended(await http.submit(site.file(1000, unique())))
        history = http.history(job_id)

    assert (status, job["step"], job["error"]) == (200, "Cancelled", "Job cancelled by user")
    assert history[-1] == "job.cancelled"
    assert len(site.hits(f"/file/1000000/{name}")) == asked


async def test_a_cancelled_job_leaves_nothing_in_the_work_folder(user, system, site):
    gates = [uuid4().hex for _ in range(2)]
    async with user.http() as http:
        running, paused = [
            await http.submit(site.file(1_000_000, unique(), gate=gate, gate_at=500_000)) for gate in gates
        ]
        for gate, job_id in zip(gates, (running, paused), strict=True):
            await site.reached(gate)
            await http.until(job_id, lambda job: job["step"] == "Downloading")
        await command(system, p.PauseJob(owner=None, job_id=UUID(paused)))
        await http.until(paused, state_is("Pending"))
        folders = [system.data / "work" / job_id for job_id in (running, paused)]
        assert all(folder.exists() for folder in folders)
        for job_id in (running, paused):
            await http.jobs("DELETE", f"/jobs/{job_id}")
        async with asyncio.timeout(60):
            while any(folder.exists() for folder in folders):
                await asyncio.sleep(0.02)  # a folder has no signal for its end


async def test_a_job_that_has_ended_can_neither_be_cancelled_nor_retried(user, site):
    async with user.http() as http:
        job = await http.ended(await http.submit(site.file(1000, unique())))

        assert (await http.jobs("DELETE", f"/jobs/{job['id']}"))[0] == 400
        assert (await http.jobs("POST", f"/jobs/{job['id']}/retry"))[0] == 400


async def test_a_repeated_submission_with_its_key_is_one_job(user, site):
    link = site.file(1000, unique())
    async with user.http() as http:
        first = await http.jobs("POST", "/jobs", {"url": link}, x_idempotency_key="k1")
        again = await http.jobs("POST", "/jobs", {"url": link}, x_idempotency_key="k1")
        clash = await http.jobs("POST", "/jobs", {"url": link + "?other"}, x_idempotency_key="k1")
        _, page = await http.jobs("GET", "/jobs")

    assert first[0] == again[0] == 201
    assert first[1]["job_id"] == again[1]["job_id"]
    assert again[1]["cached"] is True
    assert clash[0] == 409
    assert page["total"] == 1


async def test_two_users_never_see_each_others_jobs(user, other, site):
    async with user.http() as mine, other.http() as theirs, theirs.socket() as socket:
        job_id = await mine.submit(site.file(1000, unique()))
        await mine.ended(job_id)
        own = await theirs.submit(site.file(1000, unique()))
        await socket.until(lambda frame: frame["type"] == "download_completed")
        _, page = await theirs.jobs("GET", "/jobs")
        _, polled = await theirs.gdluxx("GET", f"/jobs?ids={job_id},{own}")

        assert (await theirs.jobs("GET", f"/jobs/{job_id}"))[0] == 404
        assert (await theirs.jobs("DELETE", f"/jobs/{job_id}"))[0] == 404
    assert [job["id"] for job in page["jobs"]] == [own]
    assert [job["id"] for job in polled["data"]["jobs"]] == [own]
    seen = {frame["data"].get("url") or frame["data"].get("item", {}).get("url") for frame in socket.frames}
    assert not any(url and job_id in url for url in seen)


async def test_one_job_is_seen_in_every_dialect(user, site):
    async with user.http() as http, http.socket() as socket:
        _, answer = await http.gdluxx("POST", "/external", {"urlToProcess": site.file(1000, unique())})
        job_id = answer["data"]["results"][0]["jobId"]
        done = await socket.until(lambda frame: frame["type"] == "download_completed")
        shown = await http.show(job_id)
        _, polled = await http.gdluxx("GET", f"/jobs?ids={job_id}")

    assert shown["status"] == "Completed"
    assert polled["data"]["jobs"][0]["status"] == "success"
    assert done["data"]["status"] == "completed"


async def test_a_socket_that_was_cut_off_misses_nothing(user, site):
    kinds = ("queue_updated", "download_completed")
    async with user.http() as http:
        async with http.socket() as socket:
            await http.submit(site.file(1000, unique()))
            last = await socket.until(lambda frame: frame["type"] == "download_completed")
        missed = [await http.submit(site.file(1000, unique())) for _ in range(3)]
        for job_id in missed:
            await http.ended(job_id)
        async with http.socket(since=last["token"]) as again:
            for _ in missed:
                await again.until(lambda frame: frame["type"] == "download_completed")

    frames = [frame for frame in again.frames if frame["type"] in kinds]
    tokens = [int(frame["token"].rpartition("~")[2]) for frame in frames]
    assert [frame["type"] for frame in frames].count("download_completed") == 3
    assert [frame["data"].get("action") for frame in frames].count("added") == 3
    assert tokens == sorted(tokens)


async def test_a_socket_without_a_good_token_is_closed_with_4401(system):

    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{system.url}/ws/downloads?token=nonsense") as one,
    ):
        await one.receive()

        assert one.close_code == 4401


HOSTILE = [
    "ftp://example.com/a",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "http://user:secret@example.com/",
    "http://10.0.0.1/",
    "http://169.254.169.254/latest/meta-data",
    "http://[::ffff:10.0.0.1]/",
    "http://[64:ff9b::0a00:1]/",
    "http://167772161/",
    "http://0x0a000001/",
    "http://012.0.0.1/",
    "http://example.com/a\r\nHost: evil",
    "http://example.com/a b",
    "http://example.com/#__youtubedl_smuggle=%7B%7D",
    "http://",
    "ytsearch5:cats",
    "http://" + "a" * 9000 + ".com/",
]


@pytest.mark.parametrize("link", HOSTILE, ids=range(len(HOSTILE)))
async def test_a_hostile_link_is_refused_and_nothing_is_stored(user, link):
    async with user.http() as http:
        status, answer = await http.jobs("POST", "/jobs", {"url": link})
        wide, extension = await http.gdluxx("POST", "/external", {"urls": [link]})
        _, page = await http.jobs("GET", "/jobs")

    assert (status, set(answer)) == (400, {"error"})
    assert wide == 400 or extension["data"]["results"][0]["success"] is False
    assert page["total"] == 0


WRONG = [
    ("POST", "/jobs", "not json", 400, {"error"}),
    ("POST", "/jobs", {"url": 5}, 422, {"error"}),
    ("POST", "/jobs", {}, 422, {"error"}),
    ("POST", "/jobs", {"url": "http://example.com/", "clip_start": "soon"}, 400, {"error"}),
    ("GET", "/jobs/nonsense", None, 400, {"error"}),
    ("GET", f"/jobs/{UUID(int=1)}", None, 404, {"error"}),
    ("PUT", "/jobs", None, 405, {"error"}),
    ("GET", "/nothing/here", None, 404, {"error"}),
    ("POST", "/jobs", "x" * (2 << 20), 413, {"error"}),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "keys"), WRONG, ids=range(len(WRONG)))
async def test_what_is_wrong_is_answered_in_the_shape_of_the_jobs_dialect(user, method, path, body, status, keys):
    async with user.http() as http:
        found, answer = await http.jobs(method, path, body)

    assert (found, set(answer)) == (status, keys)


async def test_a_client_that_reads_no_answer_before_it_has_sent_thirty_megabytes_hears_that_they_are_too_many(user):
    def posted() -> tuple[int, bytes]:
        with closing(HTTPConnection(urlsplit(user.system.url).netloc, timeout=60)) as plain:
            plain.request("POST", "/jobs", b"x" * 30_000_000, {"x-api-key": user.keys["jobs"]})
            answer = plain.getresponse()
            return answer.status, answer.read()

    assert await asyncio.to_thread(posted) == (413, b'{"error":"Request body is too large"}')


async def test_the_extension_hears_errors_in_its_own_shape_with_cors(user):
    async with user.http() as http:
        cases = [
            await http.call("POST", "/api/extension/external", {}),
            await http.call("POST", "/api/extension/external", {}, authorization="Bearer "),
            await http.call("POST", "/api/extension/external", {}, authorization="Bearer sk_wrong_key_for_sure"),
            await http.gdluxx("POST", "/external", "nope"),
            await http.gdluxx("POST", "/external", "[]"),
            await http.gdluxx("POST", "/external", {}),
            await http.gdluxx("POST", "/external", {"urls": ["nope"]}),
            await http.gdluxx("POST", "/external", {"urls": ["http://example.com/"] * 201}),
            await http.gdluxx("GET", "/jobs"),
            await http.gdluxx("GET", "/nothing"),
        ]
        async with http.session.options(
            f"{http.url}/api/extension/external", headers={"Origin": "moz-extension://abc"}
        ) as preflight:
            assert preflight.status == 204
            assert preflight.headers["Access-Control-Allow-Origin"] == "moz-extension://abc"
            assert preflight.headers["Access-Control-Allow-Private-Network"] == "true"

    assert [(status, answer["error"]) for status, answer in cases[:9]] == [
        (401, "Authorization header with Bearer token is required"),
        (400, "Bearer token cannot be empty"),
        (401, "Invalid API key"),
        (400, "Invalid request body. Expected valid JSON."),
        (400, "Invalid request body. Expected a JSON object."),
        (400, "Missing required field: urlToProcess or urls"),
        (400, "Invalid URL format. Must be HTTP or HTTPS"),
        (400, "Too many URLs. Max allowed is 200."),
        (400, "Invalid or missing ids parameter (comma-separated, max 100)."),
    ]
    assert cases[9][0] == 404
    assert cases[9][1]["success"] is False


async def test_the_web_interface_hears_errors_in_its_own_shape(user):
    async with user.http() as http:
        wrong = await http.call("POST", "/api/v1/auth/login", {"username": user.name, "password": "wrong"})
        bad = await http.call("POST", "/api/v1/auth/login", {"username": 5})
        nobody = await http.call("GET", "/api/v1/auth/me")
        lost = await http.call("GET", "/api/v1/nothing")

    assert [one[0] for one in (wrong, bad, nobody, lost)] == [401, 422, 401, 404]
    assert all(set(one[1]) == {"detail", "error_code", "timestamp", "request_id"} for one in (wrong, bad, nobody, lost))


async def test_a_session_is_refreshed_and_a_stolen_token_ends_it(user):
    async with user.http() as http:
        _, session = await http.call(
            "POST", "/api/v1/auth/login", {"username": user.name, "password": "a-password-for-tests"}
        )
        first = session["refresh_token"]
        _, second = await http.call("POST", "/api/v1/auth/refresh", {"refresh_token": first})
        again, _ = await http.call("POST", "/api/v1/auth/refresh", {"refresh_token": first})
        newer, _ = await http.call("POST", "/api/v1/auth/refresh", {"refresh_token": second["refresh_token"]})
        reused, _ = await http.call("POST", "/api/v1/auth/refresh", {"refresh_token": first})
        after, _ = await http.call("POST", "/api/v1/auth/refresh", {"refresh_token": second["refresh_token"]})
        async with asyncio.timeout(60):
            # The gateway hears of the session's end a moment later.
            while (await http.call("GET", "/api/v1/auth/me", authorization=f"Bearer {second['access_token']}"))[
                0
            ] != 401:
                await asyncio.sleep(0.01)  # the interval of a polling client

    assert (again, newer, reused, after) == (200, 200, 401, 401)


@pytest.mark.parametrize("path", ["/jobs", "/jobs/", "/api/jobs/jobs"])
async def test_a_person_who_opens_the_list_of_jobs_is_not_answered_as_a_program(system, path):
    """Nor is a program as a person: one with a key, or that would take anything."""
    accepts = ["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "*/*", "application/json"]
    async with aiohttp.ClientSession() as session:
        answers = []
        for headers in [
            *({"Accept": one} for one in accepts),
            {"Accept": accepts[0], "x-api-key": "sk_no-key-of-ours"},
        ]:
            async with session.get(system.url + path, headers=headers) as answer:
                answers.append((answer.status, answer.headers["Content-Type"]))

    assert answers == [(200, "text/html; charset=utf-8"), *[(401, "application/json")] * 3]


async def test_a_second_start_on_the_same_folder_says_so_and_stops(system):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services", "up", "--data", str(system.data), "--port", "1",
        cwd=ROOT, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await process.communicate()

    assert process.returncode == 1
    assert "already" in said.decode()


async def test_metrics_and_readiness_are_served(system):

    async with aiohttp.ClientSession() as session:
        async with session.get(f"{system.url}/readyz") as ready:
            assert await ready.json() == {"status": "ready", "missing": {}}
        async with session.get(f"{system.url}/metrics") as metrics:
            assert "longshore_calls_total" in await metrics.text()


def test_doctor_finds_nothing_wrong(system):
    assert "BAD" not in longshore("doctor", data=system.data)
