"""What links hear of others: jobs that are to be submitted for them, jobs that ended, files that went."""

from __future__ import annotations

import re
from collections.abc import Sequence

import structlog

from libs.calls import Caller
from libs.database import Connection
from libs.eventstore.projection import Applied
from libs.message import Meta, Refused, new_id
from proto.job import EXTRA, JobCancelled, JobFailed, JobItemCompleted, Options, Request, SubmitJobs
from proto.storage import FileDeleted
from proto.unrestrict_proxy import LinkRequested
from services.unrestrict_proxy.links import views
from services.unrestrict_proxy.links.book import Book, Ended, Stored
from services.unrestrict_proxy.links.views import Link

log = structlog.get_logger()

REQUESTS = frozenset({"unrestrict_proxy.link_requested"})
CHANGES = frozenset(
    {
        "unrestrict_proxy.account_added",
        "unrestrict_proxy.account_renewed",
        "unrestrict_proxy.account_removed",
        "unrestrict_proxy.account_read",
    }
)
"""After these other hosts may have accounts than before."""
ENDS = frozenset({"job.item_completed", "job.failed", "job.cancelled"})
LOSSES = frozenset({"storage.file_deleted"})

_CODE = re.compile(r"host_(\d{2,3})")


async def submit_jobs(conn: Connection, batch: Sequence[Applied], caller: Caller, book: Book) -> None:
    """At least once: the job's id is the command's idempotency key. What the job service refuses ends the link."""
    ended = []
    for one in batch:
        event = one.event
        if not isinstance(event, LinkRequested) or event.dialect is None:
            continue
        request = Request(job_id=event.job_id, url=event.url, options=Options(engine="unrestrict"))
        try:
            await caller.command(
                SubmitJobs(owner=event.owner, dialect=event.dialect, requests=(request,)),
                actor=f"link:{event.link_id}",
                command_id=event.job_id,
            )
        except Refused as refused:
            await log.awarning("link.job_refused", link=event.link_id, reason=refused.refusal.message)
            link = await views.link(conn, event.link_id)
            if link is not None:
                ended.append(Ended(link=link, message=refused.refusal.message))
    if ended:
        await book.end(conn, ended, _meta())


async def end_links(conn: Connection, batch: Sequence[Applied], book: Book) -> None:
    """Events of jobs that fetch no file host's link have no effect."""
    events = [one.event for one in batch if isinstance(one.event, JobItemCompleted | JobFailed | JobCancelled)]
    open_links = await views.open_links(conn, {one.job_id for one in events})
    ended: dict[str, Ended] = {}
    for event in events:
        link = open_links.get(event.job_id)
        if link is not None and link.link_id not in ended and (end := _end(link, event)) is not None:
            ended[link.link_id] = end
    if ended:
        await book.end(conn, list(ended.values()), _meta())


def _end(link: Link, event: JobItemCompleted | JobFailed | JobCancelled) -> Ended | None:
    match event:
        case JobItemCompleted(item=item):
            if EXTRA.search(item.key):
                return None
            return Ended(
                link=link, stored=Stored(file_id=item.file_id, name=item.name, size=item.size, sha256=item.sha256)
            )
        case JobFailed(failure=failure):
            code = _CODE.fullmatch(failure.code)
            return Ended(link=link, status=int(code[1]) if code else 106, message=failure.message)
        case _:
            return Ended(link=link, message="the transfer was cancelled", charged=True)


async def expire_links(conn: Connection, batch: Sequence[Applied], book: Book) -> None:
    gone = [one.event.file_id for one in batch if isinstance(one.event, FileDeleted)]
    links = await views.links_of_files(conn, gone)
    if links:
        await book.expire(conn, links, _meta())


def _meta() -> Meta:
    return Meta(correlation=new_id(), actor="service:unrestrict_proxy")
