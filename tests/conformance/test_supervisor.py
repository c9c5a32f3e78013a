"""The embedded servers: they come back, they never outlive us, and one folder has one owner."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import psutil
import pytest

from libs import bus as buses
from libs.bus import Stream, enqueue
from libs.supervisor import DataFolder, DataFolderInUse, Identity, Servers, StartFailed, UnusableFolder
from libs.supervisor.folder import write_durably
from libs.supervisor.leftovers import HARD, end_now
from libs.supervisor.postgres import Postgres, unprivileged
from proto.topology import CONSUMERS, STREAMS, USERS
from tests.support.sure import sure

SERVICES = ("job", "auth")
NAMELESS = 54321
ROOT = Path(__file__).parents[2]
SUPERVISING = """
import asyncio, sys
from pathlib import Path
from libs.supervisor import DataFolder, Servers
from proto.topology import USERS
from tests.support.sure import sure

async def main():
    folder = DataFolder(Path(sys.argv[1]))
    with folder.lock():
        async with Servers.run(folder, ("job", "auth"), USERS) as servers:
            print(sure(servers.postgres.child).pid, sure(servers.nats.child).pid, flush=True)
            await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """Below a folder that only its owner may enter: as root, Postgres has to do without walking there."""
    assert os.geteuid() != 0 or tmp_path.stat().st_mode & 0o077 == 0
    return DataFolder(tmp_path / "data")


async def write(servers: Servers, text: str) -> None:
    conn = await asyncpg.connect(servers.database_urls["job"])
    await conn.execute("create table if not exists job.note (text text)")
    await conn.execute("insert into job.note values ($1)", text)
    await conn.close()


async def notes(servers: Servers) -> list[str]:
    conn = await asyncpg.connect(servers.database_urls["job"])
    found = [row["text"] for row in await conn.fetch("select text from job.note")]
    await conn.close()
    return found


async def fill_stream(servers: Servers) -> None:
    bus = await buses.open(servers.nats_url, user="topology", seed=servers.nats_seeds["topology"])
    await buses.ensure_topology(bus, STREAMS, CONSUMERS)
    await bus.close()
    job = await buses.open(servers.nats_url, user="job", seed=servers.nats_seeds["job"])
    await enqueue(job, "work.run.download.5", b"ticket", "one")
    await job.close()


async def tickets(servers: Servers) -> int:
    job = await buses.open(servers.nats_url, user="job", seed=servers.nats_seeds["job"])
    count = await Stream(job, "WORK").last_sequence()
    await job.close()
    return count


def supervising(folder: DataFolder) -> tuple[subprocess.Popen[str], list[int]]:
    """Another process that runs the servers, and theirs."""
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISING, str(folder.path)], cwd=ROOT, text=True, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    process.stdout.close()
    return process, [int(pid) for pid in line.split()]


def ended(pids: list[int], seconds: float) -> bool:
    """Whether all of them end; a zombie that is not ours to reap has ended."""
    handles = []
    for pid in pids:
        try:
            handles.append(os.pidfd_open(pid))
        except ProcessLookupError:
            continue
    loop = asyncio.new_event_loop()
    try:

        async def all_of_them() -> None:
            async with asyncio.timeout(seconds):
                for handle in handles:
                    gone = asyncio.Event()
                    loop.add_reader(handle, gone.set)
                    await gone.wait()
                    loop.remove_reader(handle)

        loop.run_until_complete(all_of_them())
    except TimeoutError:
        return False
    finally:
        loop.close()
        for handle in handles:
            os.close(handle)
    return True


def test_a_second_owner_of_a_folder_is_told_who_has_it(folder):
    """The lock names the process that holds it, whoever had it before, and is free again afterwards."""
    folder.create()
    (folder.run / "lock").write_text("9" * 20)
    with (
        folder.lock(),
        pytest.raises(DataFolderInUse, match=rf"process {os.getpid()}\b"),
        DataFolder(folder.path).lock(),
    ):
        pytest.fail("two owners")
    with folder.lock():
        assert (folder.run / "lock").exists()


