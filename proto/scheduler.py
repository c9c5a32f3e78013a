"""What the scheduler accepts, announces and refuses: cron schedules and their runs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta

from libs.message import Command, Event, Refusal
from proto.job import Link, Options

Instant = Annotated[datetime, Meta(tz=True)]
Cron = Annotated[str, Meta(min_length=9, max_length=120)]
"""Five fields, UTC."""


class CreateSchedule(Command, tag="scheduler.create", kw_only=True, frozen=True):
    owner: UUID
    schedule_id: UUID
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    cron: Cron
    url: Link
    options: Options = Options()
    priority: Annotated[int, Meta(ge=1, le=10)] = 5
    enabled: bool = True


class ChangeSchedule(Command, tag="scheduler.change", kw_only=True, frozen=True):
    """None leaves a field as it is."""

    owner: UUID
    schedule_id: UUID
    name: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    cron: Cron | None = None
    enabled: bool | None = None


class DeleteSchedule(Command, tag="scheduler.delete", kw_only=True, frozen=True):
    owner: UUID
    schedule_id: UUID


class RunSchedule(Command, tag="scheduler.run", kw_only=True, frozen=True):
    """Now, whatever the clock says; a disabled schedule may be run by hand."""

    owner: UUID
    schedule_id: UUID


class ScheduleCreated(Event, tag="scheduler.created", kw_only=True, frozen=True):
    schedule_id: UUID
    owner: UUID
    slug: str
    name: str
    cron: str
    url: str
    options: Options
    priority: int
    enabled: bool
    at: Instant


class ScheduleChanged(Event, tag="scheduler.changed", kw_only=True, frozen=True):
    schedule_id: UUID
    owner: UUID
    name: str
    cron: str
    enabled: bool
    at: Instant


class ScheduleDeleted(Event, tag="scheduler.deleted", kw_only=True, frozen=True):
    schedule_id: UUID
    owner: UUID
    at: Instant


class ScheduleFired(Event, tag="scheduler.fired", kw_only=True, frozen=True):
    """The run's job has the id that is announced here; submitting it again is harmless."""

    schedule_id: UUID
    owner: UUID
    job_id: UUID
    due: Instant
    at: Instant
    by_hand: bool = False


class ScheduleNotFound(Refusal, tag="scheduler.not_found", kw_only=True, frozen=True):
    schedule_id: UUID


class BadCron(Refusal, tag="scheduler.bad_cron", kw_only=True, frozen=True):
    pass
