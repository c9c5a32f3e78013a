"""What stands before any of them and misbehaves on request."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from yarl import URL

from tests.support.objects.served import listening


class Between:
    """Passes everything on to a server, except what it was told to answer itself or to hold back."""

    def __init__(self, server: str) -> None:
        self.url = ""
        self.held = asyncio.Event()
        """Set when a request came that is held back."""
        self.go_on = asyncio.Event()
        self._server = server
        self._fails: Callable[[web.Request], bool] = _never
        self._holds: Callable[[web.Request], bool] = _never

    def fail(self, which: Callable[[web.Request], bool]) -> None:
        """These are answered with 503."""
        self._fails = which

    def hold(self, which: Callable[[web.Request], bool]) -> None:
        """These wait for `go_on`."""
        self._holds = which

    def heal(self) -> None:
        self._fails = self._holds = _never

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if self._holds(request):
            self.held.set()
            await self.go_on.wait()
        if self._fails(request):
            return web.Response(status=503, text="not now")
        async with (
            aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=["Content-Type", "User-Agent"]) as session,
            session.request(
                request.method, URL(self._server + request.raw_path, encoded=True),
                data=io.BytesIO(body) if body else None,
                headers=request.headers, allow_redirects=False,
            ) as answer,
        ):  # fmt: skip
            data = await answer.read()
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _FRAMING}
            if request.method == "HEAD" and "Content-Length" in answer.headers:
                kept["Content-Length"] = answer.headers["Content-Length"]
            return web.Response(status=answer.status, headers=kept, body=data)


_FRAMING = {"content-length", "transfer-encoding", "connection", "date", "server"}


def _never(_: web.Request) -> bool:
    return False


def a_part(number: int) -> Callable[[web.Request], bool]:
    """Requests that carry a part, from this one on; they are counted as they come."""
    count = iter(range(1, 1_000_000))

    def found(request: web.Request) -> bool:
        part = request.method == "PUT" and ("partNumber" in request.query or request.query.get("comp") == "block")
        return part and next(count) >= number

    return found


@asynccontextmanager
async def between(server: str) -> AsyncIterator[Between]:
    one = Between(server)
    async with listening(one.handle) as url:
        one.url = url
        yield one
