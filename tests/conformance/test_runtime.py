"""Services as values: what runs in a process, and what one service may rely on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from libs import runtime
from libs.bus import Message, Unreachable
from libs.eventstore import EventStore, NoStream, Write, letters
from libs.eventstore.projection import Applied
from libs.http import Receive, Scope, Send
from libs.message import Meta, new_id
from libs.runtime import Resources, Service, ServiceSettings
from proto import REGISTRY
from proto.scheduler import ScheduleFired
from tests.support.ports import own_port


async def fire(store: EventStore) -> None:
    schedule, at = new_id(), datetime.now(UTC)
    event = ScheduleFired(schedule_id=schedule, owner=new_id(), job_id=new_id(), due=at, at=at)
    meta = Meta(correlation=new_id(), actor="service:scheduler")
    fired = Write(stream_id=schedule, kind="schedule", expected=NoStream(), events=[event], meta=meta)
    async with store.transaction() as tx:
        await tx.append([fired])


@asynccontextmanager
async def process(start, servers, tmp_path: Path):
    """The scheduler's, started with `start` and ready."""
    settings = ServiceSettings(
        data_dir=tmp_path, database_url=servers.database_urls["scheduler"], nats_url=servers.nats_url,
        nats_seed=servers.nats_seeds["scheduler"], secret_key="k" * 32, http_port=own_port(),
    )  # fmt: skip
    ready, stop = asyncio.Event(), asyncio.Event()
    service = Service("scheduler", ServiceSettings, start)
    running = asyncio.create_task(runtime.run([(service, settings)], ready=ready.set, stop=stop))
    try:
        async with asyncio.timeout(60):
            await ready.wait()
        yield
    finally:
        stop.set()
        await asyncio.wait({running})
    assert running.exception() is None


async def test_a_process_that_does_not_lead_tells_the_others_what_it_committed(installation, tmp_path: Path):
    """Or its events would wait for the leader's poll, and clients of another replica would not see what they wrote."""
    stores: list[EventStore] = []
    told = asyncio.Event()

    @asynccontextmanager
    async def start(settings: ServiceSettings, resources: Resources):
        _, _, store = await resources.event_source(settings, "scheduler", REGISTRY)
        stores.append(store)
        yield

    async def heard(_: Message) -> None:
        told.set()

    bus = await installation.bus("scheduler")
    await bus.listen("wake.scheduler", heard)
    async with (
        process(start, installation.servers, tmp_path),
        process(start, installation.servers, tmp_path),
        asyncio.timeout(60),
    ):
        for store in stores:
            await fire(store)
        await told.wait()


async def test_who_is_told_to_stop_says_so_and_answers_until_nobody_asks_any_more(tmp_path: Path):
    """A balancer of load sends requests until it has noticed; none of them may find the door shut."""
    stop, port = asyncio.Event(), own_port()

    async def hello(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    @asynccontextmanager
    async def start(settings: ServiceSettings, resources: Resources):
        resources.mount("/", hello)
        yield

    settings = ServiceSettings(
        data_dir=tmp_path, database_url="postgresql://nobody@/none", nats_url="nats://127.0.0.1:1",
        secret_key="k" * 32, http_port=port, drain_seconds=600,
    )  # fmt: skip
    ready = asyncio.Event()
    running = asyncio.create_task(
        runtime.run([(Service("scheduler", ServiceSettings, start), settings)], ready=ready.set, stop=stop)
    )
    try:
        async with asyncio.timeout(60), aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            await ready.wait()
            async with http.get("/readyz") as before:
                assert before.status == 200
            stop.set()
            status, said = 200, b""
            while status == 200:
                async with http.get("/readyz") as answer:
                    status, said = answer.status, await answer.read()
            async with http.get("/") as answer:
                assert await answer.read() == b"hello"
    finally:
        running.cancel()
        await asyncio.wait({running})

    assert (status, json.loads(said)["missing"]) == (503, {"process": "it was told to stop"})


async def test_what_another_service_must_be_asked_for_waits_for_it(installation, tmp_path: Path):
    """It is not put aside as if the event were at fault: a job of a schedule is not lost to a restart."""
    servers, done, asked = installation.servers, asyncio.Event(), 0

    async def act(_conn: object, _batch: Sequence[Applied]) -> None:
        nonlocal asked
        asked += 1
        if asked <= 7:
            raise Unreachable("nobody answers cmd.job.submit")
        done.set()

    @asynccontextmanager
    async def start(settings: ServiceSettings, resources: Resources):
        pool, bus, _ = await resources.event_source(settings, "scheduler", REGISTRY)
        resources.follow(
            "acts", "EV_SCHEDULER", frozenset({"scheduler.fired"}), act, pool=pool, bus=bus, registry=REGISTRY
        )
        yield

    async with process(start, servers, tmp_path), asyncio.timeout(60):
        await fire(await installation.store("scheduler"))
        await done.wait()

    assert await letters.count(await installation.pool("scheduler"), "scheduler") == 0
