"""Several processes that serve storage, and one file on its way to a bucket; what buckets are still to lose."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from msgspec.structs import replace

from libs.egress.policy import EgressPolicy
from libs.message import Meta, Refused, new_id
from libs.sealing import Sealer
from proto.storage import StillStoring, StoredFile, StoreFile, TargetInfo
from services.storage import remote as uploading
from services.storage import views
from services.storage.eraser import Eraser
from services.storage.remote import Remote
from services.storage.targets.credentials import described
from services.storage.targets.local import LocalTarget
from services.storage.targets.mover import Mover
from services.storage.views import Target
from tests.support.objects.between import Between, between
from tests.support.objects.s3 import Moto, S3Storage, moto

OWNER = UUID(int=1)
BODY = b"bytes" * 1000


@pytest.fixture(scope="module")
def server() -> Iterator[Moto]:
    with moto() as one:
        yield one


class Ground:
    def __init__(self, installation, folder: Path, bucket: S3Storage, mover: Mover, middle: Between) -> None:
        self._installation = installation
        self._folder = folder
        self._mover = mover
        self.bucket = bucket
        self.middle = middle

    async def open(self) -> None:
        self.pool = await self._installation.pool("storage")
        self.store = await self._installation.store("storage")
        credentials = self.bucket.credentials
        info = TargetInfo(target_id=new_id(), configured_at=datetime.now(UTC), **described(credentials))
        sealed = self.process().seal(credentials, info.target_id)
        self.target = Target(info=info, owner=OWNER, sealed=sealed)
        async with self.pool.acquire() as conn:
            await views.add_target(conn, self.target, standing=True)

    def process(self) -> Remote:
        """One of several that serve storage."""
        local = LocalTarget(self._folder / "files", self._folder / "work")
        return Remote(self.pool, self.store, local, self._mover, Sealer("k" * 32, "storage-target"))

    def finished(self) -> tuple[StoreFile, Path]:
        job_id = new_id()
        source = self._folder / "work" / str(job_id) / "part"
        source.parent.mkdir(parents=True)
        source.write_bytes(BODY)
        command = StoreFile(
            owner=OWNER,
            job_id=job_id,
            key="http",
            path=f"{job_id}/part",
            name="a.bin",
            size=len(BODY),
            sha256=hashlib.sha256(BODY).hexdigest(),
        )
        return command, source

    async def stored(self, process: Remote, command: StoreFile, source: Path) -> StoredFile:
        """As a worker asks: until it is there."""
        async with asyncio.timeout(60):
            while True:
                try:
                    return await process.put(command, source, self.target, Meta(correlation=new_id()))
                except Refused as refused:
                    assert isinstance(refused.refusal, StillStoring), refused.refusal


@pytest.fixture
async def ground(installation, tmp_path: Path, server: Moto):
    async with Mover(EgressPolicy.parse("127.0.0.0/8")) as mover, between(server.url) as middle:
        one = Ground(installation, tmp_path / "ground", server.bucket(endpoint=middle.url), mover, middle)
        await one.open()
        yield one


async def test_two_processes_that_are_asked_for_one_file_carry_it_once(ground: Ground) -> None:
    command, source = ground.finished()
    processes = [ground.process() for _ in range(3)]
    files = await asyncio.gather(*(ground.stored(one, command, source) for one in processes))

    assert len({file.file_id for file in files}) == 1
    assert list((await ground.bucket.objects()).values()) == [len(BODY)]
    assert await ground.pool.fetchval("select count(*) from storage.uploads") == 0


async def test_a_file_goes_at_the_rate_that_was_told_last(ground: Ground) -> None:
    """At a byte a second it would take hours; nobody else waits for it meanwhile."""
    (slow, slow_source), (quick, quick_source) = ground.finished(), ground.finished()
    process = ground.process()
    with pytest.raises(Refused) as refused:
        await process.put(replace(slow, rate=1), slow_source, ground.target, Meta(correlation=new_id()))
    await ground.stored(process, quick, quick_source)
    before = await ground.bucket.objects()
    await ground.stored(process, slow, slow_source)

    assert isinstance(refused.value.refusal, StillStoring)
    assert len(before) == 1
    assert len(await ground.bucket.objects()) == 2


async def test_files_of_one_name_that_go_at_the_same_time_do_not_replace_each_other(ground: Ground) -> None:
    """Whichever process carries them."""
    processes = [ground.process() for _ in range(2)]
    files = await asyncio.gather(*(ground.stored(processes[n % 2], *ground.finished()) for n in range(4)))

    assert sorted(file.name for file in files) == ["a (2).bin", "a (3).bin", "a (4).bin", "a.bin"]
    assert len(await ground.bucket.objects()) == 4


@pytest.mark.parametrize("hours", [0, 2])
async def test_a_name_that_a_dead_process_took_is_free_again_after_a_while(ground: Ground, hours: int) -> None:
    command, source = ground.finished()
    remote = ground.process().open(ground.target)
    async with ground.pool.acquire() as conn:
        await views.claim_upload(conn, new_id(), "http", new_id(), timedelta(hours=-hours))
        assert await conn.execute("update storage.uploads set place = $1", remote.place(remote.key((), "a.bin")))
    file = await ground.stored(ground.process(), command, source)

    assert file.name == ("a.bin" if hours else "a (2).bin")


@pytest.mark.parametrize("dead", [False, True])
async def test_a_file_is_left_to_the_process_that_carries_it_until_that_is_dead(ground: Ground, dead: bool) -> None:
    command, source = ground.finished()
    async with ground.pool.acquire() as conn:
        lease = timedelta(seconds=-1 if dead else 60)
        assert await views.claim_upload(conn, command.job_id, command.key, new_id(), lease)
    process = ground.process()
    if dead:
        await ground.stored(process, command, source)
    else:
        with pytest.raises(Refused) as refused:
            await process.put(command, source, ground.target, Meta(correlation=new_id()))
        assert isinstance(refused.value.refusal, StillStoring)

    assert len(await ground.bucket.objects()) == int(dead)


async def test_asking_any_process_keeps_the_one_that_carries_at_it(ground: Ground) -> None:
    command, _ = ground.finished()
    key, holder, lease = (command.job_id, command.key), new_id(), uploading.LEASE
    async with ground.pool.acquire() as conn:
        await views.claim_upload(conn, *key, holder, lease)
        await conn.execute("update storage.uploads set asked_at = now() - interval '50 seconds'")
        before = await views.go_on_uploading(conn, *key, holder, lease)
        theirs = await views.claim_upload(conn, *key, new_id(), lease)
        after = await views.go_on_uploading(conn, *key, holder, lease)
        foreign = await views.go_on_uploading(conn, *key, new_id(), lease)

    assert before is not None
    assert after is not None
    assert (theirs, foreign) == (False, None)
    assert after < timedelta(seconds=10) < before


async def test_what_a_storage_that_is_away_would_not_delete_is_deleted_when_it_is_back(ground: Ground) -> None:
    """However long that takes."""
    command, source = ground.finished()
    process = ground.process()
    file = await ground.stored(process, command, source)
    ground.middle.fail(lambda request: request.method == "DELETE")
    async with ground.pool.acquire() as conn:
        await views.to_erase(conn, [file], datetime.now(UTC))
    eraser = Eraser(ground.pool, process)
    async with asyncio.timeout(90), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(eraser.run())
        while not await ground.pool.fetchval("select tries from storage.erasures"):
            await asyncio.sleep(0.02)  # the eraser tells nobody
        there = await ground.bucket.objects()
        ground.middle.heal()
        await ground.pool.execute("update storage.erasures set due = now()")
        eraser.woken.set()
        while await ground.pool.fetchval("select count(*) from storage.erasures"):
            await asyncio.sleep(0.02)  # see above
        running.cancel()

    assert len(there) == 1
    assert await ground.bucket.objects() == {}
