"""Files on our own disk, with the real database: bytes that come twice, and a crash at every step."""

from __future__ import annotations

import hashlib
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from libs.message import Meta, new_id
from proto.storage import FileDeleted, FileStored, StoredFile, StoreFile
from services.storage.keeping import Keeper
from services.storage.targets.local import LocalTarget, NotAFile

ADA, BOB = UUID(int=1), UUID(int=2)


class Ground:
    """A keeper, and where it keeps."""

    def __init__(self, installation, folder: Path) -> None:
        self._installation = installation
        self.files, self._work = folder / "files", folder / "work"

    async def open(self) -> None:
        self.pool = await self._installation.pool("storage")
        self.store = await self._installation.store("storage")
        self.target = LocalTarget(self.files, self._work)
        self.keeper = Keeper(self.pool, self.store, self.target)

    def finished(self, body: bytes = b"bytes", *, owner: UUID = ADA, name: str = "a.bin") -> StoreFile:
        """A file in the work folder of a job of its own."""
        job_id = new_id()
        path = self._work / str(job_id) / "part"
        path.parent.mkdir(parents=True)
        path.write_bytes(body)
        return StoreFile(
            owner=owner,
            job_id=job_id,
            key="http",
            path=f"{job_id}/part",
            name=name,
            size=len(body),
            sha256=hashlib.sha256(body).hexdigest(),
        )

    async def keep(self, command: StoreFile) -> StoredFile:
        file, _ = await self.keeper.keep(command, await self.keeper.met(command), meta())
        return file

    async def give_up(self, *files: StoredFile) -> None:
        async with self.store.transaction() as tx:
            await self.keeper.give_up(tx.conn, [file.file_id for file in files], meta())

    def path(self, file: StoredFile) -> Path:
        return self.files / file.location

    def names(self) -> set[str]:
        """Of everything on the disk, below the owners' folders."""
        return {str(path.relative_to(self.files)) for path in self.files.rglob("*") if path.is_file()}

    async def recorded(self) -> set[str]:
        return {row["location"] for row in await self.pool.fetch("select location from storage.files")}

    async def read(self) -> int:
        """Rows of files that statements have looked at so far."""
        async with self.pool.acquire() as conn:
            await conn.execute("select pg_stat_force_next_flush()")
        return int(
            await self.pool.fetchval(
                "select seq_tup_read + idx_tup_fetch from pg_stat_user_tables where relid = 'storage.files'::regclass"
            )
        )

    async def told(self) -> dict[UUID, str]:
        """What the events say is there."""
        found: dict[UUID, str] = {}
        for one in await self.store.read(limit=10_000):
            if isinstance(one.event, FileStored):
                found[one.event.file_id] = one.event.location
            elif isinstance(one.event, FileDeleted):
                del found[one.event.file_id]
        return found


def meta() -> Meta:
    return Meta(correlation=new_id())


@pytest.fixture
async def ground(installation, tmp_path: Path) -> Ground:
    one = Ground(installation, tmp_path / "ground")
    await one.open()
    return one


async def test_the_same_bytes_twice_take_the_disk_once(ground: Ground) -> None:
    """Under two names, each of its own job; what is left of the work folder is nothing."""
    commands = [ground.finished(), ground.finished(name="b.bin"), ground.finished(b"other")]
    first, second, other = [await ground.keep(one) for one in commands]

    assert ground.path(first).samefile(ground.path(second))
    assert not ground.path(first).samefile(ground.path(other))
    assert [ground.path(one).read_bytes() for one in (first, second, other)] == [b"bytes", b"bytes", b"other"]
    assert len({one.file_id for one in (first, second, other)}) == 3
    assert not list((ground.files.parent / "work").rglob("part"))


async def test_nobody_shares_with_another_owner(ground: Ground) -> None:
    ours, theirs = await ground.keep(ground.finished()), await ground.keep(ground.finished(owner=BOB))

    assert not ground.path(ours).samefile(ground.path(theirs))
    assert ground.path(ours).stat().st_nlink == ground.path(theirs).stat().st_nlink == 1


async def test_giving_up_one_name_leaves_the_other(ground: Ground) -> None:
    """In whatever order, and the bytes go with the last."""
    first, second, third = [await ground.keep(ground.finished()) for _ in range(3)]
    await ground.give_up(first)
    left = [ground.path(one).read_bytes() for one in (second, third)]
    fourth = await ground.keep(ground.finished())
    await ground.give_up(second, third)
    last = ground.path(fourth).stat().st_nlink
    await ground.give_up(fourth)

    assert left == [b"bytes", b"bytes"]
    assert last == 1
    assert (ground.names(), await ground.recorded(), await ground.told()) == (set(), set(), {})


