"""Their paths, headers and statuses, and their socket."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal
from uuid import UUID

from litestar import Response, WebSocket, route, websocket
from litestar.exceptions import WebSocketDisconnect
from litestar.handlers import HTTPRouteHandler, WebsocketRouteHandler

from libs.message import Refused, new_id
from proto.auth import LockedOut, ReadUser, Session, User
from services.gateway.dialects import AnyRequest, Edge, address, bearer, reply
from services.gateway.dialects.webgui import translate
from services.gateway.dialects.webgui.translate import Invalid
from services.gateway.fanout import Hub, Subscriber
from services.gateway.guard import Identity
from services.gateway.throttle import TooMany

AnySocket = WebSocket[Any, Any, Any]
Handler = Callable[[Edge, AnyRequest], Awaitable[Response[bytes]]]
"""Of a call that is public."""
UsersHandler = Callable[[Edge, AnyRequest, Identity], Awaitable[Response[bytes]]]
Route = Callable[[AnyRequest], Awaitable[Response[bytes]]]

PREFIX = "/api/v1"
PUBLIC_LIMIT, USER_LIMIT = 100, 1000
"""Requests an hour, by address and by user, as their document promises."""
WINDOW = 3600
SOCKETS_PER_USER = 10
CLOSE_UNAUTHORISED, CLOSE_TOO_MANY = 4401, 4429
WRITE_SECONDS = 20.0
COUNTED = 50_000


class Unauthorized(Exception):
    """Nobody is signed in, or no more."""


class Limits:
    """Requests in the running hour, by who asks; the oldest counters go when there are too many."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def count(self, who: str, limit: int) -> tuple[bool, dict[str, str]]:
        """Whether this request is within the limit, and the headers that say how much is left."""
        window = int(time.time()) // WINDOW
        known, used = self._counts.pop(who, (window, 0))
        used = used + 1 if known == window else 1
        self._counts[who] = (window, used)
        while len(self._counts) > COUNTED:
            self._counts.popitem(last=False)
        reset = (window + 1) * WINDOW
        headers = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(0, limit - used)),
            "X-RateLimit-Reset": str(reset),
        }
        if used > limit:
            headers["Retry-After"] = str(reset - int(time.time()))
        return used <= limit, headers


def problem(_: AnyRequest, status: int, text: str, headers: dict[str, str] | None = None) -> Response[bytes]:
    return reply(
        {
            "detail": text,
            "error_code": translate.CODES.get(status, "ERROR"),
            "timestamp": translate.iso(datetime.now(UTC)),
            "request_id": str(new_id()),
        },
        status,
        headers,
    )


def to_all(edge: Edge, limits: Limits, handler: Handler) -> Route:
    async def one(request: AnyRequest) -> Response[bytes]:
        counted = limits.count(address(request), PUBLIC_LIMIT)
        return await _answer(request, counted, partial(handler, edge, request))

    return one


def to_users(edge: Edge, limits: Limits, handler: UsersHandler) -> Route:
    async def one(request: AnyRequest) -> Response[bytes]:
        token = bearer(request)
        identity = await edge.guard.token(token) if token else None

        async def call() -> Response[bytes]:
            if identity is None:
                raise Unauthorized
            return await handler(edge, request, identity)

        who, limit = (str(identity.user_id), USER_LIMIT) if identity else (address(request), PUBLIC_LIMIT)
        return await _answer(request, limits.count(who, limit), call)

    return one


async def _answer(
    request: AnyRequest, counted: tuple[bool, dict[str, str]], call: Callable[[], Awaitable[Response[bytes]]]
) -> Response[bytes]:
    within, headers = counted
    if not within:
        return problem(request, 429, "Rate limit exceeded", headers)
    try:
        done = await call()
    except Unauthorized:
        return problem(request, 401, "Not authenticated", {**headers, "WWW-Authenticate": "Bearer"})
    except Invalid as error:
        return problem(request, 422, str(error), headers)
    except Refused as refused:
        status, text = translate.refusal(refused.refusal)
        if isinstance(refused.refusal, LockedOut):
            headers["Retry-After"] = str(refused.refusal.retry_after)
        return problem(request, status, text, headers)
    for name, value in headers.items():
        done.headers[name] = value
    return done


