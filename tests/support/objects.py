"""Object storage for tests: servers that speak the four protocols and check who asks, and one that stands before any of
them and misbehaves on request."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import hashlib
import hmac
import html
import io
import json
import os
import re
import secrets
import shutil
import ssl
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

import aiohttp
import boto3
import jwt
from aiohttp import web
from botocore.config import Config
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from yarl import URL

from services.storage.targets.credentials import S3, Blob, Credentials, Gcs, Oss

PATIENCE = 60.0
AZURITE = "3.37.0"
OPEN = "127.0.0.0/8"
"""For LONGSHORE_EGRESS_ALLOW."""
CLOCK_SKEW = 900


class Storage(ABC):
    """One bucket or container of its own on a running server, as a test sees it from the owner's side."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials

    @abstractmethod
    async def objects(self) -> dict[str, int]:
        """Names and sizes of what is there."""

    @abstractmethod
    async def unfinished(self) -> list[str]:
        """Keys of uploads that were begun and not finished."""


# -- S3: moto ------------------------------------------------------------------------------------------------------

_GUARDED = "import os,sys,threading;threading.Thread(target=lambda:(sys.stdin.read(),os._exit(0)),daemon=True).start();"


@contextmanager
def program(argv: list[str], listening: str, **environment: str) -> Iterator[str]:
    """A server of its own process, which ends when its input does. Yields what `listening` finds in its output."""
    process = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    heard = []
    drain = threading.Thread(target=process.stdout.read, daemon=True)
    try:
        for line in process.stdout:
            heard.append(line)
            if found := re.search(listening, line):
                break
        else:
            raise AssertionError(f"{argv[0]} did not start: {''.join(heard)}")
        drain.start()
        yield found[1]
    finally:
        process.kill()
        process.wait()
        if drain.ident is not None:
            drain.join(PATIENCE)
        process.stdin.close()
        process.stdout.close()


class Moto:
    def __init__(self, url: str) -> None:
        self.url = url

    def client(self, service: str) -> Any:
        return boto3.client(
            service, endpoint_url=self.url, region_name="us-east-1", aws_access_key_id="admin",
            aws_secret_access_key="admin", config=Config(retries={"max_attempts": 0}),
        )  # fmt: skip

    def bucket(self, **fields: Any) -> S3Storage:
        name = f"b-{secrets.token_hex(8)}"
        self.client("s3").create_bucket(Bucket=name)
        known = {
            "endpoint": self.url, "bucket": name, "region": "us-east-1",
            "access_key": "AKIAEXAMPLE", "secret_key": "a-secret-of-s3",
        }  # fmt: skip
        return S3Storage(S3(**{**known, **fields}), self)


@contextmanager
def moto(*, strict: bool = False) -> Iterator[Moto]:
    """`strict` checks every signature from the first bucket on; the key of `admin` is then the only one. It can not
    check signed links, though."""
    run = f"{_GUARDED}from moto.server import main; main(['-H','127.0.0.1','-p','0'])"
    with program([sys.executable, "-c", run], r"Running on (http://127\.0\.0\.1:\d+)") as url:
        yield StrictMoto(url) if strict else Moto(url)


class StrictMoto(Moto):
    def bucket(self, **fields: Any) -> S3Storage:
        storage = super().bucket()
        iam = self.client("iam")
        iam.create_user(UserName="u")
        everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        iam.put_user_policy(UserName="u", PolicyName="p", PolicyDocument=json.dumps(everything))
        key = iam.create_access_key(UserName="u")["AccessKey"]
        known = {
            "endpoint": self.url, "bucket": storage.credentials.bucket, "region": "us-east-1",
            "access_key": key["AccessKeyId"], "secret_key": key["SecretAccessKey"],
        }  # fmt: skip
        return S3Storage(S3(**{**known, **fields}), self)

    async def check_signatures(self) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/moto-api/reset-auth", data="0") as answer,
        ):
            assert answer.status == 200