async def test_a_name_that_a_record_has_is_never_taken_again(ground: Ground) -> None:
    """Though its file has the very bytes: numbers go on behind the gaps."""
    first, second, third = [await ground.keep(ground.finished()) for _ in range(3)]
    await ground.give_up(first)
    again = await ground.keep(ground.finished())

    assert len({one.location for one in (second, third, again)}) == 3
    assert ground.names() == await ground.recorded() == set((await ground.told()).values())


async def test_bytes_that_were_changed_on_the_disk_are_not_shared(ground: Ground) -> None:
    """Whoever has the folder may edit what is in it."""
    first = await ground.keep(ground.finished())
    ground.path(first).write_bytes(b"byteS")
    second = await ground.keep(ground.finished())
    ground.path(second).unlink()
    third = await ground.keep(ground.finished())

    assert ground.path(third).read_bytes() == b"bytes"


@pytest.mark.parametrize("shared", [False, True])
async def test_a_crash_between_the_name_and_its_record_is_mended_by_the_same_command(
    ground: Ground, shared: bool
) -> None:
    """The name that was left is used, and no other."""
    known = set()
    if shared:
        first = await ground.keep(ground.finished())
        known = {first.location}
    command = ground.finished()
    await ground.pool.execute("alter table storage.files add constraint down check (false) not valid")
    with pytest.raises(asyncpg.CheckViolationError):
        await ground.keep(command)
    (name,) = ground.names() - known
    await ground.pool.execute("alter table storage.files drop constraint down")
    file = await ground.keep(command)

    assert file.location == name
    assert ground.names() == await ground.recorded() == set((await ground.told()).values())


async def test_an_item_that_is_stored_already_stays_as_it_is(ground: Ground) -> None:
    """Also when two processes are told of it, or the work folder still has it: the record that is there stands."""
    command = ground.finished()
    file = await ground.keep(command)
    source = ground.files.parent / "work" / command.path
    source.write_bytes(b"bytes")
    again = await ground.keep(command)

    assert again == file
    assert not source.exists()
    assert ground.names() == await ground.recorded() == {file.location}


async def test_a_crash_between_the_disk_and_the_record_of_a_deletion_leaves_the_wish(ground: Ground) -> None:
    first, second = [await ground.keep(ground.finished()) for _ in range(2)]
    ground.target.delete(first.location)
    between = await ground.recorded()
    third = await ground.keep(ground.finished())
    await ground.give_up(first)

    assert between == {first.location, second.location}
    assert third.location not in between
    assert ground.names() == await ground.recorded() == {second.location, third.location}
    assert ground.path(third).read_bytes() == b"bytes"


async def test_what_is_stored_reads_no_other_file_however_many_there_are(ground: Ground) -> None:
    """Neither when its name and its bytes are new, nor when both are known."""
    await ground.pool.execute(
        "insert into storage.files (file_id, owner, job_id, key, name, location, size, sha256, media_type, stored_at)"
        " select gen_random_uuid(), $1::uuid, gen_random_uuid(), 'http', n || '.bin',"
        " format('%s/%s.bin', $1::uuid, n), 5,"
        " n::text, '', now()"
        " from generate_series(1, 20000) n",
        ADA,
    )
    await ground.pool.execute("analyze storage.files")
    before = await ground.read()
    for body in (b"bytes", b"bytes", b"other"):
        for _ in range(3):
            await ground.keep(ground.finished(body))

    assert await ground.read() - before < 1000


def test_only_a_plain_file_inside_the_jobs_own_folder_is_taken_over(tmp_path: Path) -> None:
    """What a child process left there under a name of its own may be a way out."""
    mine, theirs = tmp_path / "work" / "mine", tmp_path / "work" / "theirs"
    for folder in (mine, theirs):
        folder.mkdir(parents=True)
        (folder / "part").write_bytes(b"bytes")
    (mine / "file").symlink_to(theirs / "part")
    (mine / "folder").symlink_to(theirs)
    (mine / "own").symlink_to("part")
    (tmp_path / "secret").write_bytes(b"key")
    target = LocalTarget(tmp_path / "files", tmp_path / "work")

    assert target.source("mine/part", "mine") == mine / "part"
    for path in (
        "theirs/part", "mine/../theirs/part", "mine/../../secret", str(tmp_path / "secret"), "mine/file",
        "mine/folder/part", "mine/own", "mine/folder", "mine", "mine/none",
    ):  # fmt: skip
        with pytest.raises(NotAFile):
            target.source(path, "mine")
