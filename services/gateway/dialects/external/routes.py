"""Their paths, headers and statuses. No answer is for other origins: download managers are no web pages."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from litestar import Response, route
from litestar.handlers import HTTPRouteHandler

from libs.message import Refused
from proto.auth import KeyHolder
from proto.unrestrict_proxy import HostInfo, HostLink, ListHosts, ReadLink, ReadTraffic, Traffic, Unrestricted
from services.gateway.dialects import AnyRequest, Edge, bearer, reply
from services.gateway.dialects import address as client_address
from services.gateway.dialects.external import translate
from services.gateway.dialects.external.translate import Address, Invalid, Trouble
from services.gateway.dialects.external.words import language

PREFIX = "/api/external/v1"
UNRESTRICT_SECONDS = 25.0
"""A platform is asked for name and size, perhaps after a login."""

Handler = Callable[[Edge, AnyRequest, KeyHolder], Awaitable[object]]


def problem(request: AnyRequest, status: int, _: str) -> Response[bytes]:
    return _told(request, translate.trouble(status))


def _told(request: AnyRequest, trouble: Trouble) -> Response[bytes]:
    spoken = language(request.headers.get("accept-language"))
    headers = {"Content-Language": spoken, "Vary": "Accept-Language", "Cache-Control": "no-store"}
    if trouble.retry is not None:
        headers["Retry-After"] = str(trouble.retry)
    if trouble.http == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return reply(trouble.shown(spoken), trouble.http, headers)


def answering(edge: Edge, handler: Handler) -> Callable[[AnyRequest], Awaitable[Response[bytes]]]:
    async def answered(request: AnyRequest) -> Response[bytes]:
        key = request.headers.get("x-api-key") or bearer(request)
        holder = await edge.guard.holder(key, "external", client_address(request))
        if holder is None:
            return _told(request, translate.NO_KEY)
        try:
            data = await handler(edge, request, holder)
        except Invalid as invalid:
            return _told(request, invalid.trouble)
        except Refused as refused:
            return _told(request, translate.refusal(refused.refusal))
        # `status` 0: plugins of sister APIs look there first.
        return reply({"success": True, "status": 0, "data": data}, headers={"Cache-Control": "no-store"})

    return answered


def address(edge: Edge, link: HostLink) -> Address:
    expires = translate.expiry(time.time(), edge.download_seconds)
    return Address(edge.base_url, edge.download_signer.token(link.link_id, expires))


async def account(edge: Edge, _: AnyRequest, key: KeyHolder) -> object:
    return translate.account(await edge.ask.other(ReadTraffic(owner=key.owner), Traffic))


async def hosts(edge: Edge, _: AnyRequest, __: KeyHolder) -> object:
    return translate.hosts(await edge.ask.other(ListHosts(), list[HostInfo]), edge.download_connections, _now())


async def grouped(edge: Edge, _: AnyRequest, __: KeyHolder) -> object:
    return translate.grouped(await edge.ask.other(ListHosts(), list[HostInfo]), edge.download_connections, _now())


async def unrestrict(edge: Edge, request: AnyRequest, key: KeyHolder) -> object:
    command = translate.command(key.owner, await request.body())
    made = await edge.ask.other(command, Unrestricted, actor=f"key:{key.key_id}", timeout=UNRESTRICT_SECONDS)
    return translate.unrestricted(made, edge.download_connections, address(edge, made.link))


async def link(edge: Edge, request: AnyRequest, key: KeyHolder) -> object:
    wanted = translate.link_id(request.path_params["link_id"])
    found = await edge.ask.other(ReadLink(owner=key.owner, link_id=wanted), HostLink)
    return translate.link(found, edge.download_connections, address(edge, found))


def _page() -> tuple[bytes, str]:
    """The documentation, and a policy that lets it have its own style and nothing else."""
    page = (Path(__file__).parent / "docs.html").read_bytes()
    found = re.search(rb"<style>(.*?)</style>", page, re.DOTALL)
    assert found is not None
    digest = base64.b64encode(hashlib.sha256(found[1]).digest()).decode()
    return page, (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _now() -> datetime:
    return datetime.now(UTC)


TABLE: tuple[tuple[Literal["GET", "POST"], str, Handler], ...] = (
    ("GET", "/account", account),
    ("GET", "/hosts", hosts),
    ("GET", "/hosts/grouped", grouped),
    ("POST", "/unrestrict", unrestrict),
    ("GET", "/link/{link_id:str}", link),
)


def routes(edge: Edge) -> list[HTTPRouteHandler]:
    page, policy = _page()

    async def docs() -> Response[bytes]:
        headers = {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "public, max-age=3600",
        }
        return Response(page, media_type="text/html", headers=headers)

    return [
        *(
            route(PREFIX + path, http_method=[method], status_code=200)(answering(edge, one))
            for method, path, one in TABLE
        ),
        route(f"{PREFIX}/docs", http_method=["GET"], status_code=200)(docs),
    ]