class S3Storage(Storage):
    def __init__(self, credentials: S3, server: Moto) -> None:
        super().__init__(credentials)
        self._client = server.client("s3")

    async def objects(self) -> dict[str, int]:
        listed = await asyncio.to_thread(self._client.list_objects_v2, Bucket=self.credentials.bucket)
        return {one["Key"]: one["Size"] for one in listed.get("Contents", [])}

    async def unfinished(self) -> list[str]:
        listed = await asyncio.to_thread(self._client.list_multipart_uploads, Bucket=self.credentials.bucket)
        return [one["Key"] for one in listed.get("Uploads", [])]


# -- Azure: Azurite ------------------------------------------------------------------------------------------------


class NoAzurite(Exception):
    """It comes from npm, which is not here or can not get it."""


class Azurite:
    account = "examplestore"

    def __init__(self, url: str, key: str) -> None:
        self.url = f"{url}/{self.account}"
        self.key = key

    async def container(self, **fields: Any) -> BlobStorage:
        name = f"c-{secrets.token_hex(8)}"
        await self.call("PUT", name, restype="container")
        known = {"endpoint": self.url, "account_name": self.account, "account_key": self.key, "container": name}
        return BlobStorage(Blob(**{**known, **fields}), self)

    async def call(self, method: str, path: str, **query: str) -> str:
        """As the account's owner: signed with the shared key."""
        stamp = formatdate(usegmt=True)
        resource = f"/{self.account}/{self.account}/{path}"
        named = "".join(f"\n{name}:{value}" for name, value in sorted(query.items()))
        text = "\n".join(
            [method, *[""] * 11, f"x-ms-date:{stamp}", "x-ms-version:2020-12-06", resource + named]
        )  # fmt: skip
        mac = base64.b64encode(hmac.digest(base64.b64decode(self.key), text.encode(), "sha256")).decode()
        headers = {
            "x-ms-date": stamp,
            "x-ms-version": "2020-12-06",
            "Authorization": f"SharedKey {self.account}:{mac}",
            "Content-Type": "",
        }
        async with (
            aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
            session.request(
                method, f"{self.url}/{path}", params=query,
                headers={name: value for name, value in headers.items() if value},
            ) as answer,
        ):  # fmt: skip
            body = await answer.text()
            assert answer.status < 300, body
            return body

    def sas(self) -> str:
        """Of the account, for everything, for a day."""
        fields = {
            "sp": "rwdlacup", "ss": "b", "srt": "sco", "st": "", "se": "2100-01-01T00:00:00Z", "sip": "",
            "spr": "https,http", "sv": "2020-12-06", "encryption": "",
        }  # fmt: skip
        text = "\n".join((self.account, *fields.values(), ""))
        mac = base64.b64encode(hmac.digest(base64.b64decode(self.key), text.encode(), "sha256")).decode()
        del fields["encryption"]
        return "&".join(f"{name}={quote(value, safe='')}" for name, value in {**fields, "sig": mac}.items() if value)


class BlobStorage(Storage):
    def __init__(self, credentials: Blob, server: Azurite) -> None:
        super().__init__(credentials)
        self.server = server

    async def _listed(self, **query: str) -> dict[str, int]:
        text = await self.server.call("GET", self.credentials.container, restype="container", comp="list", **query)
        blobs = re.findall(r"<Blob>.*?<Name>([^<]*)</Name>.*?<Content-Length>(\d+)<", text, re.DOTALL)
        return {html.unescape(name): int(size) for name, size in blobs}

    async def objects(self) -> dict[str, int]:
        return await self._listed()

    async def unfinished(self) -> list[str]:
        return sorted(set(await self._listed(include="uncommittedblobs")) - set(await self.objects()))


