"""Their paths, headers and statuses, at the root and below /api/jobs."""

from __future__ import annotations

import time
from typing import Any, Literal
from urllib.parse import quote
from uuid import UUID

from litestar import Request, Response, route
from litestar.handlers import HTTPRouteHandler

from libs.egress.links import BadLink, check_link
from libs.message import Refused, new_id
from proto.auth import KeyHolder
from proto.job import CancelJob, WrongState
from services.gateway.dialects import Edge, bearer, reply
from services.gateway.dialects.jobs import translate
from services.gateway.dialects.jobs.translate import Invalid
from services.gateway.domain import JobView

AnyRequest = Request[Any, Any, Any]
ROOTS = ("", "/api/jobs")


class Unauthorized(Exception):
    """Their text for a missing or wrong key."""


def problem(_: AnyRequest, status: int, text: str) -> Response[bytes]:
    return reply({"error": text}, status)


def routes(edge: Edge) -> list[HTTPRouteHandler]:
    async def holder(request: AnyRequest) -> KeyHolder:
        key = request.headers.get("x-api-key") or bearer(request)
        if not key:
            raise Unauthorized(translate.MISSING_KEY)
        found = await edge.guard.key(key, "jobs")
        if found is None:
            raise Unauthorized(translate.BAD_KEY)
        return found

    async def mine(request: AnyRequest, key: KeyHolder) -> JobView:
        try:
            job_id = UUID(request.path_params["job_id"])
        except ValueError as error:
            raise Invalid("Invalid job ID") from error
        view = await edge.ask.one(job_id, key.owner)
        if view is None:
            raise Invalid(translate.NOT_FOUND, 404)
        return view

    def signed(file_id: UUID, name: str) -> str:
        expires = int(time.time()) + translate.LINK_SECONDS
        signature = edge.signer.sign(str(file_id), expires)
        return f"{edge.base_url}/files/{file_id}/{expires}.{signature}/{quote(name, safe='')}"

    async def create(request: AnyRequest) -> Response[bytes]:
        key = await holder(request)
        body = translate.decode(await request.body())
        for link in filter(None, (body.url, body.webhook_url)):
            try:
                check_link(link, edge.policy)
            except BadLink as bad:
                raise Invalid(str(bad)) from bad
        job_id, command_id = translate.identities(key.key_id, request.headers.get("x-idempotency-key"), new_id)
        submitted = await edge.ask.submit(
            translate.command(key.owner, body, job_id), actor=f"key:{key.key_id}", command_id=command_id
        )
        answer: dict[str, object] = {"job_id": str(submitted.job_ids[0])}
        if submitted.replayed:
            answer["cached"] = True
        return reply(answer, 201)

    async def listing(request: AnyRequest) -> Response[bytes]:
        key = await holder(request)
        limit, offset, states = translate.listing(*(request.query_params.get(n) for n in ("limit", "offset", "status")))
        views, total = await edge.ask.jobs.page(key.owner, states, limit, offset)
        return reply(
            {"jobs": [translate.job(view, None) for view in views], "total": total, "limit": limit, "offset": offset}
        )

    async def show(request: AnyRequest) -> Response[bytes]:
        return reply(translate.job(await mine(request, await holder(request)), signed))

    async def cancel(request: AnyRequest) -> Response[bytes]:
        key = await holder(request)
        view = await mine(request, key)
        try:
            await edge.ask.job(CancelJob(owner=key.owner, job_id=view.job_id), actor=f"key:{key.key_id}")
        except Refused as refused:
            if isinstance(refused.refusal, WrongState):
                raise Invalid(translate.NO_CANCEL) from refused
            raise
        return reply({"message": "Job cancelled successfully", "job_id": str(view.job_id)})

    async def retry(request: AnyRequest) -> Response[bytes]:
        key = await holder(request)
        view = await mine(request, key)
        if view.state not in ("failed", "cancelled"):
            raise Invalid(translate.NO_RETRY)
        job_id = new_id()
        await edge.ask.submit(translate.again(view, key.owner, job_id), actor=f"key:{key.key_id}")
        return reply(
            {"job_id": str(job_id), "original_job_id": str(view.job_id), "message": "Job re-queued successfully"}, 201
        )

    def told(handler: Any) -> Any:
        """Their shape for what is wrong with a request."""

        async def answered(request: AnyRequest) -> Response[bytes]:
            try:
                done: Response[bytes] = await handler(request)
            except Unauthorized as error:
                return problem(request, 401, str(error))
            except Invalid as error:
                return problem(request, error.status, str(error))
            except Refused as refused:
                return problem(request, *translate.refusal(refused.refusal))
            return done

        return answered

    table: tuple[tuple[Literal["GET", "POST", "DELETE"], str, Any], ...] = (
        ("POST", "/jobs", create),
        ("GET", "/jobs", listing),
        ("GET", "/jobs/{job_id:str}", show),
        ("DELETE", "/jobs/{job_id:str}", cancel),
        ("POST", "/jobs/{job_id:str}/retry", retry),
    )
    # The answer carries its own status; DELETE would otherwise be 204, which has no body.
    return [
        route([root + path for root in ROOTS], http_method=[method], status_code=200)(told(handler))
        for method, path, handler in table
    ]
