"""Serves what was fetched for a link: `/download/<link id>.<token>/<name>`, to whoever has the address.

The id of a link is 128 random bits and the token is signed and ends, so an address is all the right that it takes: an
`Authorization` header that a download manager keeps sending says nothing here. The token is judged when a request
begins; what is on its way then is sent to its end. Answers that are no file are short and plain, never pages.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Literal
from urllib.parse import quote
from uuid import UUID

import aiohttp
import structlog
from msgspec import Struct

from libs.bus import BusError
from libs.calls import Caller, ServiceFailed
from libs.message import Refused
from libs.recent import Recent
from libs.sealing import LinkSigner
from libs.serving.headers import OPAQUE, Served, described
from libs.serving.remote import RemoteFile
from libs.serving.sending import LocalFile, NotBegun, Receive, Scope, Send, answer, plain
from proto.storage import FileNotFound, LinkFile, ReadFile, StoredFile
from proto.unrestrict_proxy import HostLink, LinkState
from services.unrestrict_proxy.growing import GrowingFile
from services.unrestrict_proxy.links.admission import Admission, Busy, asking

log = structlog.get_logger()

_PATH = re.compile(r"/download/(?P<id>[A-Za-z0-9_-]{22})\.(?P<token>[A-Za-z0-9_.-]{1,80})/.*", re.DOTALL)
KEPT_SECONDS = 30.0
"""How long what the storage said of a file is believed. A file that is deleted is gone from the disk at once."""
KEPT_FILES = 1000
PRESIGNED_SECONDS = 6 * 3600
"""A client that was sent on keeps asking there until it has the file."""
AWAY_SECONDS = "2"


class Absent(Exception):
    """There is nothing under this address, or with 410 no longer."""

    def __init__(self, status: Literal[404, 410]) -> None:
        super().__init__("no such file" if status == 404 else "this link has expired")
        self.status = status


class Serving(Struct, frozen=True, kw_only=True):
    """How an operator wants files to be served."""

    connections: int
    """Of one link at once."""
    accel: str
    """Where nginx has the files inside; empty to send them from here."""
    remote: Literal["redirect", "stream"]
    """What becomes of a request for a file in object storage."""


class Links(Struct, frozen=True, kw_only=True):
    """`awaited` tells whoever fetches a job's file which byte of it somebody waits for."""

    find: Callable[[str], Awaitable[HostLink | None]]
    awaited: Callable[[UUID, int], Awaitable[None]]


class Files:
    """Where a file lies, as the storage says."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._known: Recent[UUID, StoredFile] = Recent(KEPT_SECONDS, KEPT_FILES)

    async def find(self, owner: UUID, file_id: UUID) -> StoredFile:
        """Raises Absent for one that is kept no more; BusError and ServiceFailed when the storage can not be asked."""
        known = self._known.get(file_id)
        if known is not None:
            return known
        try:
            file = await self._caller.query(ReadFile(owner=owner, file_id=file_id), result=StoredFile)
        except Refused as refused:
            self._known.forget(file_id)
            raise Absent(410) from refused
        self._known.keep(file_id, file)
        return file

    async def presigned(self, file: StoredFile) -> str:
        """Raises Absent when the storage it is in is known no more, or Refused."""
        query = LinkFile(owner=file.owner, file_id=file.file_id, seconds=PRESIGNED_SECONDS)
        try:
            return await self._caller.query(query, result=str)
        except Refused as refused:
            if isinstance(refused.refusal, FileNotFound):
                raise Absent(410) from refused
            raise


class Downloads:
    def __init__(
        self,
        links: Links,
        files: Files,
        root: Path,
        signer: LinkSigner,
        admission: Admission,
        http: aiohttp.ClientSession,
        serving: Serving,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`root` is the data folder: the storage's own is in it, and the workers'."""
        self._links = links
        self._files = files
        self._root = root
        self._signer = signer
        self._admission = admission
        self._http = http
        self._serving = serving
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] not in ("GET", "HEAD"):
            await plain(send, 405, "only GET and HEAD", {"allow": "GET, HEAD"})
            return
        try:
            with asking():
                link = await self._link(scope["path"])
                await self._admission.asked(link.link_id)
            if link.file_id is None:
                await self._counted(link, growing(link), self._growing(link), scope, receive, send)
            else:
                file = await self._files.find(link.owner, link.file_id)
                await self._answer(link, file, scope, receive, send)
        except Absent as absent:
            await plain(send, absent.status, str(absent))
        except Busy as busy:
            await plain(send, 429, str(busy), {"retry-after": str(busy.retry_after)})
        except (BusError, ServiceFailed, Refused, NotBegun) as error:
            await log.awarning("download.storage_away", reason=str(error))
            await plain(send, 503, "it can not be looked up; try again in a moment", {"retry-after": AWAY_SECONDS})

    async def _link(self, path: str) -> HostLink:
        match = _PATH.fullmatch(path)
        verdict = self._signer.judge(match["id"], match["token"], self._clock()) if match is not None else "forged"
        if match is None or verdict == "forged":
            raise Absent(404)
        link = await self._links.find(match["id"])
        if link is None:
            raise Absent(404)
        if verdict == "expired" or not link.ready:
            raise Absent(410)
        return link

    async def _answer(self, link: HostLink, file: StoredFile, scope: Scope, receive: Receive, send: Send) -> None:
        if file.target_id is not None:
            await self._from_afar(link, file, scope, receive, send)
            return
        if self._serving.accel:
            where = quote(f"{self._serving.accel.rstrip('/')}/{file.location}")
            await plain(send, HTTPStatus.OK, "", {**described(served(link, file)), "x-accel-redirect": where})
            return
        try:
            handle = await asyncio.to_thread(os.open, self._root / "files" / file.location, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError as error:
            raise Absent(410) from error
        except OSError as error:
            raise NotBegun(f"the file can not be opened: {error.strerror}") from error
        try:
            await self._counted(link, served(link, file), LocalFile(handle), scope, receive, send)
        finally:
            os.close(handle)

    async def _from_afar(self, link: HostLink, file: StoredFile, scope: Scope, receive: Receive, send: Send) -> None:
        url = await self._files.presigned(file)
        if self._serving.remote == "redirect":
            await plain(send, HTTPStatus.FOUND, "", {"location": url, "cache-control": "no-store"})
        else:
            await self._counted(link, served(link, file), RemoteFile(self._http, url), scope, receive, send)

    def _growing(self, link: HostLink) -> GrowingFile:
        async def state() -> LinkState | None:
            now = await self._links.find(link.link_id)
            return None if now is None else now.state

        path = self._root / "work" / str(link.job_id) / "host.part"
        return GrowingFile(path, state, partial(self._links.awaited, link.job_id))

    async def _counted(
        self,
        link: HostLink,
        file: Served,
        source: LocalFile | RemoteFile | GrowingFile,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        if scope["method"] == "HEAD":
            await answer(file, source, scope, receive, send)
            return
        async with self._admission.connection(link.link_id, link.owner, self._serving.connections):
            await answer(file, source, scope, receive, send)


def served(link: HostLink, file: StoredFile) -> Served:
    """A link leads to one version of one file, so its id is as strong a validator as the hash, which is not known
    while the file is fetched."""
    return Served(
        name=file.name,
        size=file.size,
        digest=link.link_id,
        media_type=file.media_type,
        modified_at=link.requested_at,
    )


def growing(link: HostLink) -> Served:
    assert link.size is not None
    return Served(name=link.name, size=link.size, digest=link.link_id, media_type=OPAQUE, modified_at=link.requested_at)
