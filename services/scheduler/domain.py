"""A schedule: when it is due, what its name is in URLs, and the decisions about it. Pure; the clock is an argument."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from uuid import UUID, uuid5

from cronsim import CronSim, CronSimError
from msgspec import Struct
from msgspec.structs import replace

from proto.job import Options
from proto.scheduler import BadCron, ChangeSchedule, CreateSchedule, ScheduleChanged, ScheduleCreated, ScheduleFired

FIELDS = 5
"""With a sixth cronsim would count seconds."""
_NOT_SLUG = re.compile(r"[^a-z0-9]+")


class Schedule(Struct, frozen=True, kw_only=True):
    schedule_id: UUID
    owner: UUID
    slug: str
    name: str
    cron: str
    url: str
    options: Options
    priority: int
    enabled: bool
    next_run: datetime | None


def create(command: CreateSchedule, taken: frozenset[str], at: datetime) -> ScheduleCreated | BadCron:
    """`taken` are the slugs of the owner's other schedules."""
    if bad := check_cron(command.cron, at):
        return bad
    return ScheduleCreated(
        schedule_id=command.schedule_id,
        owner=command.owner,
        slug=slug(command.name, taken),
        name=command.name,
        cron=command.cron,
        url=command.url,
        options=command.options,
        priority=command.priority,
        enabled=command.enabled,
        at=at,
    )


def change(one: Schedule, command: ChangeSchedule, at: datetime) -> ScheduleChanged | BadCron:
    cron = one.cron if command.cron is None else command.cron
    if bad := check_cron(cron, at):
        return bad
    return ScheduleChanged(
        schedule_id=one.schedule_id,
        owner=one.owner,
        name=one.name if command.name is None else command.name,
        cron=cron,
        enabled=one.enabled if command.enabled is None else command.enabled,
        at=at,
    )


def fire(one: Schedule, due: datetime, at: datetime, *, by_hand: bool = False) -> ScheduleFired:
    """The job of one run has one id, however often the clock fires for it."""
    return ScheduleFired(
        schedule_id=one.schedule_id,
        owner=one.owner,
        job_id=uuid5(one.schedule_id, due.isoformat()),
        due=due,
        at=at,
        by_hand=by_hand,
    )


def created(event: ScheduleCreated) -> Schedule:
    return Schedule(
        schedule_id=event.schedule_id,
        owner=event.owner,
        slug=event.slug,
        name=event.name,
        cron=event.cron,
        url=event.url,
        options=event.options,
        priority=event.priority,
        enabled=event.enabled,
        next_run=next_run(event.cron, event.at) if event.enabled else None,
    )


def changed(one: Schedule, event: ScheduleChanged) -> Schedule:
    due = next_run(event.cron, event.at) if event.enabled else None
    return replace(one, name=event.name, cron=event.cron, enabled=event.enabled, next_run=due)


def check_cron(cron: str, at: datetime) -> BadCron | None:
    """Five fields, and due at least once within cronsim's horizon of fifty years."""
    if len(cron.split()) != FIELDS:
        return BadCron(message="not a cron expression: it has five fields, from minute to day of the week")
    try:
        next(CronSim(cron, at))
    except CronSimError as error:
        return BadCron(message=f"not a cron expression: {error}")
    except StopIteration:
        return BadCron(message="this expression never comes due")
    return None


def next_run(cron: str, after: datetime) -> datetime:
    """Runs that were missed while the system was down are not made up one by one: the first is run late, once."""
    return next(CronSim(cron, after))


def slug(name: str, taken: frozenset[str]) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    base = _NOT_SLUG.sub("-", plain).strip("-")[:80].rstrip("-") or "schedule"
    if base not in taken:
        return base
    return next(f"{base}-{n}" for n in range(2, len(taken) + 3) if f"{base}-{n}" not in taken)
