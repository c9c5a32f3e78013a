"""Their calls about many jobs at once."""

from __future__ import annotations

from litestar import Response
from msgspec import UNSET

from libs.message import Refused, new_id
from proto.auth import KeyHolder
from proto.job import BatchNotHeld, Renamed, StartBatch
from services.gateway.dialects import AnyRequest, reply
from services.gateway.dialects.jobs import answers, shown, translate, wire
from services.gateway.dialects.jobs.desk import Desk, Table, actor, path_id
from services.gateway.dialects.jobs.translate import Invalid
from services.gateway.domain import BatchView


async def mine(desk: Desk, request: AnyRequest, key: KeyHolder) -> BatchView:
    view = await desk.ask.jobs.batch(path_id(request, "batch_id", "Invalid batch ID"), key.owner)
    if view is None:
        raise Invalid(translate.NO_BATCH, 404)
    return view


async def bulk(desk: Desk, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
    body = translate.decode(await request.body(), wire.Bulk)
    desk.check(*(one.url for one in body.jobs), body.webhook_url)
    again = desk.repeat(request, key, body)
    submitted = await desk.earlier(again) if body.storage is not None else None
    if submitted is None:
        target_id = await desk.target(body.storage, key, again)
        submitted = await desk.submit(translate.bulk(key.owner, body, new_id, target_id), key, again)
    ids = [str(job_id) for job_id in submitted.job_ids]
    answer = shown.BulkCreated(
        batch_id=str(submitted.batch_id), total_jobs=len(ids), job_ids=ids, cached=submitted.replayed or UNSET
    )
    return reply(answer, 201)


async def show(desk: Desk, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
    return reply(answers.batch(await mine(desk, request, key)))


async def rename(desk: Desk, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
    view = await mine(desk, request, key)
    body = translate.decode(await request.body(), wire.Renames)
    command, errors = translate.renames(key.owner, view.batch_id, body)
    try:
        renamed = await desk.ask.job(command, actor=actor(key), result=Renamed)
    except Refused as refused:
        if isinstance(refused.refusal, BatchNotHeld):
            raise Invalid("Batch is not paused. Only paused batches can be renamed.") from refused
        raise
    return reply(shown.Renamed(updated=renamed.updated, errors=[*errors, *renamed.errors]))


async def start(desk: Desk, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
    view = await mine(desk, request, key)
    try:
        started = await desk.ask.job(StartBatch(owner=key.owner, batch_id=view.batch_id), actor=actor(key), result=int)
    except Refused as refused:
        if isinstance(refused.refusal, BatchNotHeld):
            raise Invalid(f"Batch is not paused (current status: {answers.batch(view).status})") from refused
        raise
    return reply(shown.Started(batch_id=str(view.batch_id), started_jobs=started, status="processing"))


TABLE: Table = (
    ("POST", "/jobs/bulk", bulk),
    ("GET", "/batch/{batch_id:str}", show),
    ("PATCH", "/batch/{batch_id:str}/jobs", rename),
    ("POST", "/batch/{batch_id:str}/start", start),
)
