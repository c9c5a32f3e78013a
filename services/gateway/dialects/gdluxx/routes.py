"""Their paths, headers and statuses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Literal

from litestar import Response, route
from litestar.handlers import HTTPRouteHandler

from libs.egress.links import BadLink, check_link
from libs.message import Refused, new_id
from proto.auth import KeyHolder
from proto.job import QuotaExceeded
from proto.unrestrict_proxy import CookieDomain, ListCookieDomains, RemoveCookies
from services.gateway.blobs import Blob
from services.gateway.dialects import BODY_LIMIT, AnyRequest, Edge, address, bearer, repeat, reply
from services.gateway.dialects.gdluxx import bundles, translate, wire
from services.gateway.dialects.gdluxx.translate import Invalid

PREFIX = "/api/extension"
Method = Literal["GET", "POST", "PUT", "DELETE"]

Handler = Callable[[Edge, AnyRequest, KeyHolder], Awaitable[Response[bytes]]]
Calls = dict[Method, Handler]


class Unauthorized(Exception):
    """Their text for a missing or wrong key."""

    def __init__(self, text: str, status: int = 401) -> None:
        super().__init__(text)
        self.status = status


def problem(request: AnyRequest, status: int, text: str) -> Response[bytes]:
    headers = cors(request)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return reply(wire.Problem(success=False, error=text, timestamp=_now()), status, headers)


def success(request: AnyRequest, data: object, **headers: str) -> Response[bytes]:
    return reply(wire.Success(success=True, data=data, timestamp=_now()), 200, {**cors(request), **headers})


def cors(request: AnyRequest) -> dict[str, str]:
    """On errors too, or the extension reports a network error. Reflecting any origin is safe because nothing but the
    key in a header lets anyone in."""
    return {
        "Access-Control-Allow-Origin": request.headers.get("origin") or "*",
        "Vary": "Origin",
        "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
        "Access-Control-Allow-Headers": "Content-Type, Authorization, Idempotency-Key",
        "Access-Control-Allow-Private-Network": "true",
        "Access-Control-Max-Age": "600",
    }


async def preflight(request: AnyRequest) -> Response[bytes]:
    """Asked by the browser before the extension's own request, and without its key."""
    return Response(b"", status_code=204, media_type="application/json", headers=cors(request))


async def holder(edge: Edge, request: AnyRequest) -> KeyHolder:
    token = bearer(request)
    if token is None:
        raise Unauthorized(translate.NO_HEADER)
    if not token:
        raise Unauthorized(translate.EMPTY_TOKEN, 400)
    found = await edge.guard.holder(token, "gdluxx", address(request))
    if found is None:
        raise Unauthorized(translate.BAD_KEY)
    return found


