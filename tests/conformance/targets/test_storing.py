"""Object storage of the user's own, against servers that speak its protocols."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from services.storage.targets.objects import ObjectTarget
from tests.support.objects.between import Between
from tests.support.objects.storage import Storage
from tests.support.sure import sure
from tests.support.targets import MIB, File, fetched

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_file_that_was_put_is_there_with_its_size_and_hash(target: ObjectTarget, small: File):
    key = target.key(("a show", "season 1"), "film & more+1.mp4")

    await small.put(target, key)

    found = sure(await target.stat(key))
    assert (found.size, found.sha256) == (small.size, small.sha256)


@pytest.mark.parametrize("name", ["film.mp4", "a b+c & d%20e.mp4", "日本語 – é.mp4", "quote'n (1).mp4"])
async def test_a_link_gives_anybody_the_bytes_that_were_put(target: ObjectTarget, small: File, name: str):
    key = target.key(("folder",), name)
    await small.put(target, key)

    status, body, _ = await fetched(await target.presign(key, 60, name))

    assert status == 200, body
    assert body == small.bytes


async def test_a_link_makes_browsers_save_the_file_under_its_name(target: ObjectTarget, small: File):
    key = target.key((), "film.mp4")
    await small.put(target, key)

    _, _, headers = await fetched(await target.presign(key, 60, 'a "film" é.mp4'))

    disposition = next(value for name, value in headers.items() if name.lower() == "content-disposition")
    assert disposition == "attachment; filename=\"a _film_ _.mp4\"; filename*=UTF-8''a%20%22film%22%20%C3%A9.mp4"


async def test_a_deleted_file_is_gone(target: ObjectTarget, storage: Storage, small: File):
    key = target.key((), "film.mp4")
    await small.put(target, key)

    await target.delete(key)

    assert await target.stat(key) is None
    assert await storage.objects() == {}


async def test_deleting_what_is_not_there_is_no_failure(target: ObjectTarget):
    await target.delete(target.key((), "never.mp4"))


async def test_good_credentials_are_verified_and_nothing_stays_of_it(target: ObjectTarget, storage: Storage):
    await target.verify()

    assert await storage.objects() == {}


async def test_an_empty_file_is_kept_too(target: ObjectTarget, storage: Storage, tmp_path: Path):
    await File(tmp_path, 0).put(target, target.key((), "empty.txt"))

    assert await storage.objects() == {"videos/empty.txt": 0}


async def test_a_large_file_arrives_whole_though_it_is_sent_in_parts(target: ObjectTarget, storage: Storage, tmp_path):
    file, key = File(tmp_path, 50 * MIB), target.key((), "film.mkv")

    await file.put(target, key)

    _, body, _ = await fetched(await target.presign(key, 60, "film.mkv"))
    assert hashlib.sha256(body).hexdigest() == file.sha256
    assert await storage.unfinished() == []


async def test_the_same_file_again_is_not_sent_again(through: ObjectTarget, middle: Between, small: File):
    key = through.key((), "film.mkv")
    await small.put(through, key)
    middle.fail(lambda request: request.method != "HEAD" and "/o/" not in request.path and request.path != "/token")

    found = await small.put(through, key)

    assert found.size == small.size


async def test_another_file_under_the_same_key_replaces_the_first(
    target: ObjectTarget, storage: Storage, small: File, tmp_path
):
    key = target.key((), "film.mkv")
    await small.put(target, key)

    await File(tmp_path, 2000).put(target, key)

    assert await storage.objects() == {key: 2000}
