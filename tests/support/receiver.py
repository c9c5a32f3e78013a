"""A small HTTP server that keeps what is posted to it, and answers what it was told to."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import web
from msgspec import Struct

PATIENCE = 60.0


class Post(Struct, frozen=True):
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """`statuses` are answered one after the other, then 200 for ever."""

    def __init__(self, statuses: Sequence[int]) -> None:
        self.url = ""
        self.posts: list[Post] = []
        self._statuses = list(statuses)
        self._came = asyncio.Condition()

    async def until(self, count: int) -> list[Post]:
        """Waits for `count` posts in all."""
        async with asyncio.timeout(PATIENCE), self._came:
            await self._came.wait_for(lambda: len(self.posts) >= count)
        return self.posts

    async def answer(self, request: web.Request) -> web.Response:
        post = Post(request.path, dict(request.headers), await request.read())
        async with self._came:
            self.posts.append(post)
            self._came.notify_all()
        return web.Response(status=self._statuses.pop(0) if self._statuses else 200)


@asynccontextmanager
async def receiving(*statuses: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    one = Receiver(statuses)
    app = web.Application(client_max_size=16 << 20)
    app.router.add_post("/{path:.*}", one.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        one.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield one
    finally:
        await runner.cleanup()
