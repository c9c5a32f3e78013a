"""One service, one worker, or the migrations, told by the environment: the shape for containers."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

from libs import bus as buses
from libs import runtime, settings, telemetry
from libs.bus import BusError
from libs.bus.topology import CONSUMERS, STREAMS
from libs.database import Target, migrate
from proto import SERVICES

if TYPE_CHECKING:
    from libs.runtime import Service, ServiceSettings

log = structlog.get_logger()


def load_service(name: str) -> Service:
    """By name, so that running one service never imports another's libraries."""
    service: Service = importlib.import_module(f"services.{name}.service").SERVICE
    return service


def migrations(name: str) -> Path:
    return Path(__file__).parent / name / "migrations"


async def serve(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    try:
        match options.command:
            case "serve":
                return await _service(options.service.replace("-", "_"), environ)
            case "worker":
                return await _worker(options.slots, environ)
            case _:
                return await _migrate(environ)
    except (settings.BadSettings, runtime.PortInUse, BusError) as error:
        print(error, file=sys.stderr)
        return 1


async def _service(name: str, environ: Mapping[str, str]) -> int:
    service = load_service(name)
    # Every service may share one environment file: another service's settings are known, not unknown.
    known = {env for other in SERVICES for env in settings.environment_names(load_settings(other))}
    values: ServiceSettings = settings.load({name: service.settings}, environ, known=known, tables=SERVICES)[name]
    values = msgspec.structs.replace(values, database_url=values.database_url.replace("{service}", name))
    flush = telemetry.setup(name, otlp_endpoint=values.otlp_endpoint)
    try:
        await runtime.run(
            [(service, values)], ready=lambda: log.info("service.ready", service=name), stop=stop_signal()
        )
    finally:
        flush()
    return 0


def load_settings(name: str) -> type[ServiceSettings]:
    return load_service(name).settings


async def _worker(slots: int | None, environ: Mapping[str, str]) -> int:
    from services.job.worker import WorkerSettings, work  # noqa: PLC0415 - a service process does not need engines

    known = {env for other in SERVICES for env in settings.environment_names(load_settings(other))}
    given = {"worker": {"worker_slots": slots}} if slots else None
    values: WorkerSettings = settings.load(
        {"worker": WorkerSettings}, environ, given=given, known=known, tables=SERVICES
    )["worker"]
    flush = telemetry.setup("worker", otlp_endpoint=values.otlp_endpoint)
    try:
        await work(values, stop_signal())
    finally:
        flush()
    return 0


async def _migrate(environ: Mapping[str, str]) -> int:
    """Schemas and streams. As for `serve`, `LONGSHORE_DATABASE_URL` may contain `{service}`; the seed for NATS is that
    of the user `topology`, who alone may make streams."""
    structs = {name: load_settings(name) for name in SERVICES}
    values = settings.load(structs, environ)
    for name in SERVICES:
        await migrate(Target(values[name].database_url.replace("{service}", name), name, migrations(name)))
        print(f"{name}: up to date")
    bus = await buses.open(values["job"].nats_url, user="topology", seed=values["job"].nats_seed)
    try:
        await buses.ensure_topology(bus, STREAMS, CONSUMERS)
    finally:
        await bus.close()
    print("streams: up to date")
    return 0


def stop_signal() -> asyncio.Event:
    """Set by SIGTERM or the first Ctrl-C; a second Ctrl-C ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def first() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, first)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    return stop