def azurite_program() -> Path:
    """Installed once for this account. Raises NoAzurite."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise NoAzurite("npm is not here")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "longshore-tests" / f"azurite-{AZURITE}"
    cache.mkdir(parents=True, exist_ok=True)
    main = cache / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cache / "whole").exists():
            argv = [npm, "install", "--ignore-scripts", "--no-fund", "--no-audit", "--prefix", cache]
            argv += ["--fetch-retries", "0"]
            done = subprocess.run(
                [*argv, f"azurite@{AZURITE}"], capture_output=True, text=True, timeout=100, check=False
            )
            if done.returncode != 0:
                raise NoAzurite(f"npm can not install it: {done.stderr[-300:]}")
            (cache / "whole").touch()
    return main


@contextmanager
def azurite(folder: Path) -> Iterator[Azurite]:
    main = azurite_program()
    key = base64.b64encode(secrets.token_bytes(64)).decode()
    guard = folder / "guard.js"
    guard.write_text("process.stdin.resume().on('end', () => process.exit())")
    argv = [
        "node", "--require", str(guard), str(main), "--blobHost", "127.0.0.1", "--blobPort", "0",
        "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry",
    ]  # fmt: skip
    accounts = f"{Azurite.account}:{key}"
    with program(argv, r"listens on (http://127\.0\.0\.1:\d+)", AZURITE_ACCOUNTS=accounts) as url:
        yield Azurite(url, key)


# -- OSS and Google: small servers of our own, whose upload of parts is the same -----------------------------------


class _Upload:
    def __init__(self, key: str, sha256: str | None) -> None:
        self.key = key
        self.sha256 = sha256
        self.parts: dict[int, bytes] = {}


class _Held:
    def __init__(self, data: bytes, sha256: str | None, *, parts: int = 0) -> None:
        self.data = data
        self.sha256 = sha256
        self.parts = parts
        self.at = datetime.now(UTC)


class Served(Storage):
    """What both servers hold: one bucket, by key."""

    def __init__(self, credentials: Credentials, name: str) -> None:
        super().__init__(credentials)
        self.name = name
        self.held: dict[str, _Held] = {}
        self.uploads: dict[str, _Upload] = {}
        self.keeps: Callable[[bytes], bytes] = bytes
        """What it makes of a file that it is given in one piece."""
        self.tells_md5 = True
        """Or that of something else, as services do that encrypt."""
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
            return _xml("ListMultipartUploadsResult", listed)
        if "uploads" in query:
            number = secrets.token_hex(8)
            self.uploads[number] = _Upload(key, request.headers.get(meta))
            return _xml("InitiateMultipartUploadResult", f"<UploadId>{number}</UploadId>")
        if "uploadId" not in query:
            return None
        upload = self.uploads.get(query["uploadId"])
        if upload is None or upload.key != key:
            return _error(404, "NoSuchUpload")
        if request.method == "PUT":
            data = await request.read()
            upload.parts[int(query["partNumber"])] = data
            return web.Response(headers={"ETag": f'"{hashlib.md5(data).hexdigest()}"'})  # noqa: S324 - their format
        del self.uploads[query["uploadId"]]
        if request.method == "DELETE":
            return web.Response(status=204)
        wanted = [int(one) for one in re.findall(r"<PartNumber>(\d+)<", (await request.read()).decode())]
        data = b"".join(upload.parts[number] for number in wanted)
        self.held[key] = _Held(data, upload.sha256, parts=len(wanted))
        return _xml("CompleteMultipartUploadResult", f"<Key>{html.escape(key)}</Key><ETag>&quot;x&quot;</ETag>")


def _xml(name: str, inside: str, status: int = 200) -> web.Response:
    text = f'<?xml version="1.0" encoding="UTF-8"?><{name}>{inside}</{name}>'
    return web.Response(text=text, content_type="application/xml", status=status)


def _error(status: int, code: str) -> web.Response:
    return _xml("Error", f"<Code>{code}</Code><Message>no</Message><RequestId>1</RequestId>", status)


def _attachment(request: web.Request, one: _Held, headers: dict[str, str]) -> web.Response:
    if (disposition := request.query.get("response-content-disposition")) is not None:
        headers["Content-Disposition"] = disposition
    first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", "bytes=0-")).groups()
    data = one.data[int(first) : int(last) + 1 if last else None]
    if request.method == "HEAD":
        headers["Content-Length"] = str(len(data))
    return web.Response(body=data, headers=headers, status=206 if "Range" in request.headers else 200)


_OSS_SIGNED = {"uploads", "uploadId", "partNumber", "response-content-disposition"}


class OssServer(Served):
    """Alibaba's first signature, in the header and in links."""

    async def handle(self, request: web.Request) -> web.Response:
        path = (
            f"/{request.host.partition('.')[0]}{request.path}" if request.host.endswith(".oss.test") else request.path
        )
        _, bucket, key = path.split("/", 2)
        if not self._signed(request, bucket, key):
            return _error(403, "SignatureDoesNotMatch")
        if bucket != self.name:
            return _error(404, "NoSuchBucket")
        answer = await self.parts(request, key, "x-oss-meta-sha256")
        if answer is not None:
            return answer
        if request.method == "PUT":
            data = await request.read()
            self.held[key] = _Held(self.keeps(data), request.headers.get("x-oss-meta-sha256"))
            return web.Response()
        if request.method == "DELETE":
            self.held.pop(key, None)
            return web.Response(status=204)
        if (one := self.held.get(key)) is None:
            return _error(404, "NoSuchKey")
        known = b"" if one.parts or not self.tells_md5 else one.data
        etag = hashlib.md5(known).hexdigest() + (f"-{one.parts}" if one.parts else "")  # noqa: S324 - their format
        headers = {"ETag": f'"{etag.upper()}"', "Last-Modified": formatdate(one.at.timestamp(), usegmt=True)}
        if one.sha256:
            headers["x-oss-meta-sha256"] = one.sha256
        return _attachment(request, one, headers)

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


