"""Wiring of the scheduler."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from libs.bus import follow
from libs.calls import Caller, serve
from libs.database import Connection
from libs.eventstore.projection import Applied, Follower
from libs.runtime import Resources, Service, ServiceSettings
from proto import REGISTRY
from proto.scheduler import ScheduleFired
from services.scheduler.handlers import HANDLERS, WAITS, keep_alarms, submit_run
from services.scheduler.ticker import Ticker


@asynccontextmanager
async def start(settings: ServiceSettings, resources: Resources) -> AsyncIterator[None]:
    pool, bus, store = await resources.event_source(settings, "scheduler", REGISTRY, kept=0)
    ticker = Ticker(pool, store, bus)
    caller = Caller(bus, REGISTRY, "scheduler")

    async def alarms(conn: Connection, batch: Sequence[Applied]) -> None:
        await keep_alarms(conn, [one.event for one in batch])

    async def runs(_: Connection, batch: Sequence[Applied]) -> None:
        for one in batch:
            if isinstance(one.event, ScheduleFired):
                await submit_run(one.event, pool, caller)

    for follower in (
        Follower(
            "scheduler.alarms",
            pool,
            "scheduler",
            lambda after: follow(bus, "EV_JOB", after, only=WAITS),
            REGISTRY,
            WAITS,
            alarms,
            committed=lambda _: ticker.changed.set(),
        ),
        Follower(
            "scheduler.runs",
            pool,
            "scheduler",
            lambda after: follow(bus, "EV_SCHEDULER", after),
            REGISTRY,
            frozenset({"scheduler.fired"}),
            runs,
        ),
    ):
        resources.spawn(follower.run(), follower.name)
    await serve(bus, "scheduler", HANDLERS, {"pool": pool, "store": store, "ticker": ticker})
    resources.spawn(ticker.run(), "ticker")
    yield


SERVICE = Service("scheduler", ServiceSettings, start)