async def test_what_was_written_is_there_on_the_next_start(folder):
    """A clean stop ends both servers, withdraws the address, and keeps data and secrets."""
    with folder.lock():
        async with Servers.run(folder, SERVICES, USERS) as servers:
            pids = [sure(servers.postgres.child).pid, sure(servers.nats.child).pid]
            await write(servers, "first")
            assert folder.endpoint() == servers.nats_url
            key, urls = servers.secret_key, {name: url.partition("?")[0] for name, url in servers.database_urls.items()}
        assert not [pid for pid in pids if psutil.pid_exists(pid)]
        assert folder.endpoint() is None
        async with Servers.run(folder, SERVICES, USERS) as servers:
            assert await notes(servers) == ["first"]
            assert servers.secret_key == key
            assert {name: url.partition("?")[0] for name, url in servers.database_urls.items()} == urls


async def test_a_killed_postgres_comes_back_with_its_data(folder):
    """Even while one of its backends is still busy; the address stays."""
    with folder.lock():
        async with Servers.run(folder, SERVICES, USERS) as servers:
            await write(servers, "before")
            busy = await asyncpg.connect(servers.database_urls["auth"])
            work = asyncio.create_task(busy.fetch("select count(*) from generate_series(1, 100000000)"))
            other = await asyncpg.connect(servers.database_urls["auth"])
            async with asyncio.timeout(30):
                while not await other.fetchval(
                    "select count(*) from pg_stat_activity where usename = current_user "
                    "and state = 'active' and pid <> pg_backend_pid()"
                ):
                    continue
            killed = sure(servers.postgres.child).pid
            os.kill(killed, signal.SIGKILL)
            async with asyncio.timeout(30):
                await servers.restarted.wait()

            assert sure(servers.postgres.child).pid != killed
            assert await notes(servers) == ["before"]
            with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.PostgresError, OSError)):
                await work
            other.terminate()


async def test_a_killed_nats_comes_back_with_its_streams(folder):
    """At the same address, so that every connection finds it again."""
    with folder.lock():
        async with Servers.run(folder, SERVICES, USERS) as servers:
            await fill_stream(servers)
            url, killed = servers.nats_url, sure(servers.nats.child).pid
            os.kill(killed, signal.SIGKILL)
            async with asyncio.timeout(30):
                await servers.restarted.wait()

            assert sure(servers.nats.child).pid != killed
            assert servers.nats.url == url
            assert await tickets(servers) == 1


def test_servers_do_not_outlive_a_killed_supervisor(folder):
    """After kill -9 of the process that started them both are gone, and the next start has the data."""
    process, pids = supervising(folder)
    assert len(pids) == 2
    process.kill()
    process.wait()
    assert ended(pids, 60)

    async def again() -> None:
        with folder.lock():
            async with Servers.run(folder, SERVICES, USERS) as servers:
                await write(servers, "after")
                assert await notes(servers) == ["after"]

    asyncio.run(again())


def test_a_start_does_not_wait_for_the_killed_ones_servers_to_be_gone(folder):
    """Started at once after kill -9, with the old servers perhaps still there, both come up on the same data, at the
    same place."""
    process, pids = supervising(folder)
    process.kill()
    process.wait()

    async def again() -> None:
        with folder.lock():
            async with Servers.run(folder, SERVICES, USERS) as servers:
                assert not {sure(servers.postgres.child).pid, sure(servers.nats.child).pid} & set(pids)
                assert str(folder.path) in servers.database_urls["job"]
                await write(servers, "after")

    asyncio.run(again())
    assert ended(pids, 60)


async def test_a_killed_first_start_leaves_nothing_half_made(folder):
    """What initdb had not finished is thrown away, however far it came."""
    folder.create()
    half = folder.path / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    with folder.lock():
        async with Servers.run(folder, SERVICES, USERS) as servers:
            await write(servers, "whole")
    assert not half.exists()


async def test_a_pid_file_that_names_a_stranger_is_no_obstacle(folder):
    """After a reboot the old server's number may be anybody's."""
    with folder.lock():
        async with Servers.run(folder, SERVICES, USERS) as servers:
            await write(servers, "kept")
        owner = folder.postgres.stat()
        sleeper = await asyncio.create_subprocess_exec("sleep", "60", user=owner.st_uid if os.geteuid() == 0 else None)
        try:
            stale = folder.postgres / "postmaster.pid"
            stale.write_text(f"{sleeper.pid}\n{folder.postgres}\n1\n5432\n\n\n1 1\nready\n")
            os.chown(stale, owner.st_uid, owner.st_gid)
            async with Servers.run(folder, SERVICES, USERS) as servers:
                assert await notes(servers) == ["kept"]
            assert sleeper.returncode is None
        finally:
            sleeper.kill()
            await sleeper.wait()


