"""Google Cloud Storage."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

import jwt
from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from services.storage.targets.credentials import Gcs
from tests.support.certificates import rsa_key
from tests.support.objects.served import Held, Served, attachment, error_answer, listening
from tests.support.sure import being, sure


def service_account(token_uri: str, key: RSAPrivateKey | None = None) -> dict[str, str]:
    pem = (key or rsa_key()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return {
        "type": "service_account",
        "client_email": "longshore@example.test",
        "private_key": pem,
        "token_uri": token_uri,
    }


class GcsServer(Served):
    """The JSON API for objects, the XML API for parts and signed links, and the exchange of assertions for tokens."""

    url = ""

    credentials: Gcs

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._token = secrets.token_hex(16)

    async def handle(self, request: web.Request) -> web.Response:
        if request.path == "/token":
            return await self._grant(request)
        if not (self._bearer(request) or self._link(request)):
            return web.json_response({"error": {"code": 401, "message": "Invalid Credentials"}}, status=401)
        if found := re.fullmatch(r"/(?:upload/)?storage/v1/b/([^/]+)/o(?:/(.*))?", request.rel_url.raw_path):
            if found[1] != self.name:
                return web.json_response({"error": {"code": 404, "message": "no such bucket"}}, status=404)
            return await self._json(request, unquote(found[2] or ""))
        _, bucket, key = request.path.split("/", 2)
        if bucket != self.name:
            return error_answer(404, "NoSuchBucket")
        answer = await self.parts(request, key, "x-goog-meta-sha256")
        if answer is not None:
            return answer
        one = self.held.get(key)
        return error_answer(404, "NoSuchKey") if one is None else attachment(request, one, {})

    async def _json(self, request: web.Request, key: str) -> web.Response:
        if request.method == "POST":
            return await self._insert(request)
        if (one := self.held.get(key)) is None:
            return web.json_response({"error": {"code": 404, "message": "no such object"}}, status=404)
        if request.method == "DELETE":
            del self.held[key]
            return web.Response(status=204)
        if request.query.get("alt") == "media":
            return attachment(request, one, {})
        return web.json_response(self._shown(key, one))

    async def _insert(self, request: web.Request) -> web.Response:
        key, body, sha256 = request.query["name"], await request.read(), None
        if request.query["uploadType"] == "multipart":
            boundary = sure(re.search(r"boundary=\"?([^\";]+)", request.headers["Content-Type"]))[1].encode()
            _, described, data, _ = body.split(b"--" + boundary)
            sha256 = json.loads(described.partition(b"\r\n\r\n")[2])["metadata"]["sha256"]
            body = data.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
        self.held[key] = Held(body, sha256)
        return web.json_response(self._shown(key, self.held[key]))

    def _shown(self, key: str, one: Held) -> dict[str, Any]:
        md5 = hashlib.md5(one.data).digest()  # noqa: S324 - their format
        return {
            "name": key, "bucket": self.name, "size": str(len(one.data)), "etag": "CJ/x", "generation": "1",
            "contentType": "application/octet-stream", "updated": one.at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            **({} if one.parts else {"md5Hash": base64.b64encode(md5).decode()}),
            **({"metadata": {"sha256": one.sha256}} if one.sha256 else {}),
        }  # fmt: skip

    async def _grant(self, request: web.Request) -> web.Response:
        form = await request.post()
        try:
            claims = jwt.decode(
                being(str, form["assertion"]), rsa_key().public_key(), ["RS256"], audience=f"{self.url}/token"
            )
            assert claims["iss"] == "longshore@example.test"
        except jwt.InvalidTokenError:
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response({"access_token": self._token, "expires_in": 3600, "token_type": "Bearer"})

    def _bearer(self, request: web.Request) -> bool:
        return request.headers.get("Authorization") == f"Bearer {self._token}"

    def _link(self, request: web.Request) -> bool:
        path, _, query = request.raw_path.partition("?")
        fields = dict(parse_qsl(query, keep_blank_values=True))
        given = fields.pop("X-Goog-Signature", "")
        if not given:
            return False
        ordered = "&".join(
            f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in sorted(fields.items())
        )
        asked = "\n".join((request.method, path, ordered, f"host:{request.host}", "", "host", "UNSIGNED-PAYLOAD"))
        scope = fields["X-Goog-Credential"].partition("/")[2]
        text = "\n".join(("GOOG4-RSA-SHA256", fields["X-Goog-Date"], scope, hashlib.sha256(asked.encode()).hexdigest()))
        age = datetime.now(UTC) - datetime.strptime(fields["X-Goog-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        try:
            rsa_key().public_key().verify(bytes.fromhex(given), text.encode(), PKCS1v15(), SHA256())
        except InvalidSignature:
            self.refused.append(text)
            return False
        return age.total_seconds() <= int(fields["X-Goog-Expires"])


@asynccontextmanager
async def google(**fields: Any) -> AsyncIterator[GcsServer]:
    name = f"b-{secrets.token_hex(8)}"
    server = GcsServer(name)
    async with listening(server.handle) as url:
        server.url = url
        account = json.dumps(service_account(f"{url}/token"))
        known = {"endpoint": url, "bucket": name, "project_id": "example", "service_account_json": account}
        server.credentials = Gcs(**{**known, **fields})
        yield server
