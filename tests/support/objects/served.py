"""What the servers in this process have in common."""

from __future__ import annotations

import hashlib
import html
import re
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Literal

from aiohttp import web

from tests.support.objects.storage import Storage
from tests.support.sure import sure


class Upload:
    def __init__(self, key: str, sha256: str | None) -> None:
        self.key = key
        self.sha256 = sha256
        self.parts: dict[int, bytes] = {}


class Held:
    def __init__(self, data: bytes, sha256: str | None, *, parts: int = 0) -> None:
        self.data = data
        self.sha256 = sha256
        self.parts = parts
        self.at = datetime.now(UTC)


class Served(Storage):
    """What both servers hold: one bucket, by key."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.held: dict[str, Held] = {}
        self.uploads: dict[str, Upload] = {}
        self.keeps: Callable[[bytes], bytes] = bytes
        """What it makes of a file that it is given."""
        self.tells_md5: Literal["always", "of one piece", "never"] = "of one piece"
        """Else that of something else, as services do that encrypt."""
        self.refused: list[str] = []
        """Strings that the server would have signed where the client signed another."""

    async def objects(self) -> dict[str, int]:
        return {key: len(one.data) for key, one in self.held.items()}

    async def unfinished(self) -> list[str]:
        return [one.key for one in self.uploads.values()]

    async def parts(self, request: web.Request, key: str, meta: str) -> web.Response | None:
        """The requests about an upload in parts; None for any other."""
        query = request.query
        if "uploads" in query and request.method == "GET":
            listed = "".join(
                f"<Upload><Key>{html.escape(one.key)}</Key><UploadId>{number}</UploadId></Upload>"
                for number, one in self.uploads.items()
                if one.key.startswith(query.get("prefix", ""))
            )
            return xml_answer("ListMultipartUploadsResult", listed)
        if "uploads" in query:
            number = secrets.token_hex(8)
            self.uploads[number] = Upload(key, request.headers.get(meta))
            return xml_answer("InitiateMultipartUploadResult", f"<UploadId>{number}</UploadId>")
        if "uploadId" not in query:
            return None
        upload = self.uploads.get(query["uploadId"])
        if upload is None or upload.key != key:
            return error_answer(404, "NoSuchUpload")
        if request.method == "PUT":
            data = await request.read()
            upload.parts[int(query["partNumber"])] = data
            return web.Response(headers={"ETag": f'"{hashlib.md5(data).hexdigest()}"'})  # noqa: S324 - their format
        del self.uploads[query["uploadId"]]
        if request.method == "DELETE":
            return web.Response(status=204)
        wanted = [int(one) for one in re.findall(r"<PartNumber>(\d+)<", (await request.read()).decode())]
        data = self.keeps(b"".join(upload.parts[number] for number in wanted))
        self.held[key] = Held(data, upload.sha256, parts=len(wanted))
        return xml_answer("CompleteMultipartUploadResult", f"<Key>{html.escape(key)}</Key><ETag>&quot;x&quot;</ETag>")


def xml_answer(name: str, inside: str, status: int = 200) -> web.Response:
    text = f'<?xml version="1.0" encoding="UTF-8"?><{name}>{inside}</{name}>'
    return web.Response(text=text, content_type="application/xml", status=status)


def error_answer(status: int, code: str) -> web.Response:
    return xml_answer("Error", f"<Code>{code}</Code><Message>no</Message><RequestId>1</RequestId>", status)


def attachment(request: web.Request, one: Held, headers: dict[str, str]) -> web.Response:
    if (disposition := request.query.get("response-content-disposition")) is not None:
        headers["Content-Disposition"] = disposition
    first, last = sure(re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", "bytes=0-"))).groups()
    data = one.data[int(first) : int(last) + 1 if last else None]
    if request.method == "HEAD":
        headers["Content-Length"] = str(len(data))
    return web.Response(body=data, headers=headers, status=206 if "Range" in request.headers else 200)


@asynccontextmanager
async def listening(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]],
    address: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[str]:
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, address, 0, ssl_context=tls).start()
        yield f"{'https' if tls else 'http'}://{address}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
