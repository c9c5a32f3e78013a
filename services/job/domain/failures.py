"""What a failed attempt costs: another one after a pause, or the job."""

from __future__ import annotations

from datetime import datetime, timedelta

from proto.job import (
    Failure,
    JobAttemptFailed,
    JobFailed,
    ReportFailed,
)
from services.job.domain.job import Decision, Job, not_mine

MAX_FAILURES = {"transient": 6, "rate_limited": 10, "host_down": 6}
"""Attempts that may fail in a row before the job does; classes not listed end it at once."""
FIRST_DELAY = timedelta(seconds=1)
LONGEST_DELAY = timedelta(minutes=10)
LONGEST_REQUESTED_DELAY = timedelta(days=1)
"""A Retry-After beyond this is cut, so that no origin can park a job for ever."""


def report_failed(job: Job, command: ReportFailed, at: datetime, jitter: float) -> Decision:
    """`jitter` in [0, 1) spreads retries, so that jobs that failed together do not come back together."""
    if refusal := not_mine(job, command.attempt):
        return refusal
    failure = command.failure
    if job.failures + 1 < MAX_FAILURES.get(failure.kind, 0):
        return [
            JobAttemptFailed(
                job_id=job.job_id,
                owner=job.owner,
                attempt=job.attempt,
                failure=failure,
                retry_at=retry_at(job.failures, failure, at, jitter),
                at=at,
            )
        ]
    return [
        JobFailed(
            job_id=job.job_id,
            owner=job.owner,
            attempt=job.attempt,
            failure=failure,
            at=at,
            batch_id=job.batch_id,
            url=job.url,
        )
    ]


def retry_at(failures: int, failure: Failure, at: datetime, jitter: float) -> datetime:
    """Exponential back-off with the upper half jittered; what the origin asked for is the least we wait."""
    delay = min(FIRST_DELAY * (1 << failures), LONGEST_DELAY) * (0.5 + jitter / 2)
    asked = min(failure.retry_at, at + LONGEST_REQUESTED_DELAY) if failure.retry_at else at
    return max(at + delay, asked)