async def test_a_lock_beside_the_socket_that_names_a_stranger_is_no_obstacle(folder):
    """An ordinary user's socket has a folder of its own, which lasts from one start to the next."""
    folder.create()
    account = unprivileged()
    sleeper = await asyncio.create_subprocess_exec("sleep", "60", user=account.uid if account else None)
    try:
        with folder.socket_folder((account.uid, account.gid) if account else None) as socket:
            stale = socket / ".s.PGSQL.5432.lock"
            stale.write_text(f"{sleeper.pid}\n{folder.postgres}\n1\n5432\n{socket}\n")
            if account:
                os.chown(stale, account.uid, account.gid)
            postgres = Postgres(folder, folder.secrets(SERVICES), socket, account)
            try:
                await postgres.start()
            finally:
                await postgres.stop()
        assert sleeper.returncode is None
    finally:
        sleeper.kill()
        await sleeper.wait()


async def test_only_servers_are_ended_in_a_folder_of_servers(tmp_path):
    """Somebody's shell that stands in the data folder is not taken for a leftover."""
    bystander = await asyncio.create_subprocess_exec("sleep", "60", cwd=tmp_path)
    leftover = await asyncio.create_subprocess_exec("tail", "-f", "/dev/null", cwd=tmp_path)
    await asyncio.to_thread(end_now, ["tail"], tmp_path, HARD)

    assert await leftover.wait() == -signal.SIGQUIT
    assert bystander.returncode is None
    bystander.kill()
    await bystander.wait()


async def test_an_error_of_the_body_arrives_as_itself(folder):
    """Whoever catches by type need not know that servers were watched meanwhile."""
    with folder.lock(), pytest.raises(KeyError):
        async with Servers.run(folder, SERVICES, USERS):
            raise KeyError


async def test_lost_secrets_are_named(folder):
    """A database whose passwords are gone is not opened, not replaced, and the text says what to do."""
    with folder.lock():
        async with Servers.run(folder, SERVICES, USERS) as servers:
            await write(servers, "kept")
        secrets = folder.path / "secrets.json"
        kept = secrets.read_bytes()
        secrets.unlink()
        with pytest.raises(UnusableFolder, match=r"secrets\.json"):
            async with Servers.run(folder, SERVICES, USERS):
                pytest.fail("opened without its passwords")
        secrets.write_bytes(kept)
        async with Servers.run(folder, SERVICES, USERS) as servers:
            assert await notes(servers) == ["kept"]


def test_a_key_that_was_chosen_is_the_one_that_is_kept(folder):
    """And no other is taken in its place later: nothing that is sealed could be opened."""
    folder.create()
    made = folder.secrets(SERVICES, "a key that somebody chose")

    assert made.secret_key == "a key that somebody chose"
    assert folder.secrets(SERVICES).secret_key == made.secret_key
    with pytest.raises(UnusableFolder, match="remove the setting"):
        folder.secrets(SERVICES, "another key of somebody")


def test_a_home_that_nobody_has_is_asked_about():
    """As an account without one has none."""
    with pytest.raises(UnusableFolder, match="Choose a folder for the data with --data"):
        DataFolder.find(Path("~nobody-has-this-name/data"), {})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be an account without a name")
async def test_an_account_that_has_no_name_can_start(folder):
    """As in containers that run as any number: initdb, which looks for a name, is content."""
    folder.create()
    postgres = Postgres(folder, folder.secrets(SERVICES), folder.postgres, Identity(NAMELESS, NAMELESS))
    try:
        try:
            await postgres.start()
        except StartFailed as failed:
            pytest.skip(str(failed))
        owner = folder.postgres.stat().st_uid
    finally:
        await postgres.stop()

    assert owner == NAMELESS


