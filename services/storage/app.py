"""Serves stored files under signed links, always as attachments.

A bare ASGI callable: there is one route, and the bytes of it are most of what this process ever sends.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from uuid import UUID

import asyncpg

from libs.sealing import LinkSigner
from libs.serving.headers import Served
from libs.serving.sending import LocalFile, NotBegun, Receive, Scope, Send, answer, plain
from proto.storage import StoredFile
from services.storage import views
from services.storage.targets.local import LocalTarget

_PATH = re.compile(r"/files/(?P<id>[0-9a-f-]{36})/(?P<token>[^/]+)/[^/]+")


class FileServer:
    def __init__(self, pool: asyncpg.Pool, target: LocalTarget, signer: LinkSigner) -> None:
        self._pool = pool
        self._target = target
        self._signer = signer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] not in ("GET", "HEAD"):
            await plain(send, 405, "only GET and HEAD", {"allow": "GET, HEAD"})
            return
        file = await self._file(scope["path"])
        if isinstance(file, int):
            await plain(send, file, "this link has expired" if file == 410 else "no such file")
            return
        try:
            handle = await asyncio.to_thread(os.open, self._target.path(file.location), os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            await plain(send, 404, "no such file")
            return
        try:
            await answer(served(file), LocalFile(handle), scope, receive, send)
        except NotBegun:
            await plain(send, 404, "no such file")
        finally:
            os.close(handle)

    async def _file(self, path: str) -> StoredFile | int:
        match = _PATH.fullmatch(path)
        if match is None:
            return 404
        verdict = self._signer.judge(match["id"], match["token"], time.time())
        if verdict != "good":
            return 410 if verdict == "expired" else 404
        async with self._pool.acquire() as conn:
            return await views.by_id(conn, UUID(match["id"])) or 404


def served(file: StoredFile) -> Served:
    return Served(
        name=file.name, size=file.size, digest=file.sha256, media_type=file.media_type, modified_at=file.stored_at
    )
