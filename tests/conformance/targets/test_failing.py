"""Object storage that fails, and may work the next time."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from aiohttp import web

from services.storage.targets.failures import TargetAway
from services.storage.targets.mover import Mover
from services.storage.targets.objects import ObjectTarget
from tests.support.objects.between import Between, a_part, between
from tests.support.objects.oss import oss
from tests.support.objects.s3 import Moto
from tests.support.objects.storage import Storage
from tests.support.sure import sure
from tests.support.targets import HASTY, IN_PARTS, SOON, File, elsewhere, origin

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_service_that_fails_in_the_middle_is_away_and_keeps_nothing(
    through: ObjectTarget, middle: Between, storage: Storage, large: File
):
    middle.fail(a_part(2))

    with pytest.raises(TargetAway) as caught:
        await large.put(through, through.key((), "film.mkv"))

    assert caught.value.code == "unavailable"
    assert await storage.objects() == {}
    assert await storage.unfinished() == []


async def test_after_a_failure_in_the_middle_the_next_try_succeeds(
    through: ObjectTarget, middle: Between, storage: Storage, large: File
):
    key = through.key((), "film.mkv")
    middle.fail(a_part(2))
    with pytest.raises(TargetAway):
        await large.put(through, key)
    middle.heal()

    await large.put(through, key)

    assert await storage.objects() == {key: large.size}
    assert await storage.unfinished() == []


async def test_one_bad_moment_is_survived_without_starting_over(
    through: ObjectTarget, middle: Between, storage: Storage, large: File
):
    later = a_part(2)
    failed: list[web.Request] = []

    def once(request: web.Request) -> bool:
        hit = not failed and later(request)
        failed.extend([request] if hit else [])
        return hit

    middle.fail(once)

    await large.put(through, through.key((), "film.mkv"))

    assert len(failed) == 1
    assert list((await storage.objects()).values()) == [large.size]


async def test_a_cancelled_upload_leaves_nothing(through: ObjectTarget, middle: Between, storage: Storage, large: File):
    middle.hold(a_part(2))
    putting = asyncio.create_task(large.put(through, through.key((), "film.mkv")))
    await middle.held.wait()

    putting.cancel()
    middle.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await putting

    assert await storage.objects() == {}
    assert await storage.unfinished() == []


async def test_an_upload_that_is_cancelled_while_the_service_hangs_leaves_nothing(
    storage: Storage, middle: Between, mover: Mover, large: File
):
    target = ObjectTarget(elsewhere(storage.credentials, middle.url), mover, SOON)
    middle.hold(a_part(1))
    putting = asyncio.create_task(large.put(target, target.key((), "film.mkv")))
    await middle.held.wait()

    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting

    assert await storage.objects() == {}
    assert await storage.unfinished() == []


async def test_an_upload_whose_process_is_killed_is_away_and_leaves_nothing(
    through: ObjectTarget, middle: Between, storage: Storage, mover: Mover, large: File
):
    middle.hold(a_part(2))
    putting = asyncio.create_task(large.put(through, through.key((), "film.mkv")))
    await middle.held.wait()
    middle.heal()

    os.kill(sure(mover.pid), signal.SIGKILL)
    with pytest.raises(TargetAway) as caught:
        await putting

    assert caught.value.code == "interrupted"
    assert await storage.objects() == {}
    assert await storage.unfinished() == []


async def test_what_an_upload_leaves_is_removed_though_the_service_fails_at_that_at_first(
    through: ObjectTarget, middle: Between, storage: Storage, mover: Mover, large: File
):
    middle.hold(a_part(2))
    putting = asyncio.create_task(large.put(through, through.key((), "film.mkv")))
    await middle.held.wait()
    failures = iter(range(2))
    middle.heal()
    middle.fail(lambda _: next(failures, None) is not None)

    os.kill(sure(mover.pid), signal.SIGKILL)
    with pytest.raises(TargetAway):
        await putting

    assert next(failures, None) is None
    assert await storage.objects() == {}
    assert await storage.unfinished() == []


async def test_a_server_that_is_gone_is_away(storage: Storage, mover: Mover, small: File):
    async with between("") as passing:
        url = passing.url
    target = ObjectTarget(elsewhere(storage.credentials, url), mover)

    with pytest.raises(TargetAway) as caught:
        await small.put(target, target.key((), "film.mp4"))

    assert caught.value.code == "unreachable"


@pytest.mark.parametrize("what", ["verify", "put", "stat", "delete"])
async def test_a_server_that_never_answers_is_away_within_the_deadline(
    storage: Storage, middle: Between, mover: Mover, small: File, what: str
):
    middle.hold(lambda _: True)
    target = ObjectTarget(elsewhere(storage.credentials, middle.url), mover, HASTY)
    key = target.key((), "film.mp4")
    ways = {"verify": target.verify, "put": lambda: small.put(target, key), "stat": lambda: target.stat(key)}

    with pytest.raises(TargetAway) as caught:
        async with asyncio.timeout(60):
            await ways.get(what, lambda: target.delete(key))()

    assert caught.value.code == "timed_out"


SPOILT = {
    "one byte is missing": lambda data: data[:-1],
    "one byte is another": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
@pytest.mark.parametrize("size", [1000, IN_PARTS], ids=["in one piece", "in parts"])
@pytest.mark.parametrize("tells", ["always", "of one piece"])
async def test_a_service_that_does_not_keep_what_it_was_given_is_away_and_keeps_nothing(
    mover: Mover, tmp_path: Path, spoil, size: int, tells
):
    async with oss() as storage:
        storage.keeps, storage.tells_md5 = spoil, tells
        target = ObjectTarget(storage.credentials, mover)

        with pytest.raises(TargetAway) as caught:
            await File(tmp_path, size).put(target, target.key((), "film.mp4"))

        assert caught.value.code == "damaged"
        assert storage.held == {}


async def test_a_service_whose_checksum_is_not_of_the_content_is_asked_for_the_content(mover: Mover, small: File):
    """As S3 with keys of its own; the bytes that come back are what counts."""
    async with oss() as storage:
        storage.tells_md5 = "never"
        target = ObjectTarget(storage.credentials, mover)

        await small.put(target, target.key((), "film.mp4"))

        assert await storage.objects() == {"videos/film.mp4": small.size}


def reading(request: web.Request) -> bool:
    return request.method == "GET" and "uploads" not in request.query


async def test_a_file_in_parts_is_not_read_back_where_its_parts_checksums_name_it(
    moto_server: Moto, mover: Mover, large: File
):
    storage = moto_server.bucket()
    async with between(origin(storage.credentials)) as middle:
        middle.fail(reading)
        target = ObjectTarget(elsewhere(storage.credentials, middle.url), mover)

        await large.put(target, target.key((), "film.mkv"))

        assert await storage.objects() == {"videos/film.mkv": large.size}


@pytest.mark.parametrize("size", [0, 1000, IN_PARTS], ids=["empty", "in one piece", "in parts"])
async def test_a_file_is_not_read_back_where_its_own_checksum_names_it(mover: Mover, tmp_path: Path, size: int):
    async with oss() as storage, between(origin(storage.credentials)) as middle:
        storage.tells_md5 = "always"
        middle.fail(reading)
        target = ObjectTarget(elsewhere(storage.credentials, middle.url), mover)

        await File(tmp_path, size).put(target, target.key((), "film.mkv"))

        assert await storage.objects() == {"videos/film.mkv": size}


async def test_a_cancelled_upload_leaves_what_was_there_before(
    storage: Storage, middle: Between, mover: Mover, small: File, large: File
):
    target = ObjectTarget(elsewhere(storage.credentials, middle.url), mover, SOON)
    key = target.key((), "film.mkv")
    await small.put(target, key)
    middle.hold(a_part(2))
    putting = asyncio.create_task(large.put(target, key))
    await middle.held.wait()

    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting

    assert await storage.objects() == {key: small.size}


async def test_what_a_crash_of_the_service_left_can_be_tidied_up(moto_server: Moto, mover: Mover):
    storage = moto_server.bucket()
    target = ObjectTarget(storage.credentials, mover)
    key, other = target.key((), "Tom & Jerry.mkv"), target.key((), "Tom & Jerry.mkv.other")
    for one in (key, other):
        client = moto_server.client("s3")
        await asyncio.to_thread(client.create_multipart_upload, Bucket=storage.credentials.bucket, Key=one)

    await target.tidy(key)

    assert await storage.unfinished() == [other]
