"""The hours in which an owner's jobs may begin. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from proto.auth import Window
from proto.job import JobDeferred
from services.job.domain.job import Decision, Job, wrong_state

DAY_MINUTES = 24 * 60


def opens_at(windows: Sequence[Window], at: datetime) -> datetime | None:
    """None when one is open, or when there is none; else when the next one opens."""
    at = at.astimezone(UTC)
    now = at.hour * 60 + at.minute
    spans = [(_minute(one.opens), _minute(one.closes)) for one in windows]
    if not spans or any(_within(now, opens, closes) for opens, closes in spans):
        return None
    wait = min((opens - now) % DAY_MINUTES for opens, _ in spans)
    return at.replace(second=0, microsecond=0) + timedelta(minutes=wait)


def _minute(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def _within(now: int, opens: int, closes: int) -> bool:
    return opens <= now < closes if opens < closes else now >= opens or now < closes


def shut_out(job: Job, until: datetime, at: datetime) -> Decision:
    """The owner's hours are over: the job waits for the next. One that waits longer for something else goes on so."""
    if job.state != "queued":
        return wrong_state(job, "wait")
    if job.not_before is not None and job.not_before >= until:
        return []
    return [JobDeferred(job_id=job.job_id, owner=job.owner, until=until, at=at, reason="window")]


def let_in(job: Job, at: datetime) -> Decision:
    """The owner's hours begin earlier than the job was told."""
    if job.state != "queued" or job.waiting != "window" or job.not_before is None or job.not_before <= at:
        return []
    return [JobDeferred(job_id=job.job_id, owner=job.owner, until=at, at=at, reason="window")]