def certificate(folder: Path, *names: str) -> tuple[ssl.SSLContext, Path]:
    """For a server of these names, and the file to trust it by."""
    key, now = rsa_key(), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(key, SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(made.public_bytes(Encoding.PEM))
    private = folder / "key.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, private)
    return context, path


@lru_cache
def rsa_key() -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=2048)


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

    def __init__(self, credentials: Gcs, name: str) -> None:
        super().__init__(credentials, name)
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
            return _error(404, "NoSuchBucket")
        answer = await self.parts(request, key, "x-goog-meta-sha256")
        if answer is not None:
            return answer
        one = self.held.get(key)
        return _error(404, "NoSuchKey") if one is None else _attachment(request, one, {})

    async def _json(self, request: web.Request, key: str) -> web.Response:
        if request.method == "POST":
            return await self._insert(request)
        if (one := self.held.get(key)) is None:
            return web.json_response({"error": {"code": 404, "message": "no such object"}}, status=404)
        if request.method == "DELETE":
            del self.held[key]
            return web.Response(status=204)
        if request.query.get("alt") == "media":
            return _attachment(request, one, {})
        return web.json_response(self._shown(key, one))

    async def _insert(self, request: web.Request) -> web.Response:
        key, body, sha256 = request.query["name"], await request.read(), None
        if request.query["uploadType"] == "multipart":
            boundary = re.search(r"boundary=\"?([^\";]+)", request.headers["Content-Type"])[1].encode()
            _, described, data, _ = body.split(b"--" + boundary)
            sha256 = json.loads(described.partition(b"\r\n\r\n")[2])["metadata"]["sha256"]
            body = data.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
        self.held[key] = _Held(body, sha256)
        return web.json_response(self._shown(key, self.held[key]))

    def _shown(self, key: str, one: _Held) -> dict[str, Any]:
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
            claims = jwt.decode(form["assertion"], rsa_key().public_key(), ["RS256"], audience=f"{self.url}/token")
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


@asynccontextmanager
async def oss(tls: ssl.SSLContext | None = None, **fields: Any) -> AsyncIterator[OssServer]:
    name = f"b-{secrets.token_hex(8)}"
    server = OssServer(None, name)
    async with listening(server.handle, tls=tls) as url:
        known = {
            "endpoint": url,
            "bucket": name,
            "access_key_id": "LTAIexample",
            "access_key_secret": "a-secret-of-oss",
        }
        server.credentials = Oss(**{**known, **fields})
        yield server


@asynccontextmanager
async def google(**fields: Any) -> AsyncIterator[GcsServer]:
    name = f"b-{secrets.token_hex(8)}"
    server = GcsServer(None, name)
    async with listening(server.handle) as url:
        server.url = url
        account = json.dumps(service_account(f"{url}/token"))
        known = {"endpoint": url, "bucket": name, "project_id": "example", "service_account_json": account}
        server.credentials = Gcs(**{**known, **fields})
        yield server


# -- what stands in between ----------------------------------------------------------------------------------------


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
