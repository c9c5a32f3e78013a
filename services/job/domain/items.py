"""The files of a job: each is stored, left out or failed, and told once."""

from __future__ import annotations

from datetime import datetime

from libs.message import Event
from proto.job import (
    JobItemCompleted,
    JobItemFailed,
    JobItemsSkipped,
    ReportItem,
    StoredItem,
)
from services.job.domain.job import Decision, Job, not_mine


def report_item(job: Job, command: ReportItem, at: datetime) -> Decision:
    """Idempotent by the item's key. Still taken from a paused job: its bytes are stored, forgetting them would fetch
    them again."""
    if refusal := not_mine(job, command.attempt, also="paused"):
        return refusal
    if command.item is not None:
        return new_items(job, (command.item,), at)
    if command.skipped is not None:
        return new_skips(job, command.skipped, at)
    if command.failed is not None and command.failed[0] not in job.failed_items:
        key, failure = command.failed
        return [JobItemFailed(job_id=job.job_id, owner=job.owner, attempt=job.attempt, key=key, failure=failure, at=at)]
    return []


def new_items(job: Job, items: tuple[StoredItem, ...], at: datetime) -> list[Event]:
    return [
        JobItemCompleted(job_id=job.job_id, owner=job.owner, attempt=job.attempt, item=item, at=at)
        for item in items
        if item.key not in job.items
    ]


def new_skips(job: Job, count: int, at: datetime) -> list[Event]:
    """An attempt counts from one, so a later one that has come less far changes nothing."""
    if count <= job.skipped:
        return []
    return [JobItemsSkipped(job_id=job.job_id, owner=job.owner, attempt=job.attempt, count=count, at=at)]