async def test_what_is_acknowledged_is_on_disk(folder):
    """NATS syncs each write, Postgres each commit; neither listens beyond this machine."""
    with folder.lock():
        async with Servers.run(folder, SERVICES, USERS) as servers:
            nats = json.loads((folder.nats / "nats.conf").read_text())
            conn = await asyncpg.connect(servers.database_urls["job"])
            names = ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses", "jit", "server_encoding")
            shown = {name: await conn.fetchval(f"show {name}") for name in names}
            collation = await conn.fetchrow(
                "select datlocprovider::text, datlocale from pg_database where datname = current_database()"
            )
            await conn.close()

    assert nats["jetstream"]["sync_interval"] == "always"
    assert nats["listen"].startswith("127.0.0.1:")
    assert shown == {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "listen_addresses": "",
        "jit": "off",
        "server_encoding": "UTF8",
    }
    assert tuple(collation) == ("b", "C.UTF-8")


async def test_no_secret_is_on_a_command_line_or_in_an_environment(folder):
    """Neither in what the servers were started with nor in their logs, and their files are their owner's alone."""
    with folder.lock():
        async with Servers.run(folder, SERVICES, USERS) as servers:
            started = [psutil.Process(sure(child).pid) for child in (servers.postgres.child, servers.nats.child)]
            told = [str((one.cmdline(), one.environ())).encode() for one in started]
            kept = json.loads((folder.path / "secrets.json").read_text())
            secrets = [
                kept.pop("secret_key"),
                kept.pop("postgres_password"),
                *kept["service_passwords"].values(),
                *(seed.read_text().strip() for seed in servers.nats_seeds.values()),
            ]
            logs = [folder.log(name).read_bytes() for name in ("postgres", "nats")]
            uid = started[0].uids().effective

    assert not [secret for secret in secrets for text in (*told, *logs) if secret.encode() in text]
    assert (folder.path / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert folder.postgres.stat().st_mode & 0o777 == 0o700
    assert uid != 0


async def test_nothing_outside_the_folder_is_changed(folder):
    """No parent's owner or mode, whichever account Postgres runs as."""
    parents = [folder.path.parent, *folder.path.parent.parents]
    before = [(p.stat().st_mode, p.stat().st_uid, p.stat().st_gid) for p in parents]
    with folder.lock():
        async with Servers.run(folder, SERVICES, USERS):
            pass

    assert [(p.stat().st_mode, p.stat().st_uid, p.stat().st_gid) for p in parents] == before


async def test_a_path_too_long_for_a_socket_is_no_obstacle(tmp_path):
    """The socket goes elsewhere then, and is taken away again."""
    folder = DataFolder(tmp_path / ("long" * 25) / "data")
    with folder.lock():
        async with Servers.run(folder, SERVICES, USERS) as servers:
            await write(servers, "reached")
            assert await notes(servers) == ["reached"]
            elsewhere = Path(servers.database_urls["job"].partition("?host=")[2])
        assert not os.path.exists(elsewhere)  # noqa: PTH110 - a look, after everything has ended


@pytest.mark.parametrize("name", ["Müllers Löwe 日本", "a 'b' \"c\" \\d %41 #e?f&g=h:i;j", "one, two"])
async def test_the_folder_may_be_called_anything(tmp_path, name):
    """Neither server's configuration nor an address takes a part of the name for something else."""
    folder = DataFolder(tmp_path / name)
    with folder.lock():
        for _ in range(2):
            async with Servers.run(folder, SERVICES, USERS) as servers:
                await write(servers, "here")
                await fill_stream(servers)
        async with Servers.run(folder, SERVICES, USERS) as servers:
            assert await notes(servers) == ["here"] * 2
            assert await tickets(servers) == 1


@contextmanager
def no_file_longer_than(count: int) -> Iterator[None]:
    """As on a full disk: a write takes what there is room for, and the next one fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_for_which_there_is_no_room_is_the_one_before(tmp_path):
    """Half of the secrets would be none."""
    kept = tmp_path / "secrets.json"
    write_durably(kept, b"old")
    with no_file_longer_than(4096), pytest.raises(OSError, match="File too large"):
        write_durably(kept, b"new" * 4096)

    assert kept.read_bytes() == b"old"
