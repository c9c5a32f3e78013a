"""A worker process: dramatiq threads that take tickets, and one event loop that runs them.

It knows no database and no secret but its own seed for the bus. Each slot runs one attempt; foreign engines run in
children of their own, whose only way out is this process's egress proxy.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import dramatiq
import msgspec
import structlog
from dramatiq import Worker as Threads

from libs import bus as buses
from libs import telemetry
from libs.broker import JetStreamBroker
from libs.bus import Bus, Message, WorkItem
from libs.calls import Caller, serve
from libs.egress.policy import EgressPolicy
from libs.egress.proxy import EgressProxy
from libs.message import new_id
from libs.names import extensions
from proto import REGISTRY
from proto.job import Control, Dealt, Ticket, WorkerHeartbeat
from proto.unrestrict_proxy import Awaited, Cookie, ReadCookies
from services.job.engines.gallerydl import GalleryDlEngine
from services.job.engines.hosting import HostTable
from services.job.engines.http import HttpEngine
from services.job.engines.routing import Router
from services.job.engines.unrestrict import UnrestrictEngine
from services.job.engines.ytdlp import YtdlpEngine
from services.job.worker import cookies, inspecting
from services.job.worker.inspecting import Inspector
from services.job.worker.reporting import Reporter
from services.job.worker.runner import NotNow, Worker
from services.job.worker.settings import WorkerSettings

log = structlog.get_logger()

QUEUE = "download"
HEARTBEAT_SECONDS = 1.0
DRAIN_SECONDS = 25.0
"""Below the thirty seconds that a stopping worker is promised to need."""

COOKIES_SECONDS = 5.0
"""How long cookies are asked for to look at a link, whose asker waits."""

_encode = msgspec.json.Encoder().encode
_ticket = msgspec.json.Decoder(Ticket).decode
_control = msgspec.json.Decoder(Control).decode
_awaited = msgspec.json.Decoder(Awaited).decode
_dealt_news = msgspec.json.Decoder(Dealt).decode


async def work(settings: WorkerSettings, stop: asyncio.Event) -> None:
    """Takes tickets until `stop` is set, then gives back what it holds."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        bus = await buses.open(settings.nats_url, user="worker", seed=settings.nats_seed)
        stack.push_async_callback(bus.close)
        worker, inspector, hosts, unrestrict = await _engines(settings, bus, stack)
        await serve(bus, "worker", inspecting.HANDLERS, {"inspector": inspector}, concurrency=inspecting.AT_ONCE)
        await bus.listen("ctl.job.*", lambda message: _controlled(worker, message))
        await bus.listen("ctl.shares", lambda message: _dealt(worker, message))
        await bus.listen("ctl.hosts", lambda _: _rehosted(hosts))
        await bus.listen("ctl.link.*", lambda message: _read_along(unrestrict, message))
        broker = JetStreamBroker(
            loop, lambda queue: buses.WorkQueue(bus, "WORK", queue), _decode, settings.worker_slots
        )
        _declare(broker, worker, loop)
        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(_heartbeats(bus, worker, settings.worker_slots))
            threads = Threads(broker, queues={QUEUE}, worker_threads=settings.worker_slots)
            await asyncio.to_thread(threads.start)
            await log.ainfo("worker.ready", worker=str(worker.worker_id), slots=settings.worker_slots)
            await stop.wait()
            worker.drain()
            await bus.quiet()
            await asyncio.to_thread(threads.stop, int(DRAIN_SECONDS * 1000))
            await _beat(bus, worker, 0)
            beating.cancel()


async def _engines(
    settings: WorkerSettings, bus: Bus, stack: AsyncExitStack
) -> tuple[Worker, Inspector, HostTable, UnrestrictEngine]:
    policy = EgressPolicy.parse(settings.egress_allow)
    proxy = await stack.enter_async_context(EgressProxy(policy))
    work_root = settings.data_dir / "work"
    cache = settings.data_dir / "work" / ".cache"
    await asyncio.to_thread(cookies.sweep, work_root)
    http = await stack.enter_async_context(HttpEngine(policy))
    ytdlp = await stack.enter_async_context(YtdlpEngine(cache))
    gallerydl = await stack.enter_async_context(GalleryDlEngine(cache, settings.gallery_instances))
    caller = Caller(bus, REGISTRY, "worker")
    worker_id = settings.worker_id or new_id()
    asker = Reporter(caller, worker_id)
    unrestrict = UnrestrictEngine(asker, http)
    hosts = HostTable(asker, Router(ytdlp, gallerydl, cache).route)

    async def jar(owner: UUID, host: str) -> list[Cookie]:
        query = ReadCookies(owner=owner, host=host)
        return await asker.send(query, list[Cookie], patience=COOKIES_SECONDS)

    inspector = Inspector(ytdlp, policy, cache, proxy.grant, proxy.revoke, jar)
    worker = Worker(
        caller,
        {"http": http, "ytdlp": ytdlp, "gallerydl": gallerydl, "unrestrict": unrestrict},
        hosts.route,
        work_root,
        lambda job_id, rate: proxy.grant(str(job_id), rate),
        lambda job_id: proxy.revoke(str(job_id)),
        worker_id,
        extensions(settings.extensions),
    )
    return worker, inspector, hosts, unrestrict


async def _rehosted(hosts: HostTable) -> None:
    hosts.forget()


async def _read_along(unrestrict: UnrestrictEngine, message: Message) -> None:
    awaited = _awaited(message.body)
    unrestrict.awaited(awaited.job_id, awaited.at)


async def _controlled(worker: Worker, message: Message) -> None:
    control = _control(message.body)
    await worker.control(control.job_id, control.wanted)


async def _dealt(worker: Worker, message: Message) -> None:
    news = _dealt_news(message.body)
    worker.pacing.dealt(news.owner, news.bandwidth, news.running, worker.worker_id)


def _decode(item: WorkItem) -> dramatiq.Message[Any]:
    return dramatiq.Message(queue_name=QUEUE, actor_name="run_attempt", args=(item.body,), kwargs={}, options={})


def _declare(broker: JetStreamBroker, worker: Worker, loop: asyncio.AbstractEventLoop) -> None:
    """The thread of an actor only waits: the work is in the loop, where it can be cancelled."""

    def run_attempt(body: bytes) -> None:
        asyncio.run_coroutine_threadsafe(_traced(worker, _ticket(body)), loop).result()

    dramatiq.actor(broker=broker, queue_name=QUEUE, actor_name="run_attempt", throws=(NotNow,))(run_attempt)


async def _traced(worker: Worker, ticket: Ticket) -> None:
    with telemetry.span("job.attempt", link=ticket.traceparent, job=str(ticket.job_id), attempt=ticket.attempt):
        await worker.handle(ticket)


async def _heartbeats(bus: Bus, worker: Worker, slots: int) -> None:
    while True:
        await _beat(bus, worker, slots)
        await asyncio.sleep(HEARTBEAT_SECONDS)  # the pace of the heartbeat


async def _beat(bus: Bus, worker: Worker, slots: int) -> None:
    await bus.signal(
        "cmd.job.heartbeat",
        _encode(
            WorkerHeartbeat(
                worker_id=worker.worker_id,
                slots=slots,
                draining=worker.draining,
                running=tuple((job_id, one.claimed.attempt) for job_id, one in worker.running.items()),
            )
        ),
    )
