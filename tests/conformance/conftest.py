"""Real servers for each test: a folder prepared once per test process is copied, which takes less time than initdb."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from libs import bus as buses
from libs.bus.topology import CONSUMERS, STREAMS
from libs.database import Target, migrate, open_pool
from libs.eventstore import EventStore
from libs.supervisor import DataFolder, Servers
from proto import REGISTRY, SERVICES
from services.job.engines.ytdlp import YtdlpEngine
from services.serve import migrations


class Installation:
    """Servers with every schema and stream, and what a test opens on them; all of it is closed after the test."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self.wake = asyncio.Event()
        self._closers = []

    async def bus(self, user: str) -> buses.Bus:
        bus = await buses.open(self.servers.nats_url, user=user, seed=self.servers.nats_seeds[user])
        self._closers.append(bus.close)
        return bus

    async def pool(self, service: str, limit: int = 5):
        pool = await open_pool(self.servers.database_urls[service], service, limit)
        self._closers.append(pool.close)
        return pool

    async def store(self, service: str = "job", limit: int = 5) -> EventStore:
        return EventStore(await self.pool(service, limit), service, REGISTRY, self.wake.set)

    async def topology(self) -> None:
        bus = await buses.open(self.servers.nats_url, user="topology", seed=self.servers.nats_seeds["topology"])
        try:
            await buses.ensure_topology(bus, STREAMS, CONSUMERS)
        finally:
            await bus.close()

    async def close(self) -> None:
        for close in reversed(self._closers):
            await close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[YtdlpEngine]:
    """One yt-dlp for all tests of a process, as a worker has it: each job is a fork of what was loaded once."""
    async with YtdlpEngine(tmp_path_factory.mktemp("ytdlp") / "cache") as one:
        yield one


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    if os.environ.get("TEST_SERVERS") == "containers":
        return None
    path = tmp_path_factory.mktemp("prepared") / "data"

    async def prepare() -> None:
        folder = DataFolder(path)
        with folder.lock():
            async with Servers.run(folder, SERVICES) as servers:
                for name in SERVICES:
                    await migrate(Target(servers.database_urls[name], name, migrations(name)))

    asyncio.run(prepare())
    return path


@pytest.fixture
async def installation(prepared: Path | None, tmp_path: Path) -> AsyncIterator[Installation]:
    if prepared is None:
        from tests.conformance.containers import contained  # noqa: PLC0415 - needs a container engine

        async with contained(tmp_path, SERVICES) as servers:
            for name in SERVICES:
                await migrate(Target(servers.database_urls[name], name, migrations(name)))
            async with opened(servers) as one:
                yield one
        return
    path = tmp_path / "data"
    await asyncio.to_thread(subprocess.run, ["cp", "-a", str(prepared), str(path)], check=True)
    folder = DataFolder(path)
    with folder.lock():
        async with Servers.run(folder, SERVICES) as servers, opened(servers) as one:
            yield one


@asynccontextmanager
async def opened(servers) -> AsyncIterator[Installation]:
    one = Installation(servers)
    await one.topology()
    try:
        yield one
    finally:
        await one.close()


@pytest.fixture(scope="module")
def running_installation(prepared: Path, tmp_path_factory: pytest.TempPathFactory):
    """For property tests, which call from synchronous code: one installation for a module, and the loop it lives in."""
    path = tmp_path_factory.mktemp("module") / "data"
    subprocess.run(["cp", "-a", str(prepared), str(path)], check=True)
    folder = DataFolder(path)
    with folder.lock(), asyncio.Runner() as runner:
        context = Servers.run(folder, SERVICES)
        servers = runner.run(_entered(context))
        try:
            yield lambda work: runner.run(_with_installation(servers, work))
        finally:
            runner.run(_left(context))


async def _with_installation(servers: Servers, work):
    one = Installation(servers)
    try:
        return await work(one)
    finally:
        await one.close()


async def _entered(context):
    return await context.__aenter__()


async def _left(context) -> None:
    await context.__aexit__(None, None, None)