async def external(edge: Edge, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
    body = translate.decode(await request.body())
    links = translate.urls(body)
    chosen = translate.options(body, links, lambda link: _unusable(link, edge) is None)
    name = translate.idempotency(request.headers.get("idempotency-key"))
    again = None if name is None else repeat(key.key_id, name, links, chosen)
    errors = {index: text for index, link in enumerate(links) if (text := _unusable(link, edge))}
    good = [index for index in range(len(links)) if index not in errors]
    ids = {}
    if good:
        command = translate.command(
            key.owner, [links[index] for index in good], chosen, new_id, asked=again.asked if again else ""
        )
        command_id = again.command_id if again else None
        try:
            submitted = await edge.ask.submit(command, actor=f"key:{key.key_id}", command_id=command_id)
        except Refused as refused:
            if not isinstance(refused.refusal, QuotaExceeded):
                raise
            errors |= dict.fromkeys(good, refused.refusal.message)
        else:
            ids = dict(zip(good, submitted.job_ids, strict=True))
    return success(request, translate.accepted(links, ids, errors))


async def ping(edge: Edge, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
    return success(
        request,
        wire.Pong(
            message="Connection successful!",
            key_id=str(key.key_id),
            key_name=key.key_name,
            max_batch_urls=translate.MAX_URLS,
            server_version=edge.version,
            protocol_version=translate.PROTOCOL_VERSION,
            capabilities=translate.CAPABILITIES,
        ),
    )


async def jobs(edge: Edge, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
    ids = translate.job_ids(request.query_params.get("ids"))
    views = await edge.ask.some(ids, key.owner)
    return success(request, wire.Jobs(jobs=[*map(translate.job, views)]), **{"Cache-Control": "no-store"})


async def cookies(edge: Edge, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
    found = await edge.ask.other(ListCookieDomains(owner=key.owner), list[CookieDomain])
    return success(request, translate.cookie_backup(found))


async def put_cookies(edge: Edge, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
    command = translate.cookies(key.owner, await request.body(), key.key_name)
    await edge.ask.other(command, type(None), actor=f"key:{key.key_id}")
    return await cookies(edge, request, key)


async def delete_cookies(edge: Edge, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
    command = RemoveCookies(owner=key.owner, domain=translate.domain(request.query_params.get("domain")))
    deleted = await edge.ask.other(command, bool, actor=f"key:{key.key_id}")
    return success(request, wire.Deleted(deleted=deleted))


def backups(kind: str) -> Calls:
    async def show(edge: Edge, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
        return success(request, translate.backup(await edge.blobs.read(key.owner, kind)))

    async def put(edge: Edge, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
        bundle = await asyncio.to_thread(bundles.read, kind, await request.body())
        blob = Blob(
            body=bundle.body,
            entries=bundle.profiles,
            synced_by=bundle.synced_by or key.key_name,
            updated_at=datetime.now(UTC),
        )
        await edge.blobs.write(key.owner, kind, blob)
        return success(request, translate.kept(blob, bundle.skipped, bundle.tolerated))

    async def delete(edge: Edge, request: AnyRequest, key: KeyHolder) -> Response[bytes]:
        return success(request, wire.Deleted(deleted=await edge.blobs.remove(key.owner, kind)))

    return {"GET": show, "PUT": put, "DELETE": delete}


def told(edge: Edge, handler: Handler) -> Callable[[AnyRequest], Awaitable[Response[bytes]]]:
    """Their shape for what is wrong with a request."""

    async def answered(request: AnyRequest) -> Response[bytes]:
        try:
            return await handler(edge, request, await holder(edge, request))
        except Unauthorized as error:
            return problem(request, error.status, str(error))
        except Invalid as error:
            return problem(request, 400, str(error))
        except Refused as refused:
            return problem(request, *translate.refusal(refused.refusal))

    return answered


def _unusable(link: str, edge: Edge) -> str | None:
    try:
        check_link(link, edge.policy)
    except BadLink as bad:
        return str(bad)
    return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


TABLE: tuple[tuple[str, int, Calls], ...] = (
    ("/external", BODY_LIMIT, {"POST": external}),
    ("/ping", BODY_LIMIT, {"POST": ping}),
    ("/jobs", BODY_LIMIT, {"GET": jobs}),
    (
        "/cookies",
        translate.COOKIE_BODY_LIMIT,
        {"GET": cookies, "PUT": put_cookies, "DELETE": delete_cookies},
    ),
    *((f"/{kind}", bundles.BODY_LIMIT, backups(kind)) for kind in bundles.KINDS),
)
"""Path, the longest body in bytes, and what answers each method."""


def routes(edge: Edge) -> list[HTTPRouteHandler]:
    preflights = route([f"{PREFIX}{path}" for path, _, _ in TABLE], http_method=["OPTIONS"], status_code=200)(preflight)
    # The answer carries its own status; DELETE would otherwise be 204, which has no body.
    return [
        preflights,
        *(
            route(f"{PREFIX}{path}", http_method=[method], status_code=200, request_max_body_size=limit)(
                told(edge, handler)
            )
            for path, limit, calls in TABLE
            for method, handler in calls.items()
        ),
    ]
