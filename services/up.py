"""Everything on one machine: the servers, all services in this process, and worker processes beside it."""

from __future__ import annotations

import argparse
import asyncio
import errno
import os
import secrets
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from libs import bus as buses
from libs import memory, runtime, settings, telemetry
from libs.bus import BusError
from libs.calls import Caller, ServiceFailed
from libs.database import MigrationFailed, NoDatabase, Target, migrate_aside
from libs.feed import SinkGone
from libs.http import NoAddress
from libs.message import Refused, new_id
from libs.supervisor import Child, DataFolder, DataFolderInUse, Servers, StartFailed, UnusableFolder
from proto import REGISTRY, SERVICES
from proto.auth import CreateUser, ReadUser, User
from proto.job import LoseWorker
from proto.topology import CONSUMERS, STREAMS, USERS
from services.job.worker.settings import WorkerSettings
from services.serve import load_service, migrations
from services.stopping import stop_signal

if TYPE_CHECKING:
    from services.auth.service import AuthSettings

log = structlog.get_logger()

TOPOLOGY_SECONDS = 5.0
FAILURES = (
    DataFolderInUse,
    UnusableFolder,
    StartFailed,
    settings.BadSettings,
    NoAddress,
    runtime.NotReady,
    NoDatabase,
    MigrationFailed,
    BusError,
    ServiceFailed,
)
"""What the words of the error suffice for: they say what to do."""

EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound
UNREACHABLE_LINKS = (
    "Links in answers name this address, which leads other machines nowhere: set LONGSHORE_PUBLIC_URL to the one that "
    "they use, such as http://192.168.1.10:8000."
)
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
OURS = frozenset({"database_url", "nats_url", "nats_seed", "worker_id"})
"""Settings that tell where servers are. Here there are servers of our own."""
UNTOLD: Mapping[str, object] = {
    "database_url": "postgresql://us",
    "nats_url": "nats://us",
    "nats_seed": None,
    "secret_key": "-" * runtime.SHORTEST_KEY,
    "worker_id": None,
}
"""In their places until they run, with the key that a first start makes up."""


