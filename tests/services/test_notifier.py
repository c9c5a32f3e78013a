"""Webhooks as their receivers see them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID, uuid4

import pytest

from proto.auth import ReadUser, User
from proto.notifier import ReadDeliveries, ReadWebhookSecret
from tests.support.receiver import PATIENCE, Post, receiving
from tests.support.sure import sure

SIGNATURE = "X-Tornado-Signature"


async def secret_of(user) -> str:
    async with user.system.operator() as (_, caller):
        known = await caller.query(ReadUser(username=user.name), result=User)
        return await caller.query(ReadWebhookSecret(owner=known.user_id), result=str)


async def attempts_of(user, job_id: str, count: int) -> list[dict]:
    """Once `count` are recorded: that comes after the receiver's answer."""
    async with user.system.operator() as (_, caller), asyncio.timeout(30):
        while True:
            found = await caller.query(ReadDeliveries(owner=None, job_id=UUID(job_id)), result=list[dict])
            if len(found) >= count:
                return found
            await asyncio.sleep(0.05)  # the interval of a polling client


class Silent:
    """A receiver that takes everything and answers nothing."""

    def __init__(self) -> None:
        self.given_up = 0
        """Connections that were closed from the other side."""
        self._over = asyncio.Event()
        self._came = 0
        self._changed = asyncio.Condition()
        self._listening: set[asyncio.Task[object]] = set()

    @asynccontextmanager
    async def receiving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._listen, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        finally:
            self._over.set()
            server.close()
            if self._listening:
                await asyncio.wait(self._listening, timeout=PATIENCE)

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = sure(asyncio.current_task())
        self._listening.add(task)
        task.add_done_callback(self._listening.discard)
        async with self._changed:
            self._came += 1
            self._changed.notify_all()
        over = asyncio.create_task(self._over.wait())
        gone = asyncio.create_task(reader.read())
        await asyncio.wait((over, gone), return_when=asyncio.FIRST_COMPLETED)
        self.given_up += not self._over.is_set()
        gone.cancel()
        over.cancel()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: self._came >= count)


def signed(post: Post, secret: str) -> bool:
    """As a receiver checks it: HMAC-SHA256 over `<t>.<raw body>`."""
    stamp, mac = (part.partition("=")[2] for part in post.headers[SIGNATURE].split(","))
    wanted = hmac.new(secret.encode(), f"{stamp}.".encode() + post.body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mac, wanted)


async def test_a_completed_job_is_told_to_its_webhook_with_a_signature(user, site):
    name = f"{uuid4().hex}.bin"
    async with receiving() as receiver, user.http() as http:
        job_id = await http.submit(site.file(1000, name), webhook_url=f"{receiver.url}/hook", folder="a/b")
        post = (await receiver.until(1))[0]
        attempts = await attempts_of(user, job_id, 1)
        secret = await secret_of(user)
        link = json.loads(post.body)["s3_url"]
        async with http.session.get(link) as file:
            size = len(await file.read())

    assert size == 1000
    assert json.loads(post.body) == {
        "type": "job_completed",
        "status": "completed",
        "job_id": job_id,
        "url": site.file(1000, name),
        "folder": "a/b",
        "title": name,
        "description": None,
        "release_date": None,
        "key": name,
        "s3_key": name,
        "subtitle_key": None,
        "s3_url": link,
        "file_size_bytes": 1000,
        "items": 1,
    }
    assert signed(post, secret)
    assert secret.startswith("whsec_")
    assert [(one["number"], one["outcome"], one["status"]) for one in attempts] == [(1, "delivered", 200)]


@pytest.mark.parametrize(
    ("path", "knobs", "kind", "status"),
    [
        ("/redirect", {"to": "http://169.254.169.254/"}, "job_failed", "failed"),
        ("/status/404", {}, "job_warning", "warning"),
    ],
)
async def test_a_failed_job_is_told_too_and_what_the_site_does_not_have_as_a_warning(
    path: str, knobs: dict[str, str], kind: str, status: str, user, site
):
    async with receiving() as receiver, user.http() as http:
        job_id = await http.submit(site.url(path, **knobs), webhook_url=receiver.url)
        told = json.loads((await receiver.until(1))[0].body)

    assert (told["type"], told["status"], told["job_id"]) == (kind, status, job_id)
    assert told["error"]


