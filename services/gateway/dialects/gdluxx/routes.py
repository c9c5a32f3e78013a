"""Their paths, headers and statuses."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from litestar import Request, Response, route
from litestar.handlers import HTTPRouteHandler

from libs.egress.links import BadLink, check_link
from libs.message import Refused, new_id
from proto.auth import KeyHolder
from services.gateway.dialects import Edge, bearer, reply
from services.gateway.dialects.gdluxx import translate
from services.gateway.dialects.gdluxx.translate import Invalid

PREFIX = "/api/extension"
PATHS = (f"{PREFIX}/external", f"{PREFIX}/ping", f"{PREFIX}/jobs")

AnyRequest = Request[Any, Any, Any]


class Unauthorized(Exception):
    """Their text for a missing or wrong key."""

    def __init__(self, text: str, status: int = 401) -> None:
        super().__init__(text)
        self.status = status


def problem(request: AnyRequest, status: int, text: str) -> Response[bytes]:
    headers = cors(request)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return reply({"success": False, "error": text, "timestamp": _now()}, status, headers)


def success(request: AnyRequest, data: object, **headers: str) -> Response[bytes]:
    return reply({"success": True, "data": data, "timestamp": _now()}, 200, {**cors(request), **headers})


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


def preflight(request: AnyRequest) -> Response[bytes]:
    """Asked by the browser before the extension's own request, and without its key."""
    return Response(b"", status_code=204, media_type="application/json", headers=cors(request))


def routes(edge: Edge) -> list[HTTPRouteHandler]:
    async def holder(request: AnyRequest) -> KeyHolder:
        token = bearer(request)
        if token is None:
            raise Unauthorized(translate.NO_HEADER)
        if not token:
            raise Unauthorized(translate.EMPTY_TOKEN, 400)
        found = await edge.guard.key(token, "gdluxx")
        if found is None:
            raise Unauthorized(translate.BAD_KEY)
        return found

    @route(PATHS[0], http_method=["POST", "OPTIONS"], status_code=200)
    async def external(request: AnyRequest) -> Response[bytes]:
        if request.method == "OPTIONS":
            return preflight(request)
        try:
            key = await holder(request)
            body = translate.decode(await request.body())
            links = translate.urls(body)
            chosen = translate.options(body, links)
        except Unauthorized as error:
            return problem(request, error.status, str(error))
        except Invalid as error:
            return problem(request, 400, str(error))
        errors = {index: text for index, link in enumerate(links) if (text := _unusable(link, edge))}
        good = [index for index in range(len(links)) if index not in errors]
        ids = {}
        if good:
            command = translate.command(key.owner, [links[index] for index in good], chosen, new_id)
            try:
                submitted = await edge.ask.submit(command, actor=f"key:{key.key_id}")
            except Refused as refused:
                status, text = translate.refusal(refused.refusal)
                return problem(request, status, text)
            ids = dict(zip(good, submitted.job_ids, strict=True))
        return success(request, translate.accepted(links, ids, errors))

    @route(PATHS[1], http_method=["POST", "OPTIONS"], status_code=200)
    async def ping(request: AnyRequest) -> Response[bytes]:
        if request.method == "OPTIONS":
            return preflight(request)
        try:
            key = await holder(request)
        except Unauthorized as error:
            return problem(request, error.status, str(error))
        return success(
            request,
            {
                "message": "Connection successful!",
                "keyId": str(key.key_id),
                "keyName": key.key_name,
                "maxBatchUrls": translate.MAX_URLS,
                "serverVersion": edge.version,
                "protocolVersion": translate.PROTOCOL_VERSION,
                "capabilities": translate.CAPABILITIES,
            },
        )

    @route(PATHS[2], http_method=["GET", "OPTIONS"], status_code=200)
    async def jobs(request: AnyRequest) -> Response[bytes]:
        if request.method == "OPTIONS":
            return preflight(request)
        try:
            key = await holder(request)
            ids = translate.job_ids(request.query_params.get("ids"))
        except Unauthorized as error:
            return problem(request, error.status, str(error))
        except Invalid as error:
            return problem(request, 400, str(error))
        views = await edge.ask.some(ids, key.owner)
        return success(request, {"jobs": [translate.job(view) for view in views]}, **{"Cache-Control": "no-store"})

    return [external, ping, jobs]


def _unusable(link: str, edge: Edge) -> str | None:
    try:
        check_link(link, edge.policy)
    except BadLink as bad:
        return str(bad)
    return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
