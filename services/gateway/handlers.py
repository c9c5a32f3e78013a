"""Queries of operators' programs; the routing table is at the foot."""

from __future__ import annotations

from libs.calls import Answer
from libs.message import Refused
from proto.gateway import JobRow, ListJobs, NoSuchJob, ReadJob
from services.gateway.domain import JobView
from services.gateway.views import Jobs


async def list_jobs(query: ListJobs, jobs: Jobs) -> Answer:
    if query.job_ids is not None:
        return Answer([_row(view) for view in await jobs.some(query.job_ids, query.owner)])
    views, _ = await jobs.page(query.owner, None, query.limit, 0)
    return Answer([_row(view) for view in views])


async def read_job(query: ReadJob, jobs: Jobs) -> Answer:
    view = None
    if query.job_id is not None:
        view = await jobs.one(query.job_id, None)
    elif query.number is not None:
        view = await jobs.by_number(query.number)
    if view is None:
        raise Refused(NoSuchJob(message="no such job"))
    return Answer(_row(view))


def _row(view: JobView) -> JobRow:
    return JobRow(
        job_id=view.job_id,
        number=view.number,
        owner=view.owner,
        dialect=view.dialect,
        url=view.url,
        state=view.state,
        title=view.title,
        error=view.failure.message if view.failure else None,
        attempt=view.attempt,
        size=view.size,
        files=tuple(item.name for item in view.items),
        submitted_at=view.submitted_at,
        finished_at=view.finished_at,
        waiting_for=view.waits[0] if view.waits else None,
        waiting_until=view.waits[1] if view.waits else None,
        more_items=view.more,
    )


HANDLERS = (list_jobs, read_job)