async def up(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    memory.give_back()
    stop = stop_signal()
    folder = None
    try:
        services = await asyncio.to_thread(lambda: {name: load_service(name) for name in SERVICES})
        folder, told = _told(options, environ, services)
        flush = telemetry.setup("up", otlp_endpoint=told["gateway"].otlp_endpoint)
        try:
            with folder.lock():
                await _run(options, environ, folder, services, told, stop)
        finally:
            flush()
    except FAILURES as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        if folder is None or error.errno not in NO_ROOM:
            raise
        print(
            f"{folder.path} can not be written to: {error.strerror}. Make room there, or choose another folder with "
            "--data.",
            file=sys.stderr,
        )
        return 1
    return 0


async def _run(
    options: argparse.Namespace,
    environ: Mapping[str, str],
    folder: DataFolder,
    services: Mapping[str, runtime.Service],
    told: Mapping[str, Any],
    stop: asyncio.Event,
) -> None:
    async with Servers.run(folder, SERVICES, USERS, settings.read("secret_key", environ) or None) as servers:
        values = _at_our_servers(told, servers)
        await _prepare(servers)
        pairs = [(services[name], values[name]) for name in SERVICES]
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(_keep_topology(servers))
            ready, over = asyncio.Event(), asyncio.Event()
            running = tasks.create_task(runtime.run(pairs, ready=ready.set, stop=over))
            await _beside(options, environ, folder, servers, values, ready, stop)
            over.set()
            await running
            keeping.cancel()


def _told(
    options: argparse.Namespace, environ: Mapping[str, str], services: Mapping[str, runtime.Service]
) -> tuple[DataFolder, dict[str, Any]]:
    """Where the data is, and the settings of all services and workers but for those that our own servers give. Raises
    BadSettings with all that is wrong of all of them, and UnusableFolder, before anything is started or made."""
    problems = [
        f"Remove {name}: `longshore up` has servers of its own; `longshore serve` is for others."
        for name in map(settings.environment_name, sorted(OURS))
        if name in environ
    ]
    folder, key = DataFolder(Path()), None
    try:
        folder = DataFolder.find(options.data, environ)
    except settings.BadSettings as bad:
        problems += bad.problems
    try:
        key = settings.read("secret_key", environ) or None
    except settings.BadSettings as bad:
        problems += bad.problems
    chosen = {"data_dir": folder.path, "http_host": options.host, "http_port": options.port}
    given: dict[str, object] = {**UNTOLD, **{name: value for name, value in chosen.items() if value is not None}}
    if key is not None:
        given["secret_key"] = key  # and it is looked at like any other setting
    structs: dict[str, type[msgspec.Struct]] = {
        **{name: services[name].settings for name in SERVICES},
        "worker": WorkerSettings,
    }
    try:
        loaded = settings.load(structs, environ, given=dict.fromkeys(structs, given))
    except settings.BadSettings as bad:
        raise settings.BadSettings(dict.fromkeys([*problems, *bad.problems])) from None
    if problems:
        raise settings.BadSettings(dict.fromkeys(problems))
    return folder, loaded


def _at_our_servers(told: Mapping[str, Any], servers: Servers) -> dict[str, Any]:
    values = {
        name: msgspec.structs.replace(
            told[name],
            secret_key=servers.secret_key,
            database_url=servers.database_urls[name],
            nats_url=servers.nats_url,
            nats_seed=servers.nats_seeds[name],
        )
        for name in SERVICES
    }
    worker = msgspec.structs.replace(told["worker"], nats_url=servers.nats_url, nats_seed=servers.nats_seeds["worker"])
    return {**values, "worker": worker}


async def _prepare(servers: Servers) -> None:
    async with asyncio.TaskGroup() as tasks:
        targets = [Target(servers.database_urls[name], name, migrations(name)) for name in SERVICES]
        tasks.create_task(migrate_aside(targets))
        tasks.create_task(_topology(servers))


async def _topology(servers: Servers) -> None:
    bus = await buses.open(servers.nats_url, user="topology", seed=servers.nats_seeds["topology"])
    try:
        await buses.ensure_topology(bus, STREAMS, CONSUMERS)
    finally:
        await bus.close()


async def _keep_topology(servers: Servers) -> None:
    """A stream that is lost while everything runs is made again; its relay then fills it from Postgres."""
    while True:
        await asyncio.sleep(TOPOLOGY_SECONDS)  # the interval of a check, not a wait for anything
        try:
            await _topology(servers)
        except (BusError, SinkGone) as error:  # it may go once more while it is looked at
            await log.awarning("topology.unchecked", reason=str(error))


async def _beside(
    options: argparse.Namespace,
    environ: Mapping[str, str],
    folder: DataFolder,
    servers: Servers,
    values: Mapping[str, Any],
    ready: asyncio.Event,
    stop: asyncio.Event,
) -> None:
    """Workers start when the services answer, and stop before them so that their last reports are taken."""
    bus = await buses.open(servers.nats_url, user="cli", seed=servers.nats_seeds["cli"])
    caller = Caller(bus, REGISTRY, "up")
    try:
        await ready.wait()
        async with asyncio.TaskGroup() as tasks:
            for number in range(options.workers):
                tasks.create_task(_worker(number, values["worker"], environ, folder, caller, stop))
            print(f"Longshore runs at {values['gateway'].base_url}", flush=True)
            if values["gateway"].http_host in EVERYWHERE and not values["gateway"].public_url:
                print(UNREACHABLE_LINKS, file=sys.stderr)
            await _admin(values["auth"], caller)
            await stop.wait()
    finally:
        await bus.close()


async def _admin(auth: AuthSettings, caller: Caller) -> None:
    """The first start makes the administrator and shows the password; it is kept only as a hash. One whose password
    was chosen is made by the auth service."""
    name = auth.admin_username
    try:
        await caller.query(ReadUser(username=name), result=User)
    except Refused:
        password = secrets.token_urlsafe(12)
        await caller.command(
            CreateUser(username=name, password=password, role="admin", email=auth.admin_email), actor="operator"
        )
        print(f"Administrator: {name}\nPassword: {password}", flush=True)


async def _worker(
    number: int,
    worker: WorkerSettings,
    environ: Mapping[str, str],
    folder: DataFolder,
    caller: Caller,
    stop: asyncio.Event,
) -> None:
    """Runs one worker until `stop`; when it dies its jobs are given back at once, and another takes its place."""
    delay = 0.1
    while not stop.is_set():
        worker_id = new_id()
        env = _worker_environment(msgspec.structs.replace(worker, worker_id=worker_id), environ)
        child = await Child.start(
            f"worker-{number}",
            [sys.executable, "-P", "-m", "services", "worker"],
            env=env,
            log=folder.log(f"worker-{number}"),
            # Politely asked, an orphan would report what it holds while its successor fetches the same.
            death_signal=signal.SIGKILL,
        )
        if await child.wait_or(stop):
            await child.stop()
            return
        await log.awarning("worker.died", worker=number, status=child.returncode)
        try:
            await caller.command(LoseWorker(worker_id=worker_id), actor="operator")
        except (BusError, ServiceFailed, Refused) as error:
            await log.awarning("worker.loss_unreported", reason=str(error))
        await asyncio.sleep(delay)  # back-off of a worker that can not live
        delay = min(delay * 2, 5.0)


def _worker_environment(worker: WorkerSettings, environ: Mapping[str, str]) -> dict[str, str]:
    """Its settings, wherever they were said, and nothing of our own environment that it has no use for."""
    told = {
        settings.environment_name(name): str(value)
        for name, value in msgspec.structs.asdict(worker).items()
        if value is not None
    }
    package_root = str(Path(__file__).parent.parent)
    return {"PATH": environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "PYTHONPATH": package_root, **told}
