"""Runs a list of services in one process. The shape of a deployment is the length of that list.

Every service may share a process with any other and can not tell: what it needs (a pool, a bus, an HTTP prefix) it
asks of `Resources`, which opens a thing once per URL and closes it after the last user is gone.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import msgspec
import structlog

from libs import bus as buses
from libs.bus.topology import event_stream
from libs.database import AWAY, Connection, open_pool
from libs.egress.policy import Allowance
from libs.eventstore import EventStore
from libs.eventstore.projection import Applied, Apply, Follower, Later
from libs.eventstore.relay import Relay
from libs.http import AsgiApp, Check, application, free_address, listening
from libs.lasting import only
from libs.message import Event, Registry, repr_without
from libs.settings import DatabaseUrl, NatsUrl, OptionalUrl

log = structlog.get_logger()

START_DEADLINE = 60.0
STOP_DEADLINE = 8.0
"""Seconds; below the ten that a clean stop of everything may take."""
LAG_LIMIT = 10.0
"""Seconds a relay or a follower may be behind before its service calls itself not ready."""

SHORTEST_KEY = 16
LinkKeys = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9_-]{1,16}(,[A-Za-z0-9_-]{1,16})*$", description="ids separated by commas, such as 2,1"
    ),
]


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What every service is told; a service with more to know extends it."""

    data_dir: Path
    database_url: DatabaseUrl
    nats_url: NatsUrl
    secret_key: Annotated[str, msgspec.Meta(min_length=SHORTEST_KEY)]
    nats_seed: Path | None = None
    http_host: Annotated[str, msgspec.Meta(min_length=1)] = "127.0.0.1"
    http_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 8000
    public_url: OptionalUrl = ""
    """Where clients reach us, without a trailing slash; empty derives it from host and port."""
    link_keys: LinkKeys = "1"
    """Ids of the keys that links to files are signed with: the first signs, all are accepted."""
    egress_allow: Allowance = Allowance()
    otlp_endpoint: OptionalUrl = ""
    drain_seconds: Annotated[int, msgspec.Meta(ge=0, le=600)] = 0
    """How long a service that was told to stop still answers, while `/readyz` says that it leaves."""

    def __repr__(self) -> str:
        return repr_without(self, "database_url", "secret_key", "admin_password")

    @property
    def base_url(self) -> str:
        host = f"[{self.http_host}]" if ":" in self.http_host else self.http_host
        return self.public_url.rstrip("/") or f"http://{host}:{self.http_port}"


@dataclass(frozen=True)
class Service:
    """A name, what it is told, and how it starts. `start` yields when the service is ready and cleans up after."""

    name: str
    settings: type[ServiceSettings]
    start: Callable[[Any, Resources], AbstractAsyncContextManager[None]]


class NotReady(Exception):
    """A service took too long to start; the message says which."""


@dataclass
class _Shared:
    """Things of the process, keyed by what names them."""

    stack: AsyncExitStack
    pools: dict[tuple[str, str, bool, bool], asyncpg.Pool] = field(default_factory=dict)
    buses: dict[tuple[str, str], buses.Bus] = field(default_factory=dict)
    mounts: dict[str, AsgiApp] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)


