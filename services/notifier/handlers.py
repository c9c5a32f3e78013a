"""What the notifier does about jobs, and its commands; the routing table is at the foot."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import asyncpg
import msgspec

from libs.calls import Answer, Call
from libs.database import Connection
from libs.eventstore import AnyVersion, EventStore, Write
from libs.eventstore.projection import Applied
from libs.message import Event, Refused
from libs.sealing import Sealer
from proto.job import (
    EXTRA,
    BatchWebhookRequested,
    JobCancelled,
    JobCompleted,
    JobFailed,
    JobItemCompleted,
    JobStageEntered,
    JobWebhookRequested,
    StoredItem,
)
from proto.notifier import (
    ConfigureSlack,
    ReadDeliveries,
    ReadSlack,
    ReadWebhookSecret,
    RemoveSlack,
    RotateWebhookSecret,
    SlackConfigured,
    SlackInfo,
    SlackNotFound,
    SlackRejected,
    SlackRemoved,
    WebhookAttempted,
)
from services.notifier import domain, views
from services.notifier.channels import slack
from services.notifier.channels.posting import Poster
from services.notifier.domain import BatchHook
from services.notifier.views import Delivery, KeptSlack

WANTED = frozenset(
    {
        "job.webhook_requested",
        "job.batch_webhook_requested",
        "job.stage_entered",
        "job.item_completed",
        "job.completed",
        "job.failed",
        "job.cancelled",
    }
)
Ended = JobCompleted | JobFailed | JobCancelled


class Hooked:
    """The follower's filter: true of an event of a job, or of a job of a batch, for which a webhook was asked, and of
    the end of any job whose owner has a Slack channel."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._known: set[UUID] = set()
        self._missed: set[UUID] = set()
        """Known, and not in the tables when these were last looked at."""
        self.owners: set[UUID] = set()
        """Who have a channel."""

    async def begin(self) -> None:
        async with self._pool.acquire() as conn:
            self._known = await views.hooked(conn)
        await self.read_owners()

    async def read_owners(self) -> None:
        async with self._pool.acquire() as conn:
            self.owners = await views.slack_owners(conn)

    def __call__(self, event: Event) -> bool:
        if isinstance(event, JobWebhookRequested):
            self._known.add(event.job_id)
        elif isinstance(event, BatchWebhookRequested):
            self._known.add(event.batch_id)
        if isinstance(event, JobCompleted | JobFailed) and event.owner in self.owners:
            return True
        return any(getattr(event, name, None) in self._known for name in ("job_id", "batch_id"))

    def ended(self, batch: Sequence[Applied]) -> None:
        """A completed job says nothing more; a failed or cancelled one may be retried."""
        self._known -= {one.event.job_id for one in batch if isinstance(one.event, JobCompleted)}

    async def tidy(self) -> None:
        """Forgets what the tables did not have the last time either: what they do not have this time alone may be
        about to be committed."""
        before = set(self._known)
        async with self._pool.acquire() as conn:
            missed = before - await views.hooked(conn)
        self._known -= missed & self._missed
        self._missed = missed


CHANNELS = frozenset({"notifier.slack_configured", "notifier.slack_removed"})
LinkTo = Callable[[UUID, str, datetime], str]


async def note(conn: Connection, batch: Sequence[Applied], at: datetime, link_to: LinkTo) -> None:
    """Remember whom to tell, and queue what there is to tell, in the order of the events. `link_to` makes a link to a
    file of ours by its id and name."""
    moments = (at + timedelta(microseconds=one) for one in itertools.count())
    events = [one.event for one in batch]
    hooks = [
        (e.job_id, e.owner, e.link, e.folder, e.url, e.progress, e.style)
        for e in events
        if isinstance(e, JobWebhookRequested)
    ]
    if hooks:
        await views.add_hooks(conn, hooks)
    await views.add_batches(conn, [_batch(e) for e in events if isinstance(e, BatchWebhookRequested)])
    for one in batch:
        event = one.event
        if isinstance(event, JobItemCompleted):
            await _note_file(conn, event.job_id, event.item)
        elif isinstance(event, (JobStageEntered, JobCompleted, JobFailed, JobCancelled)):
            await _tell(conn, event, one.at.version, moments, link_to)
        if isinstance(event, (JobCompleted, JobFailed)):
            await _tell_slack(conn, event, one.at.version, next(moments))
        if isinstance(event, (JobCompleted, JobFailed, JobCancelled)) and event.batch_id is not None:
            await _tell_batch(conn, event, event.batch_id, next(moments))


async def _note_file(conn: Connection, job_id: UUID, item: StoredItem) -> None:
    place, beside = item.object_key or item.name, EXTRA.search(item.key)
    if beside is None:
        await views.note_file(conn, job_id, place, item.file_id if item.object_key is None else None)
    elif beside["kind"] == "subtitle":
        await views.note_subtitle(conn, job_id, place)


