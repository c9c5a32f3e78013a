"""Wiring of the notifier."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from libs.calls import serve
from libs.database import Connection
from libs.egress.policy import EgressPolicy
from libs.eventstore.projection import Applied, Follower
from libs.runtime import Resources, Service, ServiceSettings
from libs.sealing import Sealer
from proto import REGISTRY
from services.notifier.channels.webhook import Webhooks
from services.notifier.delivery import Deliverer
from services.notifier.handlers import HANDLERS, WANTED, Hooked, hooked_jobs, note


@asynccontextmanager
async def start(settings: ServiceSettings, resources: Resources) -> AsyncIterator[None]:
    pool, bus, store = await resources.event_source(settings, "notifier", REGISTRY, kept=0)
    sealer = Sealer(settings.secret_key, "webhook-secret")
    async with Webhooks(EgressPolicy.parse(settings.egress_allow)) as webhooks:
        deliverer = Deliverer(pool, store, sealer, webhooks)
        hooked = Hooked(await hooked_jobs(pool))

        async def apply(conn: Connection, batch: Sequence[Applied]) -> None:
            await note(conn, batch, datetime.now(UTC))

        def noted(batch: Sequence[Applied]) -> None:
            hooked.ended(batch)
            deliverer.changed.set()

        follower = Follower(
            "notifier.jobs",
            pool,
            "notifier",
            lambda after: bus.follow("EV_JOB", after, only=WANTED),
            REGISTRY,
            WANTED,
            apply,
            relevant=hooked,
            committed=noted,
        )
        resources.spawn(follower.run(), "jobs")
        resources.spawn(deliverer.run(), "delivery")
        await serve(bus, "notifier", HANDLERS, {"pool": pool, "store": store, "sealer": sealer})
        yield


SERVICE = Service("notifier", ServiceSettings, start)
