"""Wiring of the notifier."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import quote
from uuid import UUID

import asyncpg

from libs.bus import Bus, BusError, follow
from libs.calls import serve
from libs.database import AWAY, Connection
from libs.egress.policy import EgressPolicy
from libs.eventstore.projection import Applied
from libs.lasting import lasting
from libs.runtime import Resources, Service, ServiceSettings
from libs.sealing import LinkSigner, Sealer
from proto import REGISTRY
from services.notifier import views
from services.notifier.channels.posting import Poster
from services.notifier.channels.slack import Slack
from services.notifier.channels.webhook import Webhook
from services.notifier.delivery import Deliverer, Send
from services.notifier.domain import RETRIED_WITHIN, TOLD_KEPT
from services.notifier.handlers import (
    CHANNELS,
    HANDLERS,
    WANTED,
    Hooked,
    LinkTo,
    note,
    secret_of,
)
from services.notifier.views import Channel
from services.operations import answer_operator

SWEEP_SECONDS = 3600.0
AT_ONCE = 1000
"""Rows of a kind that one statement of a sweep removes."""
LINK_LIFE = timedelta(days=1)
"""As of links that the jobs API shows."""


@asynccontextmanager
async def start(settings: ServiceSettings, resources: Resources) -> AsyncIterator[None]:
    pool, bus, store = await resources.event_source(settings, "notifier", REGISTRY, kept=0)
    sealer = Sealer(settings.secret_key, "webhook-secret")
    slack_sealer = Sealer(settings.secret_key, "slack")
    link_to = _linking(settings)
    async with Poster(EgressPolicy.parse(settings.egress_allow)) as poster:
        channels: dict[Channel, Send] = {
            "webhook": Webhook(poster, lambda owner: secret_of(owner, pool, sealer)).send,
            "slack": Slack(poster, pool, slack_sealer).send,
        }
        deliverer = Deliverer(pool, store, channels)
        hooked = Hooked(pool)
        await hooked.begin()

        async def apply(conn: Connection, batch: Sequence[Applied]) -> None:
            await note(conn, batch, datetime.now(UTC), link_to)

        def noted(batch: Sequence[Applied]) -> None:
            hooked.ended(batch)
            deliverer.changed.set()

        learning = partial(_learn_channels, hooked, bus)
        resources.spawn(lasting("notifier.channels", learning, (*AWAY, BusError)), "channels")
        resources.follow(
            "jobs",
            "EV_JOB",
            WANTED,
            apply,
            pool=pool,
            bus=bus,
            registry=REGISTRY,
            relevant=hooked,
            committed=noted,
        )
        resources.spawn(deliverer.run(), "delivery")
        sweeping = partial(sweep, pool, hooked, lambda: datetime.now(UTC))
        resources.spawn(
            lasting("notifier.unswept", sweeping, AWAY, first=SWEEP_SECONDS, longest=SWEEP_SECONDS), "sweep"
        )
        await answer_operator(bus, "notifier", pool, resources)
        await serve(
            bus,
            "notifier",
            HANDLERS,
            {
                "pool": pool,
                "store": store,
                "sealer": sealer,
                "slack_sealer": slack_sealer,
                "hooked": hooked,
                "poster": poster,
            },
        )
        yield


async def sweep(pool: asyncpg.Pool, hooked: Hooked, clock: Callable[[], datetime]) -> None:
    """What nobody will ask for any more. What happened stays in the events."""
    at, more = clock(), True
    while more:
        async with pool.acquire() as conn:
            more = await views.sweep(conn, at - TOLD_KEPT, at - RETRIED_WITHIN, AT_ONCE)
    await hooked.tidy()


def _linking(settings: ServiceSettings) -> LinkTo:
    signer = LinkSigner(settings.secret_key, "files", settings.link_keys)

    def link_to(file_id: UUID, name: str, at: datetime) -> str:
        token = signer.token(str(file_id), int((at + LINK_LIFE).timestamp()))
        return f"{settings.base_url}/files/{file_id}/{token}/{quote(name, safe='')}"

    return link_to


async def _learn_channels(hooked: Hooked, bus: Bus) -> None:
    """Another process may keep or remove a channel: the table is read anew whenever it is told so."""
    async with follow(bus, "EV_NOTIFIER", new=True, only=CHANNELS) as told:
        await hooked.read_owners()
        async for _ in told:
            await hooked.read_owners()


SERVICE = Service("notifier", ServiceSettings, start)
