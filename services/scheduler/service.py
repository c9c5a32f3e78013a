"""Wiring of the scheduler."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from libs.calls import Caller, serve
from libs.database import Connection
from libs.eventstore.projection import Applied
from libs.runtime import Resources, Service, ServiceSettings
from proto import REGISTRY
from proto.scheduler import ScheduleFired
from services.operations import answer_operator
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

    resources.follow(
        "alarms",
        "EV_JOB",
        WAITS,
        alarms,
        pool=pool,
        bus=bus,
        registry=REGISTRY,
        committed=lambda _: ticker.changed.set(),
    )
    resources.follow(
        "runs", "EV_SCHEDULER", frozenset({"scheduler.fired"}), runs, pool=pool, bus=bus, registry=REGISTRY
    )
    await answer_operator(bus, "scheduler", pool, resources)
    await serve(bus, "scheduler", HANDLERS, {"pool": pool, "store": store, "ticker": ticker})
    resources.spawn(ticker.run(), "ticker")
    yield


SERVICE = Service("scheduler", ServiceSettings, start)
