"""Commands of the scheduler, and what it does about events; the routing table is at the foot."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import structlog

from libs.calls import Answer, Call, Caller
from libs.database import Connection
from libs.eventstore import AnyVersion, EventStore, NoStream, Write, WrongVersion
from libs.message import Event, Refusal, Refused
from proto.job import JobAttemptFailed, JobDeferred, Request, SubmitJobs
from proto.scheduler import (
    ChangeSchedule,
    CreateSchedule,
    DeleteSchedule,
    RunSchedule,
    ScheduleChanged,
    ScheduleCreated,
    ScheduleDeleted,
    ScheduleFired,
    ScheduleNotFound,
)
from services.scheduler import domain, views
from services.scheduler.domain import Schedule
from services.scheduler.ticker import Ticker

log = structlog.get_logger()


async def create_schedule(command: CreateSchedule, call: Call, store: EventStore, ticker: Ticker) -> Answer:
    """Creating the same schedule id again is answered as the first time."""
    try:
        async with store.transaction() as tx:
            await views.lock_slugs(tx.conn, command.owner)
            event = domain.create(command, await views.slugs(tx.conn, command.owner), datetime.now(UTC))
            if isinstance(event, Refusal):
                raise Refused(event)
            places = await tx.append([_write(event, call, new=True)])
            await views.save(tx.conn, domain.created(event))
    except WrongVersion:
        return Answer(command.schedule_id)
    ticker.changed.set()
    return Answer(command.schedule_id, places[-1])


async def change_schedule(
    command: ChangeSchedule, call: Call, pool: asyncpg.Pool, store: EventStore, ticker: Ticker
) -> Answer:
    one = await _mine(command, pool)
    event = domain.change(one, command, datetime.now(UTC))
    if isinstance(event, Refusal):
        raise Refused(event)
    async with store.transaction() as tx:
        places = await tx.append([_write(event, call)])
        await views.save(tx.conn, domain.changed(one, event))
    ticker.changed.set()
    return Answer(position=places[-1])


async def delete_schedule(command: DeleteSchedule, call: Call, pool: asyncpg.Pool, store: EventStore) -> Answer:
    one = await _mine(command, pool)
    event = ScheduleDeleted(schedule_id=one.schedule_id, owner=one.owner, at=datetime.now(UTC))
    async with store.transaction() as tx:
        places = await tx.append([_write(event, call)])
        await views.remove(tx.conn, one.schedule_id)
    return Answer(position=places[-1])


async def run_schedule(command: RunSchedule, call: Call, pool: asyncpg.Pool, store: EventStore) -> Answer:
    one = await _mine(command, pool)
    at = datetime.now(UTC)
    event = domain.fire(one, at, at, by_hand=True)
    async with store.transaction() as tx:
        places = await tx.append([_write(event, call)])
    return Answer(event.job_id, places[-1])


async def _mine(command: ChangeSchedule | DeleteSchedule | RunSchedule, pool: asyncpg.Pool) -> Schedule:
    async with pool.acquire() as conn:
        one = await views.schedule(conn, command.schedule_id)
    if one is None or one.owner != command.owner:
        raise Refused(ScheduleNotFound(message="no such schedule", schedule_id=command.schedule_id))
    return one


def _write(
    event: ScheduleCreated | ScheduleChanged | ScheduleDeleted | ScheduleFired, call: Call, *, new: bool = False
) -> Write:
    return Write(
        stream_id=event.schedule_id,
        kind="schedule",
        expected=NoStream() if new else AnyVersion(),
        events=[event],
        meta=call.meta,
        tenant=event.owner,
    )


WAITS = frozenset({"job.deferred", "job.attempt_failed"})
"""What begins a job's waiting for a time. What ends a wait early is of no interest: the alarm that rings all the same
makes the job service look once more, and find nothing."""


async def keep_alarms(conn: Connection, events: Sequence[Event]) -> None:
    """A job that waits for a time has an alarm, for the time it was told last."""
    alarms: dict[UUID, datetime] = {}
    for event in events:
        if isinstance(event, JobDeferred):
            alarms[event.job_id] = event.until
        elif isinstance(event, JobAttemptFailed):
            alarms[event.job_id] = event.retry_at
    await views.set_alarms(conn, list(alarms.items()))


async def submit_run(event: ScheduleFired, pool: asyncpg.Pool, caller: Caller) -> None:
    """At least once: the job's id is the command's idempotency key. What is refused is refused for good."""
    async with pool.acquire() as conn:
        one = await views.schedule(conn, event.schedule_id)
    if one is None:
        return
    command = SubmitJobs(
        owner=one.owner,
        dialect="scheduler",
        requests=(Request(job_id=event.job_id, url=one.url, options=one.options, priority=one.priority),),
    )
    try:
        await caller.command(command, actor=f"schedule:{one.schedule_id}", command_id=event.job_id)
    except Refused as refused:
        await log.awarning("schedule.refused", schedule=str(one.schedule_id), reason=refused.refusal.message)


HANDLERS = (create_schedule, change_schedule, delete_schedule, run_schedule)
