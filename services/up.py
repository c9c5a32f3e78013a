"""Everything on one machine: the servers, all services in this process, and worker processes beside it."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from libs import bus as buses
from libs import memory, runtime, settings, telemetry
from libs.bus import BusError
from libs.bus.topology import CONSUMERS, STREAMS
from libs.calls import Caller
from libs.database import Target, migrate_aside
from libs.message import Refused, new_id
from libs.supervisor import Child, DataFolder, DataFolderInUse, Servers, UnusableFolder
from proto import REGISTRY, SERVICES
from proto.auth import CreateUser, ReadUser, User
from proto.job import LoseWorker
from services.job.settings import WorkerSettings
from services.serve import load_service, migrations
from services.stopping import stop_signal

log = structlog.get_logger()

TOPOLOGY_SECONDS = 5.0


async def up(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    memory.give_back()
    stop = stop_signal()
    folder = DataFolder.find(options.data, environ)
    flush = telemetry.setup("up", otlp_endpoint=environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))
    try:
        with folder.lock():
            await _run(options, environ, folder, stop)
    except (DataFolderInUse, UnusableFolder, settings.BadSettings, runtime.PortInUse) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        flush()
    return 0


async def _run(
    options: argparse.Namespace, environ: Mapping[str, str], folder: DataFolder, stop: asyncio.Event
) -> None:
    # The servers take a while to start and the libraries to import: they do so at the same time.
    importing = asyncio.create_task(asyncio.to_thread(lambda: {name: load_service(name) for name in SERVICES}))
    async with Servers.run(folder, SERVICES) as servers:
        services = await importing
        values = _settings(options, environ, folder, servers, services)
        await _prepare(servers)
        pairs = [(services[name], values[name]) for name in SERVICES]
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(_keep_topology(servers))
            ready, over = asyncio.Event(), asyncio.Event()
            running = tasks.create_task(runtime.run(pairs, ready=ready.set, stop=over))
            await _beside(options, environ, folder, servers, values["gateway"], ready, stop)
            over.set()
            await running
            keeping.cancel()


def _settings(
    options: argparse.Namespace,
    environ: Mapping[str, str],
    folder: DataFolder,
    servers: Servers,
    services: Mapping[str, runtime.Service],
) -> dict[str, Any]:
    chosen = {"http_host": options.host, "http_port": options.port}
    given: dict[str, dict[str, object]] = {
        name: {
            "data_dir": folder.path,
            "secret_key": servers.secret_key,
            "database_url": servers.database_urls[name],
            "nats_url": servers.nats_url,
            "nats_seed": servers.nats_seeds[name],
            **{key: value for key, value in chosen.items() if value is not None},
        }
        for name in SERVICES
    }
    return settings.load(
        {name: services[name].settings for name in SERVICES},
        environ,
        given=given,
        known=lambda: settings.environment_names(WorkerSettings),
    )


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
        except BusError as error:
            await log.awarning("topology.unchecked", reason=str(error))


async def _beside(
    options: argparse.Namespace,
    environ: Mapping[str, str],
    folder: DataFolder,
    servers: Servers,
    gateway: runtime.ServiceSettings,
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
                tasks.create_task(_worker(number, environ, folder, servers, caller, stop))
            print(f"Longshore runs at {gateway.base_url}", flush=True)
            await _admin(environ, caller)
            await stop.wait()
    finally:
        await bus.close()


async def _admin(environ: Mapping[str, str], caller: Caller) -> None:
    """The first start makes the administrator and shows the password; it is kept only as a hash."""
    name = environ.get("LONGSHORE_ADMIN_USERNAME", "admin")
    try:
        await caller.query(ReadUser(username=name), result=User)
    except Refused:
        password = secrets.token_urlsafe(12)
        await caller.command(
            CreateUser(username=name, password=password, role="admin", email=environ.get("LONGSHORE_ADMIN_EMAIL", "")),
            actor="operator",
        )
        print(f"Administrator: {name}\nPassword: {password}", flush=True)


async def _worker(
    number: int, environ: Mapping[str, str], folder: DataFolder, servers: Servers, caller: Caller, stop: asyncio.Event
) -> None:
    """Runs one worker until `stop`; when it dies its jobs are given back at once, and another takes its place."""
    delay = 0.1
    while not stop.is_set():
        worker_id = new_id()
        env = {
            **_worker_environment(environ),
            "LONGSHORE_DATA_DIR": str(folder.path),
            "LONGSHORE_NATS_URL": servers.nats_url,
            "LONGSHORE_NATS_SEED": str(servers.nats_seeds["worker"]),
            "LONGSHORE_WORKER_ID": str(worker_id),
        }
        child = await Child.start(
            f"worker-{number}",
            [sys.executable, "-m", "services", "worker"],
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
        except (BusError, Refused) as error:
            await log.awarning("worker.loss_unreported", reason=str(error))
        await asyncio.sleep(delay)  # back-off of a worker that can not live
        delay = min(delay * 2, 5.0)


def _worker_environment(environ: Mapping[str, str]) -> dict[str, str]:
    names: Sequence[str] = (
        "LONGSHORE_EGRESS_ALLOW",
        "LONGSHORE_WORKER_SLOTS",
        "LONGSHORE_GALLERY_INSTANCES",
        "LONGSHORE_EXTENSIONS",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    )
    passed = {name: environ[name] for name in names if name in environ}
    package_root = str(Path(__file__).parent.parent)
    return {"PATH": environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "PYTHONPATH": package_root, **passed}
