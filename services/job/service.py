"""Wiring of the job service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated

import msgspec

from libs.bus import Message
from libs.calls import serve
from libs.egress.policy import EgressPolicy
from libs.runtime import Resources, Service, ServiceSettings
from proto import REGISTRY
from proto.job import Dealt
from services.job.allowances import Allowances
from services.job.commit import Ledger
from services.job.dispatch import Dispatcher
from services.job.engines.presets import Presets
from services.job.handlers import HANDLERS, LIMITS, keep_limits
from services.job.leases import Leases
from services.job.shares import Shares
from services.operations import answer_operator


class JobSettings(ServiceSettings, frozen=True, kw_only=True):
    host_limit: Annotated[int, msgspec.Meta(ge=1)] = 16
    """Attempts that may run against one host at the same time."""
    duplicate_seconds: Annotated[int, msgspec.Meta(ge=0)] = 300
    """How long a link that is sent again gets the job that is under way, from dialects that have no other means."""
    presets: Presets = msgspec.field(default_factory=Presets)
    """Options by name of a preset."""


@asynccontextmanager
async def start(settings: JobSettings, resources: Resources) -> AsyncIterator[None]:
    pool, bus, store = await resources.event_source(settings, "job", REGISTRY)
    ledger = Ledger(pool, store, await resources.pool(settings.database_url, "job", planned_once=True))

    async def tell(dealt: Dealt) -> None:
        await bus.signal("ctl.shares", msgspec.json.encode(dealt))

    leases = Leases(ledger.changed.set)
    allowances = Allowances(pool)
    shares = Shares(pool, allowances, tell)
    resources.spawn(ledger.run(), "ledger")
    await answer_operator(bus, "job", pool, resources)
    await serve(
        bus,
        "job",
        HANDLERS,
        {
            "ledger": ledger,
            "store": store,
            "bus": bus,
            "pool": pool,
            "leases": leases,
            "allowances": allowances,
            "duplicates": timedelta(seconds=settings.duplicate_seconds),
            "shares": shares,
            "presets": settings.presets,
            "policy": EgressPolicy.parse(settings.egress_allow),
        },
    )
    await bus.listen("cmd.job.heartbeat", leases.heartbeat)

    async def dealt(message: Message) -> None:
        news = msgspec.json.decode(message.body, type=Dealt)
        shares.dealt(news.owner, news.running)

    await bus.listen("ctl.shares", dealt)

    dispatcher = Dispatcher(pool, store, ledger, bus, leases, settings.host_limit)

    async def woken(_: Message) -> None:
        dispatcher.woken()

    await bus.listen("wake.job", woken)

    def limited(_: object) -> None:
        allowances.forget()
        dispatcher.forget()
        ledger.changed.set()

    resources.follow("limits", "EV_AUTH", LIMITS, keep_limits, pool=pool, bus=bus, registry=REGISTRY, committed=limited)
    resources.spawn(dispatcher.run(), "dispatcher")
    yield


SERVICE = Service("job", JobSettings, start)
