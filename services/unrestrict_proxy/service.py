"""Wiring of the unrestrict service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Literal
from uuid import UUID

import aiohttp
import asyncpg
import msgspec
from msgspec import Meta

from libs.bus import Bus
from libs.calls import Caller, serve
from libs.database import Connection
from libs.egress.policy import EgressPolicy
from libs.eventstore.projection import Applied
from libs.runtime import Resources, Service, ServiceSettings
from libs.sealing import LinkSigner, Sealer
from proto import REGISTRY
from proto.unrestrict_proxy import Awaited, HostLink
from services.operations import answer_operator
from services.unrestrict_proxy import adapters
from services.unrestrict_proxy.app import Downloads, Files, Links, Serving
from services.unrestrict_proxy.handlers import HANDLERS
from services.unrestrict_proxy.links import following, views
from services.unrestrict_proxy.links import handlers as links
from services.unrestrict_proxy.links.admission import Admission
from services.unrestrict_proxy.links.book import Book
from services.unrestrict_proxy.links.retention import Retention
from services.unrestrict_proxy.pool import Pool

TIB = 1 << 40


class UnrestrictSettings(ServiceSettings, frozen=True, kw_only=True):
    traffic_default: Annotated[int, Meta(ge=0)] = TIB
    """Bytes that a user may fetch through host accounts to whom no quota was given; 0 lets nobody who has none."""
    download_connections: Annotated[int, Meta(ge=1, le=1000)] = 16
    """To one link at once."""
    download_user_connections: Annotated[int, Meta(ge=1, le=100_000)] = 48
    """To all links of one user at once."""
    download_requests: Annotated[int, Meta(ge=0)] = 3000
    """Of one link in a minute; 0 for any number."""
    download_accel: Annotated[str, Meta(pattern=r"^(/[A-Za-z0-9/_-]+)?$", description="a path such as /stored")] = ""
    """Where nginx in front has the stored files inside; empty to send them from here."""
    download_remote: Literal["redirect", "stream"] = "redirect"
    """Files in object storage: a client is sent there, or they are sent on."""
    download_early: bool = False
    """Serve what is still being fetched, as far as it has come."""
    retention_days: Annotated[int, Meta(ge=0)] = 0
    """After so many days what a download manager asked for is deleted here; 0 for never."""
    retention_bytes: Annotated[int, Meta(ge=0)] = 0
    """Above so many bytes of such files the oldest are deleted; 0 for no limit."""


@asynccontextmanager
async def start(settings: UnrestrictSettings, resources: Resources) -> AsyncIterator[None]:
    pool, bus, store = await resources.event_source(settings, "unrestrict_proxy", REGISTRY, kept=0)
    policy = EgressPolicy.parse(settings.egress_allow)
    caller = Caller(bus, REGISTRY, "unrestrict_proxy")
    book = Book(pool, store, settings.traffic_default)

    async def requests(conn: Connection, batch: Sequence[Applied]) -> None:
        await following.submit_jobs(conn, batch, caller, book)
        if any(one.at.event_type in following.CHANGES for one in batch):
            await bus.signal("ctl.hosts", b"")

    async def ends(conn: Connection, batch: Sequence[Applied]) -> None:
        await following.end_links(conn, batch, book)

    async def losses(conn: Connection, batch: Sequence[Applied]) -> None:
        await following.expire_links(conn, batch, book)

    async with (
        Pool(pool, store, policy, settings.secret_key, adapters.PLATFORMS) as host_pool,
        aiohttp.ClientSession(connector=policy.connector(limit=0), cookie_jar=aiohttp.DummyCookieJar()) as http,
    ):
        resources.spawn(host_pool.run(), "pool")
        if settings.retention_days or settings.retention_bytes:
            retention = Retention(pool, caller, settings.retention_days, settings.retention_bytes)
            resources.spawn(retention.run(), "retention")
        for name, stream, wanted, act in (
            ("requests", "EV_UNRESTRICT_PROXY", following.REQUESTS | following.CHANGES, requests),
            ("ends", "EV_JOB", following.ENDS, ends),
            ("losses", "EV_STORAGE", following.LOSSES, losses),
        ):
            resources.follow(name, stream, wanted, act, pool=pool, bus=bus, registry=REGISTRY)
        await answer_operator(bus, "unrestrict_proxy", pool, resources)
        await serve(
            bus,
            "unrestrict_proxy",
            (*HANDLERS, *links.HANDLERS),
            {
                "pool": pool,
                "store": store,
                "book": book,
                "host_pool": host_pool,
                "policy": policy,
                "sealer": Sealer(settings.secret_key, "host-account"),
                "cookie_sealer": Sealer(settings.secret_key, "cookies"),
                "early": settings.download_early,
                "password_sealer": Sealer(settings.secret_key, "file-password"),
            },
        )
        admission = Admission(
            pool, user_connections=settings.download_user_connections, requests=settings.download_requests
        )
        resources.spawn(admission.run(), "admission")
        resources.mount("/download", _downloads(settings, pool, bus, caller, http, admission))
        yield


def _downloads(
    settings: UnrestrictSettings,
    pool: asyncpg.Pool,
    bus: Bus,
    caller: Caller,
    http: aiohttp.ClientSession,
    admission: Admission,
) -> Downloads:
    async def link(link_id: str) -> HostLink | None:
        async with pool.acquire() as conn:
            found = await views.link(conn, link_id)
        return None if found is None else found.shown(early=settings.download_early)

    async def awaited(job_id: UUID, at: int) -> None:
        await bus.signal(f"ctl.link.{job_id}", msgspec.json.encode(Awaited(job_id=job_id, at=at)))

    return Downloads(
        Links(find=link, awaited=awaited),
        Files(caller),
        settings.data_dir,
        LinkSigner(settings.secret_key, "download", settings.link_keys),
        admission,
        http,
        Serving(
            connections=settings.download_connections,
            accel=settings.download_accel,
            remote=settings.download_remote,
        ),
    )


SERVICE = Service("unrestrict_proxy", UnrestrictSettings, start)
