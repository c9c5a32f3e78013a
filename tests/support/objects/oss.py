"""OSS of Alibaba Cloud."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

from aiohttp import web

from services.storage.targets.credentials import Oss
from tests.support.objects.served import Held, Served, attachment, error_answer, listening

CLOCK_SKEW = 900
_OSS_SIGNED = {"uploads", "uploadId", "partNumber", "response-content-disposition"}


class OssServer(Served):
    """Alibaba's first signature, in the header and in links."""

    credentials: Oss

    async def handle(self, request: web.Request) -> web.Response:
        path = (
            f"/{request.host.partition('.')[0]}{request.path}" if request.host.endswith(".oss.test") else request.path
        )
        _, bucket, key = path.split("/", 2)
        if not self._signed(request, bucket, key):
            return error_answer(403, "SignatureDoesNotMatch")
        if bucket != self.name:
            return error_answer(404, "NoSuchBucket")
        answer = await self.parts(request, key, "x-oss-meta-sha256")
        if answer is not None:
            return answer
        if request.method == "PUT":
            data = await request.read()
            self.held[key] = Held(self.keeps(data), request.headers.get("x-oss-meta-sha256"))
            return web.Response()
        if request.method == "DELETE":
            self.held.pop(key, None)
            return web.Response(status=204)
        if (one := self.held.get(key)) is None:
            return error_answer(404, "NoSuchKey")
        plain = self.tells_md5 == "always" or (self.tells_md5 == "of one piece" and not one.parts)
        etag = hashlib.md5(one.data if plain else b"").hexdigest()  # noqa: S324 - their format
        etag += "" if plain or not one.parts else f"-{one.parts}"
        headers = {"ETag": f'"{etag.upper()}"', "Last-Modified": formatdate(one.at.timestamp(), usegmt=True)}
        if one.sha256:
            headers["x-oss-meta-sha256"] = one.sha256
        return attachment(request, one, headers)

    def _signed(self, request: web.Request, bucket: str, key: str) -> bool:
        assert isinstance(self.credentials, Oss)
        header = request.headers.get("Authorization")
        if header is None:
            who, given = request.query.get("OSSAccessKeyId"), request.query.get("Signature", "")
            when = request.query.get("Expires", "0")
            in_time = int(when) >= datetime.now(UTC).timestamp()
        else:
            who, _, given = header.removeprefix("OSS ").partition(":")
            when, in_time = request.headers["Date"], True
        fields = {name.lower(): value for name, value in request.headers.items() if name.lower().startswith("x-oss-")}
        named = sorted((name, value) for name, value in request.query.items() if name in _OSS_SIGNED)
        resource = f"/{bucket}/{key}" + ("?" if named else "")
        resource += "&".join(f"{name}={value}" if value else name for name, value in named)
        text = "\n".join(
            (
                request.method,
                request.headers.get("Content-MD5", ""),
                request.headers.get("Content-Type", ""),
                when,
                "".join(f"{name}:{value}\n" for name, value in sorted(fields.items())) + resource,
            )
        )
        secret = self.credentials.access_key_secret.encode()
        wanted = base64.b64encode(hmac.digest(secret, text.encode(), "sha1")).decode()
        good = in_time and who == self.credentials.access_key_id and hmac.compare_digest(wanted, given)
        if not good:
            self.refused.append(text)
        return good


@asynccontextmanager
async def oss(tls: ssl.SSLContext | None = None, **fields: Any) -> AsyncIterator[OssServer]:
    name = f"b-{secrets.token_hex(8)}"
    server = OssServer(name)
    async with listening(server.handle, tls=tls) as url:
        known = {
            "endpoint": url,
            "bucket": name,
            "access_key_id": "LTAIexample",
            "access_key_secret": "a-secret-of-oss",
        }
        server.credentials = Oss(**{**known, **fields})
        yield server