class Resources:
    """One service's view of the process."""

    def __init__(self, service: str, shared: _Shared, tasks: asyncio.TaskGroup) -> None:
        self._service = service
        self._shared = shared
        self._tasks = tasks
        self._spawned: list[asyncio.Task[Any]] = []
        self.relay: Relay | None = None
        self.followers: dict[str, Follower] = {}
        """By the names of their marks."""

    async def pool(
        self, url: str, service: str, *, kept: int = 1, durable: bool = True, planned_once: bool = False
    ) -> asyncpg.Pool:
        """See `libs.database.open_pool`."""
        key = (url, service, durable, planned_once)
        if key not in self._shared.pools:
            pool = await open_pool(url, service, kept=kept, durable=durable, planned_once=planned_once)
            self._shared.stack.push_async_callback(_close_pool, pool)
            self._shared.pools[key] = pool
        return self._shared.pools[key]

    async def bus(self, url: str, user: str, seed: Path | None) -> buses.Bus:
        key = (url, user)
        if key not in self._shared.buses:
            bus = await buses.open(url, user=user, seed=seed)
            self._shared.stack.push_async_callback(bus.close)
            self._shared.buses[key] = bus
        return self._shared.buses[key]

    async def event_source(
        self, settings: ServiceSettings, service: str, registry: Registry, *, kept: int = 1
    ) -> tuple[asyncpg.Pool, buses.Bus, EventStore]:
        """What every service with a feed needs: its pool, its bus, its store, and the relay from the one to the other,
        with their part of readiness. A service that nobody waits for needs no connection `kept` for it."""
        pool = await self.pool(settings.database_url, service, kept=kept)
        bus = await self.bus(settings.nats_url, service, settings.nats_seed)
        wake = asyncio.Event()
        store = EventStore(pool, service, registry, wake.set)
        sink, subject = buses.Stream(bus, event_stream(service)), f"wake.{service}"

        async def tell() -> None:
            await bus.signal(subject, b"")

        async def woken(_: buses.Message) -> None:
            relay.woken()

        relay = Relay(store, sink, url=settings.database_url, wake=wake, tell=tell)
        self.relay = relay
        await bus.listen(subject, woken)
        self.spawn(relay.run(), "relay")

        async def lag() -> str | None:
            return None if relay.lag_seconds < LAG_LIMIT else f"the relay is {relay.lag_seconds:.0f} s behind"

        self.watch(bus, pool)
        self.ready("relay", lag)
        return pool, bus, store

    def follow(
        self,
        name: str,
        stream: str,
        wanted: frozenset[str],
        apply: Apply,
        *,
        pool: asyncpg.Pool,
        bus: buses.Bus,
        registry: Registry,
        relevant: Callable[[Event], bool] = lambda _: True,
        committed: Callable[[Sequence[Applied]], None] | None = None,
    ) -> None:
        """Runs a follower of this service, as `spawn` does. Its mark is called `<service>.<name>`, and the server sends
        it what is `wanted` alone. While another service that `apply` asks does not answer, it waits."""

        async def patient(conn: Connection, batch: Sequence[Applied]) -> None:
            try:
                await apply(conn, batch)
            except buses.BusError as error:
                raise Later(str(error)) from error

        follower = Follower(
            f"{self._service}.{name}",
            pool,
            self._service,
            lambda after: buses.follow(bus, stream, after, only=wanted),
            registry,
            wanted,
            patient,
            relevant=relevant,
            committed=committed,
        )
        self.run_follower(follower)

    def run_follower(self, follower: Follower) -> None:
        """As `spawn` does; that it keeps up is a part of readiness."""

        async def lag() -> str | None:
            behind = follower.lag_seconds
            return None if behind < LAG_LIMIT else f"{behind:.0f} s behind"

        self.followers[follower.name] = follower
        self.spawn(follower.run(), follower.name)
        self.ready(f"follower {follower.name}", lag)

    def watch(self, bus: buses.Bus, pool: asyncpg.Pool) -> None:
        """Makes the servers' being there a part of readiness."""

        async def postgres() -> str | None:
            try:
                await pool.fetchval("select 1")
            except AWAY as error:
                return f"Postgres: {type(error).__name__}"
            return None

        async def nats() -> str | None:
            return None if bus.connected else "NATS: not connected"

        self.ready("postgres", postgres)
        self.ready("nats", nats)

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Runs until the service stops. If it ends with an error, so does the process: a service that is half alive
        is worse than one that is restarted."""
        task = self._tasks.create_task(work, name=f"{self._service}:{name}")
        self._spawned.append(task)
        return task

    def mount(self, prefix: str, app: AsgiApp) -> None:
        self._shared.mounts[prefix] = app

    def ready(self, name: str, check: Check) -> None:
        """`check` answers None when ready, else what is missing, in words for an operator."""
        self._shared.checks[f"{self._service}.{name}"] = check

    def stop_tasks(self) -> None:
        for task in self._spawned:
            task.cancel()


async def _close_pool(pool: asyncpg.Pool) -> None:
    try:
        async with asyncio.timeout(2):
            await pool.close()
    except TimeoutError:
        pool.terminate()


async def run(
    services: Sequence[tuple[Service, ServiceSettings]], *, ready: Callable[[], None], stop: asyncio.Event
) -> None:
    """Start all, serve until `stop` is set, leave in reverse order. Raises NoAddress before anything is
    started, NotReady, and what a service could not start for."""
    addresses = {(settings.http_host, settings.http_port) for _, settings in services}
    numbers = {(await asyncio.to_thread(free_address, host, port), port) for host, port in addresses}
    try:
        await _serve(services, numbers, ready, stop)
    except BaseExceptionGroup as group:
        raise only(group) from None


async def _serve(
    services: Sequence[tuple[Service, ServiceSettings]],
    addresses: Iterable[tuple[str, int]],
    ready: Callable[[], None],
    stop: asyncio.Event,
) -> None:
    async with AsyncExitStack() as stack:
        shared = _Shared(stack)
        async with asyncio.TaskGroup() as tasks:
            running = [_Running(service, settings, shared) for service, settings in services]
            members = [tasks.create_task(one.live(), name=one.service.name) for one in running]
            await _ready(running)
            async with AsyncExitStack() as servers:
                for host, port in addresses:
                    await servers.enter_async_context(listening(host, port, application(shared.mounts, shared.checks)))
                # What the start made stays for ever: the collector need not look at it again and again.
                gc.collect()
                gc.freeze()
                gc.set_threshold(10_000, 20, 20)
                ready()
                await stop.wait()
                shared.checks["process"] = _leaving
                # Whoever balances load has so long to notice, and to send nothing more.
                await asyncio.sleep(max(settings.drain_seconds for _, settings in services))
            await asyncio.gather(*(bus.quiet() for bus in shared.buses.values()))
            for one, member in zip(reversed(running), reversed(members), strict=True):
                one.stop.set()
                await asyncio.wait([member], timeout=STOP_DEADLINE)
                member.cancel()


async def _leaving() -> str:
    return "it was told to stop"


async def _ready(running: Sequence[_Running]) -> None:
    try:
        async with asyncio.timeout(START_DEADLINE):
            for one in running:
                await one.ready.wait()
    except TimeoutError:
        late = ", ".join(one.service.name for one in running if not one.ready.is_set())
        raise NotReady(f"not ready within {START_DEADLINE:g} s: {late}") from None


class _Running:
    def __init__(self, service: Service, settings: ServiceSettings, shared: _Shared) -> None:
        self.service = service
        self.ready = asyncio.Event()
        self.stop = asyncio.Event()
        self._settings = settings
        self._shared = shared

    async def live(self) -> None:
        with structlog.contextvars.bound_contextvars(service=self.service.name):
            try:
                async with asyncio.TaskGroup() as tasks:
                    resources = Resources(self.service.name, self._shared, tasks)
                    async with self.service.start(self._settings, resources):
                        self.ready.set()
                        await self.stop.wait()
                    resources.stop_tasks()
            except BaseExceptionGroup:
                # Now, not when all the others have ended because of it.
                await log.aexception("service.failed")
                raise
