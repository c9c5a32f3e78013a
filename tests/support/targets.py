"""What tests of object storage share: files, and credentials that are good, wrong, or full of secrets."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from msgspec.structs import replace
from yarl import URL

from services.storage.targets.credentials import S3, Blob, Credentials, Gcs, Oss
from services.storage.targets.objects import ObjectTarget, Patience
from tests.support.objects.gcs import service_account
from tests.support.sure import sure

MIB = 1 << 20
IN_PARTS = 20 * MIB
STRANGERS_KEY = generate_private_key(public_exponent=65537, key_size=2048)
HASTY = Patience(call=0.3, part=0.3, start=0.3, clean=0.3, stop=0.3)
"""Where the service answers nothing at all."""
SOON = Patience(stop=0.3)
"""Where it does not answer what is in the air."""


def origin(credentials: Credentials) -> str:
    parts = urlsplit(sure(credentials.endpoint))
    return f"{parts.scheme}://{parts.netloc}"


def elsewhere(credentials: Credentials, server: str) -> Credentials:
    return replace(credentials, endpoint=server + urlsplit(sure(credentials.endpoint)).path)


def mistrusted(credentials: Credentials) -> Credentials:
    """With a secret that is not theirs."""
    match credentials:
        case S3():
            return replace(credentials, secret_key="another-secret")
        case Blob():
            return replace(credentials, account_key=base64.b64encode(b"another" * 9).decode())
        case Oss():
            return replace(credentials, access_key_secret="another-secret")
        case Gcs():
            account = service_account(credentials.account().token_uri, STRANGERS_KEY)
            return replace(credentials, service_account_json=json.dumps(account))


def an_s3(**fields: str) -> S3:
    known = {
        "endpoint": "https://s3.example.org", "bucket": "videos", "region": "eu-central-1",
        "access_key": "AKIAEXAMPLE", "secret_key": "a-secret",
    }  # fmt: skip
    return S3(**{**known, **fields})


class File:
    def __init__(self, folder: Path, size: int) -> None:
        self.path = folder / uuid4().hex
        self.bytes = os.urandom(size)
        self.path.write_bytes(self.bytes)
        self.size = size
        self.sha256 = hashlib.sha256(self.bytes).hexdigest()

    async def put(self, target: ObjectTarget, key: str):
        return await target.put(self.path, key, self.size, self.sha256)


async def fetched(link: str) -> tuple[int, bytes, dict[str, str]]:
    async with aiohttp.ClientSession() as session, session.get(URL(link, encoded=True)) as answer:
        return answer.status, await answer.read(), dict(answer.headers)


SECRETS = ("hush-secret", "aHVzaC1zZWNyZXQ", "BEGIN PRIVATE KEY")


def with_secrets() -> list[Credentials]:
    key = base64.b64encode(b"hush-secret").decode()
    gone = "http://127.0.0.1:9"
    return [
        an_s3(endpoint=gone, secret_key="hush-secret"),
        Blob(account_name="example", container="videos", account_key=key, endpoint=f"{gone}/example"),
        Blob(account_name="example", container="videos", sas_token="sv=1&sig=hush-secret", endpoint=f"{gone}/example"),
        Gcs(
            project_id="p", bucket="videos", endpoint=gone,
            service_account_json=json.dumps(service_account(f"{gone}/token")),
        ),
        Oss(endpoint=gone, bucket="videos", access_key_id="a", access_key_secret="hush-secret"),
    ]  # fmt: skip