async def login(edge: Edge, request: AnyRequest) -> Response[bytes]:
    command = translate.login(await request.body())
    return reply(translate.session(await edge.ask.other(command, Session)))


async def refresh(edge: Edge, request: AnyRequest) -> Response[bytes]:
    command = translate.refresh(await request.body())
    return reply(translate.refreshed(await edge.ask.other(command, Session)))


async def me(edge: Edge, _: AnyRequest, identity: Identity) -> Response[bytes]:
    return reply(translate.me(await edge.ask.other(ReadUser(user_id=identity.user_id), User)))


def downloads(edge: Edge, hub: Hub) -> WebsocketRouteHandler:
    sockets: dict[UUID, int] = {}

    @websocket("/ws/downloads")
    async def watched(socket: AnySocket) -> None:
        offered = socket.headers.get("sec-websocket-protocol")
        token = socket.query_params.get("token") or (offered.split(",")[-1].strip() if offered else "")
        try:
            identity = await edge.guard.watcher(token, address(socket))
        except TooMany:
            await socket.close(CLOSE_TOO_MANY)  # refused, not opened: that would cost what the limit is to save
            return
        await socket.accept(subprotocols=offered.split(",")[0].strip() if offered else None)
        if identity is None:
            await socket.close(CLOSE_UNAUTHORISED, "invalid or expired token")
            return
        if sockets.get(identity.user_id, 0) >= SOCKETS_PER_USER:
            await socket.close(CLOSE_TOO_MANY, "too many connections")
            return
        sockets[identity.user_id] = sockets.get(identity.user_id, 0) + 1
        try:
            async with hub.subscribed(identity.sees, socket.query_params.get("since")) as subscriber:
                with edge.guard.watching(identity.session_id, subscriber.end):
                    await _serve(socket, subscriber, identity)
        finally:
            sockets[identity.user_id] -= 1
            if not sockets[identity.user_id]:
                del sockets[identity.user_id]

    return watched


def routes(edge: Edge, hub: Hub) -> list[HTTPRouteHandler | WebsocketRouteHandler]:
    limits = Limits()

    def call(method: Literal["GET", "POST"], path: str, answer: Route) -> HTTPRouteHandler:
        return route(PREFIX + path, http_method=[method], status_code=200)(answer)

    return [
        call("POST", "/auth/login", to_all(edge, limits, login)),
        call("POST", "/auth/refresh", to_all(edge, limits, refresh)),
        call("GET", "/auth/me", to_users(edge, limits, me)),
        downloads(edge, hub),
    ]


async def _serve(socket: AnySocket, subscriber: Subscriber, identity: Identity) -> None:
    """Writes until the client goes, its session ends, or its token runs out."""
    loop = asyncio.get_running_loop()
    expiry = loop.call_later(max(0.0, identity.expires_at - time.time()), subscriber.end)
    reading = asyncio.create_task(_until_gone(socket, subscriber))
    try:
        while frames := await subscriber.take():
            for frame in frames:
                async with asyncio.timeout(WRITE_SECONDS):
                    await socket.send_text(frame.decode())
        if not reading.done():
            await socket.close(CLOSE_UNAUTHORISED, "the session has ended")
    except (WebSocketDisconnect, TimeoutError, OSError, RuntimeError):
        subscriber.end()
    finally:
        expiry.cancel()
        reading.cancel()
        await asyncio.wait({reading})


async def _until_gone(socket: AnySocket, subscriber: Subscriber) -> None:
    """What clients say is read and dropped: only so is it known that they went."""
    try:
        while True:
            await socket.receive_data(mode="text")
    except (WebSocketDisconnect, RuntimeError, OSError):
        subscriber.end()
