"""Wiring of the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Annotated

from msgspec import Meta

from libs.bus import BusError, follow
from libs.calls import Caller, serve
from libs.egress.policy import EgressPolicy
from libs.eventstore.projection import Follower
from libs.lasting import lasting
from libs.runtime import Resources, Service, ServiceSettings
from libs.sealing import LinkSigner
from proto import REGISTRY
from services.gateway import domain, views
from services.gateway.app import application
from services.gateway.ask import Ask
from services.gateway.blobs import Blobs
from services.gateway.dialects import Edge
from services.gateway.dialects.webgui import translate
from services.gateway.fanout import STREAM, Hub
from services.gateway.guard import Guard
from services.gateway.handlers import HANDLERS
from services.gateway.sharing import SUBJECT, Sharing
from services.gateway.throttle import Throttle
from services.gateway.views import Jobs
from services.operations import answer_operator


class GatewaySettings(ServiceSettings, frozen=True, kw_only=True):
    request_rate: Annotated[int, Meta(ge=0)] = 1000
    """Requests a second of one key, or of one address without a good one; 0 is no limit."""
    download_connections: Annotated[int, Meta(ge=1, le=1000)] = 16
    download_seconds: Annotated[int, Meta(ge=1)] = 7 * 24 * 3600
    """How long a link under `/download` is good at least, and at most twice as long."""


@asynccontextmanager
async def start(settings: GatewaySettings, resources: Resources) -> AsyncIterator[None]:
    pool = await resources.pool(settings.database_url, "gateway", durable=False)
    bus = await resources.bus(settings.nats_url, "gateway", settings.nats_seed)
    caller = Caller(bus, REGISTRY, "gateway")
    jobs = Jobs(pool)
    follower = Follower(
        "gateway.jobs",
        pool,
        "gateway",
        lambda after: follow(bus, STREAM, after),
        REGISTRY,
        domain.WANTED,
        views.apply,
        commit=views.commit,
        committed=lambda events: hub.committed(events),  # noqa: PLW0108 - it is made below
    )
    hub = Hub(bus, follower, jobs, REGISTRY, translate.frames, translate.progress)
    resources.run_follower(follower)
    throttle = Throttle(settings.request_rate)
    guard, sharing = Guard(caller, bus, throttle), Sharing(bus, throttle)
    if settings.request_rate:
        await bus.listen(SUBJECT, sharing.heard)
        resources.spawn(lasting("asked.untold", sharing.tell, (BusError,)), "sharing")
    resources.spawn(guard.follow(), "guard")
    resources.spawn(hub.run(), "fanout")
    await bus.listen("progress.*.*", hub.heard)
    await answer_operator(bus, "gateway", pool, resources)
    await serve(bus, "gateway", HANDLERS, {"jobs": jobs})
    edge = Edge(
        ask=Ask(caller, follower, jobs),
        blobs=Blobs(pool),
        guard=guard,
        signer=LinkSigner(settings.secret_key, "files", settings.link_keys),
        policy=EgressPolicy.parse(settings.egress_allow),
        base_url=settings.base_url,
        version=version("longshore"),
        download_signer=LinkSigner(settings.secret_key, "download", settings.link_keys),
        download_connections=settings.download_connections,
        download_seconds=settings.download_seconds,
    )
    resources.mount("/", application(edge, hub))
    resources.watch(bus, pool)
    yield


SERVICE = Service("gateway", GatewaySettings, start)
