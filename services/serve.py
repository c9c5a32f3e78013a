"""One service, or the migrations, told by the environment: the shape for containers."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

from libs import bus as buses
from libs import memory, runtime, settings, telemetry
from libs.bus import BusError
from libs.database import NoDatabase, OldSchema, Target, migrate, refuse_old
from libs.http import NoAddress
from proto import SERVICES
from proto.topology import CONSUMERS, STREAMS
from services.stopping import stop_signal

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
    memory.give_back()
    try:
        match options.command:
            case "serve":
                return await _service(options.service.replace("-", "_"), environ)
            case _:
                return await _migrate(environ)
    except (settings.BadSettings, NoAddress, runtime.NotReady, NoDatabase, OldSchema, BusError) as error:
        print(error, file=sys.stderr)
        return 1


async def _service(name: str, environ: Mapping[str, str]) -> int:
    service = load_service(name)
    values: ServiceSettings = settings.load({name: service.settings}, environ, known=known_names, tables=SERVICES)[name]
    values = msgspec.structs.replace(values, database_url=values.database_url.replace("{service}", name))
    await refuse_old(Target(values.database_url, name, migrations(name)))
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


def known_names() -> set[str]:
    """All processes may share one environment file: another service's settings are known, not unknown."""
    return {env for other in SERVICES for env in settings.environment_names(load_settings(other))}


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
