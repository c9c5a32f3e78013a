"""Their calls about one job, and the list of all."""

from __future__ import annotations

from typing import Any

from litestar import Response

from libs.bus import Unreachable
from libs.message import Refused, new_id
from proto.auth import KeyHolder
from proto.job import CancelJob, DeleteJobFiles, Submitted, WrongState
from proto.notifier import ReadDeliveries
from proto.worker import Entry
from services.gateway.dialects import AnyRequest, reply
from services.gateway.dialects.jobs import answers, shown, translate, wire
from services.gateway.dialects.jobs.answers import Links
from services.gateway.dialects.jobs.desk import Desk, Table, actor
from services.gateway.dialects.jobs.translate import Invalid


async def several(desk: Desk, url: str, key: KeyHolder) -> list[Entry]:
    """The films behind one link. What can not be looked at is taken for one: its job will say why, and waits while no
    worker is there."""
    if not translate.may_be_many(url):
        return []
    try:
        return desk.allowed((await desk.look(url, key)).entries)
    except (Refused, Unreachable):
        return []


async def metadata(desk: Desk, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
    body = translate.decode(await request.body(), wire.Look)
    desk.check(body.url)
    return reply(answers.metadata(await desk.look(body.url, key)))


async def is_short(desk: Desk, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
    body = translate.decode(await request.body(), wire.Look)
    desk.check(body.url)
    return reply(answers.shortness(await desk.look(body.url, key)))


async def create(desk: Desk, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
    body = translate.decode(await request.body(), wire.Create)
    desk.check(body.url, body.webhook_url)
    again = desk.repeat(request, key, body)
    if body.storage is not None or translate.may_be_many(body.url):
        earlier = await desk.earlier(again)
        if earlier is not None:
            return await repeated(desk, body, earlier, key)
    target_id = await desk.target(body.storage, key, again)
    entries = await several(desk, body.url, key)
    command = (
        translate.collection(key.owner, body, entries, new_id, target_id)
        if entries
        else translate.command(key.owner, body, new_id(), target_id)
    )
    submitted = await desk.submit(command, key, again)
    if submitted.replayed:
        return await repeated(desk, body, submitted, key)
    if submitted.batch_id is not None:
        named = zip(submitted.job_ids, entries, strict=True)
        episodes = [shown.Episode(job_id=str(job_id), url=one.url, title=one.title) for job_id, one in named]
        return reply(translate.collected(submitted.batch_id, episodes, paused=bool(body.paused)), 201)
    return reply(shown.Created(job_id=str(submitted.job_ids[0])), 201)


async def repeated(desk: Desk, body: wire.Create, earlier: Submitted, key: KeyHolder) -> Response[bytes]:
    """As the first time, whatever the site says now."""
    if earlier.batch_id is None:
        return reply(shown.Created(job_id=str(earlier.job_ids[0]), cached=True), 201)
    views = await desk.ask.some([*earlier.job_ids], key.owner)
    episodes = [shown.Episode(job_id=str(view.job_id), url=view.url, title=view.title) for view in views]
    return reply(translate.collected(earlier.batch_id, episodes, paused=bool(body.paused), cached=True), 201)


async def listing(desk: Desk, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
    limit, offset, states = translate.listing(
        *(request.query_params.get(n) for n in ("limit", "offset", "status")), style=key.status_style
    )
    views, total = await desk.ask.jobs.page(key.owner, states, limit, offset)
    jobs = [answers.job(view, Links(), key.status_style) for view in views]
    return reply(shown.Listing(jobs=jobs, total=total, limit=limit, offset=offset))


async def show(desk: Desk, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
    view = await desk.job(request, key)
    job = answers.job(view, await desk.links(view), key.status_style)
    if view.options.webhook_url is None or view.finished_at is None:
        return reply(job)
    attempts = await desk.ask.other(ReadDeliveries(owner=key.owner, job_id=view.job_id), list[dict[str, Any]])
    return reply(answers.told(job, attempts))


async def cancel(desk: Desk, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
    view = await desk.job(request, key)
    try:
        await desk.ask.job(CancelJob(owner=key.owner, job_id=view.job_id), actor=actor(key))
    except Refused as refused:
        if isinstance(refused.refusal, WrongState):
            raise Invalid(translate.NO_CANCEL) from refused
        raise
    return reply(shown.Cancelled(message="Job cancelled successfully", job_id=str(view.job_id)))


async def retry(desk: Desk, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
    view = await desk.job(request, key)
    if view.state not in ("failed", "cancelled"):
        raise Invalid(translate.NO_RETRY)
    command = translate.again(view, key.owner, new_id())
    (job_id,) = (await desk.submit(command, key, desk.repeat(request, key, view.job_id))).job_ids
    answer = shown.Retried(job_id=str(job_id), original_job_id=str(view.job_id), message="Job re-queued successfully")
    return reply(answer, 201)


async def delete_file(desk: Desk, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
    view = await desk.job(request, key)
    if not view.items:
        raise Invalid(translate.NO_FILE)
    item = view.main or view.items[0]
    await desk.ask.job(DeleteJobFiles(owner=key.owner, job_id=view.job_id), actor=actor(key))
    return reply(
        shown.FileDeleted(
            message="File deleted successfully",
            job_id=str(view.job_id),
            deleted_key=item.object_key or item.name,
        )
    )


TABLE: Table = (
    ("POST", "/metadata", metadata),
    ("POST", "/is-short", is_short),
    ("POST", "/jobs", create),
    ("GET", "/jobs", listing),
    ("GET", "/jobs/{job_id:str}", show),
    ("DELETE", "/jobs/{job_id:str}", cancel),
    ("POST", "/jobs/{job_id:str}/retry", retry),
    ("DELETE", "/jobs/{job_id:str}/file", delete_file),
)