async def test_a_webhook_that_asked_for_progress_hears_of_every_stage(user, site):
    async with receiving() as receiver, user.http() as http:
        job_id = await http.submit(
            site.file(1000, f"{uuid4().hex}.bin"), webhook_url=receiver.url, enable_progress_webhook=True
        )
        told = [json.loads(post.body) for post in await receiver.until(5)]

    progress = {one["stage"]: one["progress_percent"] for one in told if one["type"] == "progress"}
    assert progress == {"downloading": 0, "download_complete": 33, "uploading": 66, "completed": 100}
    assert {one["job_id"] for one in told} == {job_id}
    assert [one["type"] for one in told].count("job_completed") == 1


async def test_the_end_of_a_batch_is_told_once_with_how_many_failed(user, site):
    links = [site.file(1000, f"{uuid4().hex}.bin"), site.file(1000, f"{uuid4().hex}.bin"), site.url("/status/404")]
    async with receiving() as receiver, user.http() as http:
        _, answer = await http.jobs(
            "POST",
            "/jobs/bulk",
            {"jobs": [{"url": link} for link in links], "webhook_url": receiver.url, "folder": "f"},
        )
        told = [json.loads(post.body) for post in await receiver.until(4)]

    assert [one for one in told if one["type"] == "batch_completed"] == [
        {
            "type": "batch_completed",
            "batch_id": answer["batch_id"],
            "show_url": "",
            "folder": "f",
            "completed": 2,
            "failed": 1,
            "total": 3,
        }
    ]
    assert sorted(one["type"] for one in told) == ["batch_completed", "job_completed", "job_completed", "job_warning"]


async def test_the_job_shows_how_telling_its_webhook_went(user, site):
    async with receiving(500) as receiver, user.http() as http:
        job_id = await http.submit(site.file(1000, f"{uuid4().hex}.bin"), webhook_url=receiver.url)
        await receiver.until(1)
        first = await http.until(job_id, lambda job: job.get("webhook_attempts") == 1)
        await receiver.until(2)
        second = await http.until(job_id, lambda job: job.get("webhook_attempts") == 2)

    assert (first["webhook_status"], first["webhook_last_error"]) == ("pending", "the receiver answered 500")
    assert (second["webhook_status"], second["webhook_last_error"]) == ("delivered", None)


async def test_a_receiver_that_fails_is_told_again_with_a_new_signature_and_every_attempt_is_recorded(user, site):
    async with receiving(500) as receiver, user.http() as http:
        job_id = await http.submit(site.file(1000, f"{uuid4().hex}.bin"), webhook_url=receiver.url)
        first, second = await receiver.until(2)
        attempts = await attempts_of(user, job_id, 2)
        secret = await secret_of(user)

    assert first.body == second.body
    assert first.headers[SIGNATURE] != second.headers[SIGNATURE]
    assert signed(first, secret)
    assert signed(second, secret)
    assert [(one["number"], one["outcome"], one["status"], one["error"]) for one in attempts] == [
        (1, "failed", 500, "the receiver answered 500"),
        (2, "delivered", 200, None),
    ]


async def test_a_receiver_that_never_answers_keeps_nobody_else_waiting(user, other, site):
    silent = Silent()
    links = [{"url": site.file(100, f"{uuid4().hex}.bin")} for _ in range(60)]
    async with silent.receiving() as url, user.http() as http, other.http() as theirs, receiving() as receiver:
        await http.jobs("POST", "/jobs/bulk", {"jobs": links, "webhook_url": url})
        await silent.until(5)
        for _ in range(3):
            await theirs.submit(site.file(100, f"{uuid4().hex}.bin"), webhook_url=f"{receiver.url}/hook")
        await receiver.until(3)

        assert silent.given_up == 0


async def test_a_job_without_a_webhook_is_told_to_nobody(user, site):
    async with receiving() as receiver, user.http() as http:
        quiet = await http.submit(site.file(1000, f"{uuid4().hex}.bin"))
        await http.ended(quiet)
        loud = await http.submit(site.file(1000, f"{uuid4().hex}.bin"), webhook_url=receiver.url)
        posts = await receiver.until(1)

    assert [json.loads(post.body)["job_id"] for post in posts] == [loud]
