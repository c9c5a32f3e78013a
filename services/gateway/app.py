"""The application: every dialect's routes, and an answer in the right dialect for everything else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

import structlog
from litestar import Litestar, Request, Response, get, route
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.types import Method
from litestar.utils import normalize_path

from libs import telemetry
from libs.bus import BusError
from libs.calls import ServiceFailed
from libs.http import AsgiApp, Receive, Scope, Send
from services.gateway.dialects import BODY_LIMIT, Edge, reply
from services.gateway.dialects.external import routes as external
from services.gateway.dialects.gdluxx import document as gdluxx_document
from services.gateway.dialects.gdluxx import routes as gdluxx
from services.gateway.dialects.jobs import document as jobs_document
from services.gateway.dialects.jobs import routes as jobs
from services.gateway.dialects.webgui import routes as webgui
from services.gateway.fanout import Hub
from services.gateway.throttle import TooMany

log = structlog.get_logger()

AnyRequest = Request[Any, Any, Any]
Problem = Callable[[AnyRequest, int, str], Response[bytes]]

_SPEAKERS: tuple[tuple[str, Problem], ...] = (
    (gdluxx.PREFIX, gdluxx.problem),
    (external.PREFIX, external.problem),
    (webgui.PREFIX, webgui.problem),
    ("", jobs.problem),
)
DISCARDED_MOST = 64 * BODY_LIMIT
DISCARD_SECONDS = 30.0
SILENT_SECONDS = 2.0
"""Without anything to throw away."""

_METHODS: tuple[Method, ...] = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
_TEXTS = {404: "Not found", 405: "Method not allowed", 413: "Request body is too large"}


def application(edge: Edge, hub: Hub) -> AsgiApp:
    handlers: list[BaseRouteHandler] = [
        *gdluxx.routes(edge),
        *external.routes(edge),
        *jobs.routes(edge),
        *webgui.routes(edge, hub),
        *_documents(edge),
    ]
    app: Any = Litestar(  # its own types of ASGI are narrower than those of servers
        route_handlers=[_asked_what_may_be(handlers), *handlers],  # in this order: it adds its own to what has none
        exception_handlers={
            HTTPException: _refused,
            BusError: _away,
            ServiceFailed: _away,
            TooMany: _too_many,
            Exception: _bug,
        },
        openapi_config=None,
        request_max_body_size=BODY_LIMIT,
        logging_config=None,
        debug=False,
    )

    async def traced(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        parent = next((telemetry.checked(value) for name, value in scope["headers"] if name == b"traceparent"), "")
        with telemetry.span("http.request", parent=parent, server=True, method=scope["method"], path=scope["path"]):
            body = Body(receive)
            await app(scope, body, _after(body, send))

    return traced


def _documents(edge: Edge) -> list[HTTPRouteHandler]:
    """Open to all. Made when they are asked for: what makes them would take memory of every gateway."""

    def serving(path: str, made: Callable[[str], bytes]) -> HTTPRouteHandler:
        async def show() -> Response[bytes]:
            return reply(made(edge.version))

        return get(path)(show)

    return [serving(gdluxx_document.PATH, gdluxx_document.openapi), serving(jobs_document.PATH, jobs_document.openapi)]


def _asked_what_may_be(handlers: Sequence[BaseRouteHandler]) -> HTTPRouteHandler:
    """For the places that do not answer OPTIONS themselves. The framework's own answer knows only the first method."""
    spoken = [one for one in handlers if isinstance(one, HTTPRouteHandler)]
    answered = {path for one in spoken if "OPTIONS" in one.http_methods for path in one.paths}
    paths = sorted({path for one in spoken for path in one.paths} - answered)

    async def told(request: AnyRequest) -> Response[bytes]:
        return Response(b"", status_code=204, headers={"Allow": _allowed(request)})

    return route(paths, http_method=["OPTIONS"], status_code=200)(told)


def _allowed(request: AnyRequest) -> str:
    found, path = [], normalize_path(request.url.path)
    for method in _METHODS:
        with contextlib.suppress(HTTPException):
            request.app.asgi_router.handle_routing(path=path, method=method)
            found.append(method)
    return ", ".join(found)


class Body:
    """What is received of a request; whether all of it was."""

    def __init__(self, receive: Receive) -> None:
        self.over = False
        self._receive = receive

    async def __call__(self) -> MutableMapping[str, Any]:
        part = await self._receive()
        self.over = not part.get("more_body", False)
        return part

    async def discard(self) -> None:
        """What is left of it, within bounds."""
        left, clock = DISCARDED_MOST, asyncio.get_running_loop()
        end = clock.time() + DISCARD_SECONDS
        with contextlib.suppress(TimeoutError):
            while left > 0 and not self.over:
                async with asyncio.timeout_at(min(clock.time() + SILENT_SECONDS, end)):
                    left -= len((await self()).get("body", b""))


def _after(body: Body, send: Send) -> Send:
    """A client that is still sending when its connection closes sees a broken pipe in place of the answer; so what it
    has left to send is read and thrown away first."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start" and message["status"] == 413:
            await body.discard()
        await send(message)

    return sending


def _problem(request: AnyRequest, status: int, text: str) -> Response[bytes]:
    path = request.url.path
    speak = next(speak for prefix, speak in _SPEAKERS if path.startswith(prefix))
    return speak(request, status, text)


def _refused(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    answer = _problem(request, error.status_code, _TEXTS.get(error.status_code, "Bad request"))
    if error.status_code == 405:
        answer.headers["Allow"] = _allowed(request)
    return answer


def _away(request: AnyRequest, error: Exception) -> Response[bytes]:
    log.warning("http.service_away", path=request.url.path, reason=str(error))
    answer = _problem(request, 503, "The service is restarting; try again in a moment")
    answer.headers["Retry-After"] = "1"
    return answer


def _too_many(request: AnyRequest, error: TooMany) -> Response[bytes]:
    answer = _problem(request, 429, "Too many requests; try again in a moment")
    answer.headers["Retry-After"] = str(error.seconds)
    return answer


def _bug(request: AnyRequest, error: Exception) -> Response[bytes]:
    log.error("http.failed", path=request.url.path, exc_info=error)
    return _problem(request, 500, "Internal error")
