"""Real servers, one pair for each test process; each test finds them empty."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from libs import bus as buses
from libs.database import Target, migrate, open_pool
from libs.eventstore import EventStore
from libs.supervisor import DataFolder, Servers
from proto import REGISTRY, SERVICES
from proto.topology import CONSUMERS, STREAMS, USERS
from services.job.engines.ytdlp import YtdlpEngine
from services.serve import migrations
from tests.support.emptying import Emptying


class Installation:
    """Servers with every schema and stream, and what a test opens on them; all of it is closed after the test."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self.wake = asyncio.Event()
        self._closers: list[Callable[[], Awaitable[object]]] = []

    async def bus(self, user: str) -> buses.Bus:
        bus = await buses.open(self.servers.nats_url, user=user, seed=self.servers.nats_seeds[user])
        self._closers.append(bus.close)
        return bus

    async def pool(self, service: str, limit: int = 5, **settings: str):
        """`settings` of the server, for its sessions alone."""
        url = self.servers.database_urls[service]
        if settings:
            url += ("&" if "?" in url else "?") + urlencode(settings)
        pool = await open_pool(url, service, limit)
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


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def common(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Emptying | None]:
    """Servers for all tests of a process."""
    if os.environ.get("TEST_SERVERS") == "containers":
        yield None
        return
    folder = DataFolder(tmp_path_factory.mktemp("common") / "data")
    with folder.lock():
        async with Servers.run(folder, SERVICES, USERS) as servers:
            for name in SERVICES:
                await migrate(Target(servers.database_urls[name], name, migrations(name)))
            emptying = Emptying(servers)
            await emptying.begin()
            yield emptying


@pytest.fixture
async def installation(common: Emptying | None, tmp_path: Path) -> AsyncIterator[Installation]:
    """With nothing in it. Its servers go on after the test: one that kills them takes `alone`."""
    if common is None:
        from tests.conformance.containers import contained  # noqa: PLC0415 - needs a container engine

        async with contained(tmp_path, SERVICES) as servers:
            for name in SERVICES:
                await migrate(Target(servers.database_urls[name], name, migrations(name)))
            async with opened(servers) as one:
                yield one
        return
    await common.empty()
    async with opened(common.servers) as one:
        yield one


@pytest.fixture
async def alone(tmp_path: Path) -> AsyncIterator[Installation]:
    """Servers of the test's own, without schemas."""
    folder = DataFolder(tmp_path / "data")
    with folder.lock():
        async with Servers.run(folder, SERVICES, USERS) as servers, opened(servers) as one:
            yield one


@asynccontextmanager
async def opened(servers) -> AsyncIterator[Installation]:
    one = Installation(servers)
    await one.topology()
    try:
        yield one
    finally:
        await one.close()


@pytest.fixture
def running_installation(common: Emptying):
    """For property tests, which call from synchronous code: one installation for all examples, and their loop."""
    with asyncio.Runner() as runner:
        runner.run(common.empty())
        yield lambda work: runner.run(_with_installation(common.servers, work))


async def _with_installation(servers: Servers, work):
    one = Installation(servers)
    try:
        return await work(one)
    finally:
        await one.close()
