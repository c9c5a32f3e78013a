"""What the gateway answers to operators' programs: jobs as its read model shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from libs.message import Query, Refusal
from proto.job import State, Waiting

Instant = Annotated[datetime, Meta(tz=True)]


class Asked(Struct, frozen=True, kw_only=True, tag_field="type", tag="gateway.asked"):
    """How often whom a process of the gateway let through. Published on `ctl.asked` for all other processes: requests
    since the last such message, of those who ask often."""

    process: UUID
    counts: dict[str, Annotated[int, Meta(ge=1)]]
    """By key id, or by address."""


class ListJobs(Query, tag="gateway.jobs", kw_only=True, frozen=True):
    """Newest first; with `job_ids` those alone. The reply is a JSON list of `JobRow`."""

    job_ids: Annotated[tuple[UUID, ...], Meta(max_length=1000)] | None = None
    owner: UUID | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 50


class ReadJob(Query, tag="gateway.job", kw_only=True, frozen=True):
    """By id or by number; the reply is a `JobRow`."""

    job_id: UUID | None = None
    number: int | None = None


class JobRow(Struct, frozen=True, kw_only=True):
    job_id: UUID
    number: int
    owner: UUID
    dialect: str
    url: str
    state: State
    title: str | None
    error: str | None
    attempt: int
    size: int
    """Bytes of the stored files together."""
    files: tuple[str, ...]
    """The first hundred."""
    submitted_at: Instant
    finished_at: Instant | None
    waiting_for: Waiting | None = None
    waiting_until: Instant | None = None
    more_items: int = 0
    """That are not among `files`."""


class NoSuchJob(Refusal, tag="gateway.no_such_job", kw_only=True, frozen=True):
    pass
