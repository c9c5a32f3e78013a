"""Webhooks as their receivers see them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from uuid import UUID, uuid4

from proto.auth import ReadUser, User
from proto.notifier import ReadDeliveries, ReadWebhookSecret
from tests.support.receiver import Post, receiving

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

    assert json.loads(post.body) == {
        "type": "job_completed",
        "status": "completed",
        "job_id": job_id,
        "url": site.file(1000, name),
        "folder": "a/b",
        "title": name,
        "key": name,
        "s3_key": name,
        "file_size_bytes": 1000,
        "items": 1,
    }
    assert signed(post, secret)
    assert secret.startswith("whsec_")
    assert [(one["number"], one["outcome"], one["status"]) for one in attempts] == [(1, "delivered", 200)]


async def test_a_failed_job_is_told_too(user, site):
    async with receiving() as receiver, user.http() as http:
        job_id = await http.submit(site.url("/status/404"), webhook_url=receiver.url)
        told = json.loads((await receiver.until(1))[0].body)

    assert (told["type"], told["status"], told["job_id"]) == ("job_failed", "failed", job_id)
    assert told["error"]


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


async def test_a_job_without_a_webhook_is_told_to_nobody(user, site):
    async with receiving() as receiver, user.http() as http:
        quiet = await http.submit(site.file(1000, f"{uuid4().hex}.bin"))
        await http.ended(quiet)
        loud = await http.submit(site.file(1000, f"{uuid4().hex}.bin"), webhook_url=receiver.url)
        posts = await receiver.until(1)

    assert [json.loads(post.body)["job_id"] for post in posts] == [loud]
