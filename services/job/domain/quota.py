"""Room in an owner's storage. Pure."""

from __future__ import annotations

from datetime import datetime

from proto.job import JobStorageReserved, QuotaExceeded, ReserveStorage
from services.job.domain.job import Decision, Job, not_mine


def reserve(job: Job, command: ReserveStorage, limit: int | None, besides: int, at: datetime) -> Decision:
    """`besides` is what the owner's other jobs keep and have reserved, in bytes; `limit` None is no limit. The decision
    holds when nobody else of the same owner decides between the count and the commit."""
    if refusal := not_mine(job, command.attempt):
        return refusal
    if command.bytes <= job.reserved:
        return []
    if limit is not None and besides + job.kept + command.bytes > limit:
        return exceeded(limit, besides + job.kept + job.reserved)
    return [JobStorageReserved(job_id=job.job_id, owner=job.owner, attempt=job.attempt, bytes=command.bytes, at=at)]


def full(limit: int | None, used: int) -> QuotaExceeded | None:
    """Whether an owner need not begin anything new."""
    return exceeded(limit, used) if limit is not None and used >= limit else None


def exceeded(limit: int, used: int) -> QuotaExceeded:
    return QuotaExceeded(message="Storage quota exceeded", limit=limit, used=used)
