"""Wiring of the unrestrict service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.calls import serve
from libs.runtime import Resources, Service, ServiceSettings
from libs.sealing import Sealer
from proto import REGISTRY
from services.unrestrict_proxy.handlers import HANDLERS


@asynccontextmanager
async def start(settings: ServiceSettings, resources: Resources) -> AsyncIterator[None]:
    pool, bus, store = await resources.event_source(settings, "unrestrict_proxy", REGISTRY, kept=0)
    await serve(
        bus,
        "unrestrict_proxy",
        HANDLERS,
        {
            "pool": pool,
            "store": store,
            "sealer": Sealer(settings.secret_key, "host-account"),
            "cookie_sealer": Sealer(settings.secret_key, "cookies"),
        },
    )
    yield


SERVICE = Service("unrestrict_proxy", ServiceSettings, start)
