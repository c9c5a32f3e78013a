"""The same tests against Postgres and NATS in containers: `TEST_SERVERS=containers pytest tests/conformance`.

Not run where this was written: it needs a container engine. Tests that kill a server need a process of their own and
do not hold here; they are those that use `installation.servers.postgres` or `.nats`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct
from testcontainers.core.container import DockerContainer
from testcontainers.core.waiting_utils import wait_for_logs

from proto.topology import USERS
from tests.contracts.deployments import prepare

POSTGRES = "postgres:18"
NATS = "nats:2.12"
CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nats.conf"


class Contained(Struct, frozen=True):
    """What a test asks of `libs.supervisor.Servers`, as far as containers have it."""

    database_urls: dict[str, str]
    nats_url: str
    nats_seeds: dict[str, Path]


@asynccontextmanager
async def contained(folder: Path, services: Iterable[str]) -> AsyncIterator[Contained]:
    """Both servers with the roles and accounts that a deployment has. The folder gets their secrets."""
    prepare(folder, "127.0.0.1:5432/longshore")
    postgres = (
        DockerContainer(POSTGRES)
        .with_env("POSTGRES_DB", "longshore")
        .with_env("POSTGRES_PASSWORD", (folder / "servers" / "postgres_password").read_text())
        .with_volume_mapping(str(folder / "servers" / "roles.sql"), "/docker-entrypoint-initdb.d/roles.sql")
        .with_exposed_ports(5432)
    )
    nats = (
        DockerContainer(NATS)
        .with_volume_mapping(str(CONFIGURATION), "/etc/nats/nats.conf")
        .with_volume_mapping(str(folder / "servers" / "accounts.conf"), "/etc/nats/accounts.conf")
        .with_command("-c /etc/nats/nats.conf")
        .with_exposed_ports(4222)
    )
    with postgres, nats:
        await asyncio.to_thread(wait_for_logs, postgres, "ready to accept connections", 60)
        await asyncio.to_thread(wait_for_logs, nats, "Server is ready", 60)
        port = postgres.get_exposed_port(5432)
        prepare(folder, f"{postgres.get_container_host_ip()}:{port}/longshore")
        urls = {name: _url(folder / f"{name}.toml") for name in services}
        seeds = {user.name: folder / f"{user.name}.nk" for user in USERS}
        yield Contained(urls, f"nats://{nats.get_container_host_ip()}:{nats.get_exposed_port(4222)}", seeds)


def _url(path: Path) -> str:
    line = next(line for line in path.read_text().splitlines() if line.startswith("database_url"))
    return line.partition("=")[2].strip().strip('"')
