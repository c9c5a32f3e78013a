"""Links to files in object storage: what they are good for and what not."""

from __future__ import annotations

import time

import aiohttp
import pytest
from yarl import URL

from services.storage.targets.mover import Mover
from services.storage.targets.objects import ObjectTarget
from tests.support.objects.storage import Storage
from tests.support.targets import File, fetched

pytestmark = pytest.mark.asyncio(loop_scope="session")

CHECKING = pytest.mark.parametrize("storage", ["blob", "gcs", "oss"], indirect=True)
"""Moto takes every request; what is signed for S3 is compared with Amazon's own signature."""


@CHECKING
async def test_a_link_allows_nothing_but_reading(target: ObjectTarget, storage: Storage, small: File):
    key = target.key((), "film.mp4")
    await small.put(target, key)
    link = URL(await target.presign(key, 60, "film.mp4"), encoded=True)

    async with aiohttp.ClientSession() as session:
        for method in ("PUT", "DELETE"):
            async with session.request(method, link, headers={"x-ms-blob-type": "BlockBlob"}) as answer:
                assert answer.status in {401, 403}

    assert await storage.objects() == {key: small.size}


@CHECKING
async def test_a_link_is_good_for_its_own_file_only(target: ObjectTarget, storage: Storage, small: File):
    key, other = target.key((), "film.mp4"), target.key((), "other.mp4")
    await small.put(target, key)
    await small.put(target, other)

    status, _, _ = await fetched((await target.presign(key, 60, "film.mp4")).replace("film.mp4?", "other.mp4?"))

    assert status in {401, 403}


@CHECKING
async def test_a_link_ends_when_it_was_said_to(storage: Storage, mover: Mover, small: File):
    target = ObjectTarget(storage.credentials, mover)
    an_hour_ago = ObjectTarget(storage.credentials, mover, clock=lambda: time.time() - 3600)
    key = target.key((), "film.mp4")
    await small.put(target, key)

    status, _, _ = await fetched(await an_hour_ago.presign(key, 3500, "film.mp4"))

    assert status in {401, 403}


@pytest.mark.parametrize("storage", ["s3"], indirect=True)
@pytest.mark.parametrize(("asked", "given"), [(0, "1"), (60, "60"), (10**9, "604800")])
async def test_a_link_is_good_for_as_long_as_services_take(target: ObjectTarget, asked: int, given: str):
    link = URL(await target.presign(target.key((), "film.mp4"), asked, "film.mp4"), encoded=True)

    assert link.query["X-Amz-Expires"] == given