async def _tell(
    conn: Connection, event: JobStageEntered | Ended, version: int, moments: Iterator[datetime], link_to: LinkTo
) -> None:
    found = await views.hook(conn, event.job_id)
    if found is None:
        return
    url, over, hook = found
    bodies = []
    if isinstance(event, (JobStageEntered, JobCompleted)) and hook.progress:
        bodies += domain.progress_bodies(event, hook.stage)
    if isinstance(event, (JobCompleted, JobFailed)):
        at = next(moments)
        link = link_to(hook.file_id, hook.first_file, at) if hook.file_id and hook.first_file else None
        bodies.append(domain.body(event, hook, link))
    if isinstance(event, JobStageEntered) and (hook.progress or over):
        await views.note_stage(conn, event.job_id, event.stage)
    for number, body in enumerate(bodies):
        # Named after the event, so that seeing it twice queues it once.
        delivery_id = uuid5(event.job_id, f"{version} {number}")
        await views.add_delivery(conn, Delivery(delivery_id, event.owner, event.job_id, url, body, 0), next(moments))
    if isinstance(event, JobCompleted):
        await views.remove_hook(conn, event.job_id)
    elif isinstance(event, (JobFailed, JobCancelled)):
        await views.note_end(conn, event.job_id, event.at)


async def _tell_slack(conn: Connection, event: JobCompleted | JobFailed, version: int, at: datetime) -> None:
    kept = await views.slack(conn, event.owner)
    body = slack.body(event, kept.info.level) if kept is not None else None
    if body is not None:
        delivery_id = uuid5(event.job_id, f"{version} slack")
        await views.add_delivery(conn, Delivery(delivery_id, event.owner, event.job_id, "", body, 0, "slack"), at)


async def _tell_batch(conn: Connection, event: Ended, batch_id: UUID, at: datetime) -> None:
    """Once, when the last of its jobs has ended for the first time: then nothing is known of the batch any more."""
    batch = await views.end_in_batch(conn, batch_id, event.job_id, completed=isinstance(event, JobCompleted))
    if batch is not None and batch.over:
        delivery_id = uuid5(batch_id, "over")
        body = domain.batch_body(batch)
        await views.add_delivery(conn, Delivery(delivery_id, batch.owner, batch_id, batch.url, body, 0), at)
        await views.remove_batch(conn, batch_id)


def _batch(event: BatchWebhookRequested) -> BatchHook:
    return BatchHook(
        batch_id=event.batch_id,
        owner=event.owner,
        url=event.url,
        link=event.link,
        folder=event.folder,
        size=event.size,
    )


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


async def configure_slack(
    command: ConfigureSlack, call: Call, store: EventStore, slack_sealer: Sealer, hooked: Hooked, poster: Poster
) -> Answer:
    """Kept unless Slack says that it would take nothing."""
    if not slack.ADDRESS.fullmatch(command.webhook_url):
        raise Refused(SlackRejected(message="webhook_url must be below https://hooks.slack.com/services/"))
    if await slack.unknown(poster, command.webhook_url):
        raise Refused(SlackRejected(message="Verification failed: Slack takes no messages at this webhook_url"))
    at = datetime.now(UTC)
    info = SlackInfo(masked=slack.masked(command.webhook_url), level=command.level, configured_at=at)
    kept = KeptSlack(info, slack_sealer.seal(command.webhook_url.encode(), str(command.owner)))
    async with store.transaction() as tx:
        places = await tx.append([_of_owner(SlackConfigured(owner=command.owner, level=command.level, at=at), call)])
        await views.keep_slack(tx.conn, command.owner, kept)
    hooked.owners.add(command.owner)
    return Answer(info, places[-1])


async def remove_slack(
    command: RemoveSlack, call: Call, pool: asyncpg.Pool, store: EventStore, hooked: Hooked
) -> Answer:
    await _slack(command, pool)
    async with store.transaction() as tx:
        places = await tx.append([_of_owner(SlackRemoved(owner=command.owner, at=datetime.now(UTC)), call)])
        await views.remove_slack(tx.conn, command.owner)
    hooked.owners.discard(command.owner)
    return Answer(position=places[-1])


async def read_slack(query: ReadSlack, pool: asyncpg.Pool) -> Answer:
    return Answer((await _slack(query, pool)).info)


async def _slack(message: RemoveSlack | ReadSlack, pool: asyncpg.Pool) -> KeptSlack:
    async with pool.acquire() as conn:
        kept = await views.slack(conn, message.owner)
    if kept is None:
        raise Refused(SlackNotFound(message="Slack notifications are not configured"))
    return kept


def _of_owner(event: SlackConfigured | SlackRemoved, call: Call) -> Write:
    return Write(
        stream_id=uuid5(event.owner, "slack"),
        kind="slack",
        expected=AnyVersion(),
        events=[event],
        meta=call.meta,
        tenant=event.owner,
    )


HANDLERS = (rotate_secret, read_secret, read_deliveries, configure_slack, remove_slack, read_slack)
