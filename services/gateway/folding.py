"""What a run of events makes of the gateway's rows: the jobs, their batches, and what is counted. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import cast
from uuid import UUID

from libs.message import Event
from proto.job import (
    BatchStarted,
    BatchSubmitted,
    JobCancelled,
    JobCompleted,
    JobFailed,
    JobItemCompleted,
    JobSubmitted,
)
from services.gateway import domain
from services.gateway.domain import JobView


@dataclass
class Day:
    """Of one owner, in UTC."""

    submitted: int = 0
    completed: int = 0
    failed: int = 0
    bytes: int = 0
    seconds: float = 0.0
    """From start to end, of the jobs that completed."""


BLOCK = 4096
"""Numbers of jobs that are counted together, so many as a page may have to skip in an index."""


@dataclass
class Rows:
    """`tallies` are changes to how many jobs of a block of numbers are in a state, `days` additions to what happened on
    a day."""

    jobs: dict[UUID, JobView]
    batches: list[BatchSubmitted] = field(default_factory=list)
    started: dict[UUID, datetime] = field(default_factory=dict)
    tallies: Counter[tuple[UUID, str, int]] = field(default_factory=Counter)
    days: dict[tuple[UUID, date], Day] = field(default_factory=dict)

    def tally(self, view: JobView, change: int) -> None:
        self.tallies[view.owner, view.outcome, view.number // BLOCK] += change

    def day(self, owner: UUID, at: datetime) -> Day:
        return self.days.setdefault((owner, at.date()), Day())


def touched(events: Sequence[Event]) -> set[UUID]:
    """Jobs whose views must be known before."""
    opened = {event.job_id for event in events if isinstance(event, JobSubmitted)}
    return {_job_id(event) for event in events if not _of_batch(event)} - opened


def fold(known: Mapping[UUID, JobView], events: Sequence[Event]) -> Rows:
    """`known` has the views of `touched`; a job that is not there raises KeyError."""
    rows = Rows(dict(known))
    for event in events:
        if isinstance(event, BatchSubmitted):
            rows.batches.append(event)
        elif isinstance(event, BatchStarted):
            rows.started[event.batch_id] = event.at
        elif isinstance(event, JobSubmitted):
            view = rows.jobs[event.job_id] = domain.opened(event)
            rows.tally(view, 1)
            rows.day(view.owner, event.at).submitted += 1
        else:
            before = rows.jobs[_job_id(event)]
            after = rows.jobs[before.job_id] = domain.evolve(before, event)
            if after.outcome != before.outcome:
                rows.tally(before, -1)
                rows.tally(after, 1)
            _count(rows, event, before, after)
    return rows


def _count(rows: Rows, event: Event, before: JobView, after: JobView) -> None:
    match event:
        case JobItemCompleted() if after is not before:
            rows.day(after.owner, event.at).bytes += event.item.size
        case JobCompleted():
            day = rows.day(after.owner, event.at)
            day.completed += 1
            day.seconds += (event.at - (after.started_at or after.submitted_at)).total_seconds()
        case JobFailed() | JobCancelled():
            rows.day(after.owner, event.at).failed += 1
        case _:
            pass


def _of_batch(event: Event) -> bool:
    return isinstance(event, (BatchSubmitted, BatchStarted))


def _job_id(event: Event) -> UUID:
    return cast("UUID", getattr(event, "job_id"))  # noqa: B009 - every wanted event but those of batches has it
