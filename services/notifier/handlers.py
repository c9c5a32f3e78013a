"""What the notifier does about jobs, and its commands; the routing table is at the foot."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID, uuid5

import asyncpg
import msgspec

from libs.calls import Answer
from libs.database import Connection
from libs.eventstore import EventStore
from libs.eventstore.projection import Applied
from libs.message import Event
from libs.sealing import Sealer
from proto.job import JobCompleted, JobFailed, JobItemCompleted, JobWebhookRequested
from proto.notifier import ReadDeliveries, ReadWebhookSecret, RotateWebhookSecret, WebhookAttempted
from services.notifier import domain, views
from services.notifier.views import Delivery

WANTED = frozenset({"job.webhook_requested", "job.item_completed", "job.completed", "job.failed"})


class Hooked:
    """Whether an event is about a job that somebody wants to hear of."""

    def __init__(self, jobs: set[UUID]) -> None:
        self._jobs = jobs

    def __call__(self, event: Event) -> bool:
        if isinstance(event, JobWebhookRequested):
            self._jobs.add(event.job_id)
        return getattr(event, "job_id", None) in self._jobs

    def ended(self, batch: Sequence[Applied]) -> None:
        """A completed job says nothing more; a failed or cancelled one may be retried."""
        self._jobs -= {one.event.job_id for one in batch if isinstance(one.event, JobCompleted)}


async def hooked_jobs(pool: asyncpg.Pool) -> set[UUID]:
    async with pool.acquire() as conn:
        return await views.hooked(conn)


async def note(conn: Connection, batch: Sequence[Applied], at: datetime) -> None:
    """Remember whom to tell, and when a job ends, queue that."""
    events = [one.event for one in batch]
    hooks = [(e.job_id, e.owner, e.link, e.folder, e.url) for e in events if isinstance(e, JobWebhookRequested)]
    if hooks:
        await views.add_hooks(conn, hooks)
    for one in batch:
        event = one.event
        if isinstance(event, JobItemCompleted):
            await views.note_file(conn, event.job_id, event.item.name)
        elif isinstance(event, (JobCompleted, JobFailed)):
            found = await views.hook(conn, event.job_id)
            if found is not None:
                url, hook = found
                # Named after the event, so that seeing it twice queues it once.
                delivery_id = uuid5(event.job_id, str(one.at.version))
                await views.add_delivery(
                    conn, Delivery(delivery_id, event.owner, event.job_id, url, domain.body(event, hook), 0), at
                )
            if isinstance(event, JobCompleted):
                await views.remove_hook(conn, event.job_id)


async def secret_of(owner: UUID, pool: asyncpg.Pool, sealer: Sealer) -> str:
    """Made when it is first needed."""
    async with pool.acquire() as conn:
        sealed = await views.secret(conn, owner)
        if sealed is None:
            sealed = await views.keep_secret(conn, owner, sealer.seal(_new(), str(owner)), replace=False)
    return sealer.open(sealed, str(owner)).decode()


def _new() -> bytes:
    return f"whsec_{secrets.token_urlsafe(32)}".encode()


async def rotate_secret(command: RotateWebhookSecret, pool: asyncpg.Pool, sealer: Sealer) -> Answer:
    fresh = _new()
    async with pool.acquire() as conn:
        await views.keep_secret(conn, command.owner, sealer.seal(fresh, str(command.owner)), replace=True)
    return Answer(fresh.decode())


async def read_secret(query: ReadWebhookSecret, pool: asyncpg.Pool, sealer: Sealer) -> Answer:
    return Answer(await secret_of(query.owner, pool, sealer))


async def read_deliveries(query: ReadDeliveries, pool: asyncpg.Pool, store: EventStore) -> Answer:
    async with pool.acquire() as conn:
        ids = await views.deliveries_of(conn, query.job_id, query.owner)
    attempts = [
        one.event
        for delivery_id in ids
        for one in await store.load(delivery_id)
        if isinstance(one.event, WebhookAttempted)
    ]
    return Answer([msgspec.to_builtins(event) for event in attempts])


HANDLERS = (rotate_secret, read_secret, read_deliveries)
