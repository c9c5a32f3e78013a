"""The site as one aiohttp server on a free port of 127.0.0.1.

Every path answers under every host name; the names only make addresses look like what they stand for. The product
reaches them through its egress proxy, opened with `LONGSHORE_EGRESS_ALLOW=<site.egress_allow>`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from . import files, galleries, live, video
from .content import sha256
from .gates import Gates
from .hits import Hit, Log
from .knobs import Counts
from .media import Media, library
from .sending import HIT, STATE, State, error_page

HOSTS = ("files.test", "video.test", "don.test", "booru.test", "chan.test")
ADDRESS = "127.0.0.1"


def with_knobs(path: str, knobs: dict[str, Any]) -> str:
    query = urlencode({name: int(value) if isinstance(value, bool) else value for name, value in knobs.items()})
    return path + (("&" if "?" in path else "?") + query if query else "")


class Addresses(msgspec.Struct, frozen=True):
    """What can be said of a site that listens on `port`, from whichever process."""

    port: int

    @property
    def egress_allow(self) -> str:
        """`LONGSHORE_EGRESS_ALLOW` with all host names."""
        return ",".join(f"{host}={ADDRESS}:{self.port}" for host in HOSTS)

    def url(self, path: str, host: str = "", /, **knobs: Any) -> str:
        """On `host` (one of HOSTS, port 80, through the product's proxy), or else directly on 127.0.0.1:port."""
        return f"http://{host or f'{ADDRESS}:{self.port}'}{with_knobs(path, knobs)}"

    def file(self, size: int, name: str, host: str = "", /, **knobs: Any) -> str:
        return self.url(f"/file/{size}/{name}", host, **knobs)

    def sha256(self, size: int, name: str, *, version: int = 1) -> str:
        return sha256(size, name, version=version)

    def media(self, name: str) -> Media:
        """A made file, such as clip.mp4, with its hash."""
        return library()[name]


class MediaSite(Addresses, frozen=True):
    """A running site in this process and loop. `hits` waits for nothing; the three coroutines wait for a signal."""

    state: State

    @classmethod
    @asynccontextmanager
    async def start(
        cls, *, port: int = 0, log: Path | None = None, routes: Iterable[web.AbstractRouteDef] = ()
    ) -> AsyncIterator[MediaSite]:
        """`routes` are served beside the site's own, with its log, gates and knobs."""
        library()
        state = State(log=Log(log), gates=Gates(), counts=Counts())
        app = web.Application(middlewares=[_record])
        app[STATE] = state
        app.add_routes([*files.ROUTES, *video.ROUTES, *live.ROUTES, *galleries.ROUTES, *GATE_ROUTES, *routes])
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, ADDRESS, port).start()
            yield cls(runner.addresses[0][1], state)
        finally:
            await runner.cleanup()
            state.log.close()

    @property
    def log(self) -> list[Hit]:
        """Every request since the start, in order of arrival."""
        return self.state.log.hits

    def hits(self, path: str) -> list[Hit]:
        """Those whose path (without query) is `path`, or with query when that has one."""
        return [hit for hit in self.log if path in (hit.path, hit.path.partition("?")[0])]

    def release(self, gate: str) -> None:
        self.state.gates.release(gate)

    async def reached(self, gate: str, *, times: int = 1, timeout: float = 60) -> None:
        """Until `times` responses in all have arrived at the gate. An extractor may probe before it downloads."""
        await self.state.gates.reached(gate, times, timeout)

    async def until(self, holds: Callable[[list[Hit]], bool], *, timeout: float = 60) -> None:
        """Until the log satisfies `holds`; asked again after every change, also of `sent`."""
        await self.state.log.until(holds, timeout)


@web.middleware
async def _record(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    if request.path.startswith("/_gate/"):
        return await handler(request)
    log = request.app[STATE].log
    hit = log.arrived(
        method=request.method,
        host=request.host,
        path=request.path_qs,
        range=request.headers.get("Range"),
        if_range=request.headers.get("If-Range"),
        cookie=request.headers.get("Cookie"),
    )
    request[HIT] = hit
    try:
        response = await _answer(request, handler)
        hit.status = response.status
        if isinstance(response, web.Response) and isinstance(response.body, bytes) and request.method != "HEAD":
            hit.sent = len(response.body)
        if hit.ended == "open":
            hit.ended = "whole"
    finally:
        if hit.ended == "open":
            hit.ended = "gone"
        log.wrote(hit)
    return response


async def _answer(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        return error_page(error.status)
    except msgspec.ValidationError as wrong:
        return web.Response(status=400, text=f"knob: {wrong}\n")


async def _release(request: web.Request) -> web.Response:
    request.app[STATE].gates.release(request.match_info["name"])
    return web.Response(status=204)


async def _reached(request: web.Request) -> web.Response:
    """Answers once `times` responses have arrived, or 408."""
    try:
        await request.app[STATE].gates.reached(
            request.match_info["name"], int(request.query["times"]), float(request.query["timeout"])
        )
    except TimeoutError:
        return web.Response(status=408)
    return web.Response(status=204)


GATE_ROUTES = [web.post("/_gate/{name}", _release), web.get("/_gate/{name}", _reached)]
