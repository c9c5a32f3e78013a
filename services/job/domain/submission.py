"""How jobs begin."""

from __future__ import annotations

from datetime import datetime

from libs.message import Event
from proto.job import (
    JobDeferred,
    JobSubmitted,
    JobWebhookRequested,
    Request,
    SubmitJobs,
)


def submit(command: SubmitJobs, numbers: tuple[int, ...], at: datetime) -> list[list[Event]]:
    """What opens the stream of each link, in request order.

    What only some jobs ask for is said in events of its own, so that those who care for it need not read every job.
    """
    return [_open(command, request, number, at) for request, number in zip(command.requests, numbers, strict=True)]


def _open(command: SubmitJobs, request: Request, number: int, at: datetime) -> list[Event]:
    job_id, owner, options = request.job_id, command.owner, request.options
    events: list[Event] = [
        JobSubmitted(
            job_id=job_id,
            number=number,
            owner=owner,
            dialect=command.dialect,
            url=request.url,
            options=options,
            priority=request.priority,
            held=request.held,
            at=at,
            not_before=request.not_before,
            batch_id=command.batch_id,
            retry_of=request.retry_of,
        )
    ]
    if request.not_before is not None:
        events.append(JobDeferred(job_id=job_id, owner=owner, until=request.not_before, at=at))
    if options.webhook_url is not None:
        events.append(
            JobWebhookRequested(
                job_id=job_id,
                owner=owner,
                url=options.webhook_url,
                link=request.url,
                folder="/".join(options.directory) or None,
                at=at,
                progress=options.progress_webhook,
                style=command.webhook_style,
            )
        )
    return events
