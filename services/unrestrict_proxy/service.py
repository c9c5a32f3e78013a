"""Wiring of the unrestrict service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.calls import serve
from libs.egress.policy import EgressPolicy
from libs.runtime import Resources, Service, ServiceSettings
from libs.sealing import Sealer
from proto import REGISTRY
from services.unrestrict_proxy import adapters
from services.unrestrict_proxy.handlers import HANDLERS
from services.unrestrict_proxy.pool import Pool


@asynccontextmanager
async def start(settings: ServiceSettings, resources: Resources) -> AsyncIterator[None]:
    pool, bus, store = await resources.event_source(settings, "unrestrict_proxy", REGISTRY, kept=0)
    known = tuple(one for one in adapters.PLATFORMS if not isinstance(one, adapters.Platform))
    policy = EgressPolicy.parse(settings.egress_allow)
    async with Pool(pool, store, policy, settings.secret_key, known) as host_pool:
        resources.spawn(host_pool.run(), "pool")
        await serve(
            bus,
            "unrestrict_proxy",
            HANDLERS,
            {
                "pool": pool,
                "store": store,
                "host_pool": host_pool,
                "policy": policy,
                "sealer": Sealer(settings.secret_key, "host-account"),
                "cookie_sealer": Sealer(settings.secret_key, "cookies"),
            },
        )
        yield


SERVICE = Service("unrestrict_proxy", ServiceSettings, start)
