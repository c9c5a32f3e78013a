"""S3, by moto."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import aiohttp
import boto3
from botocore.config import Config

from services.storage.targets.credentials import S3
from tests.support.objects.running import GUARDED, program
from tests.support.objects.storage import Storage


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


def _serving(**environment: str) -> AbstractContextManager[str]:
    run = f"{GUARDED}from moto.server import main; main(['-H','127.0.0.1','-p','0'])"
    return program([sys.executable, "-c", run], r"Running on (http://127\.0\.0\.1:\d+)", **environment)


@contextmanager
def moto(**environment: str) -> Iterator[Moto]:
    with _serving(**environment) as url:
        yield Moto(url)


@contextmanager
def strict_moto() -> Iterator[StrictMoto]:
    """Checks every signature from the first bucket on; the key of `admin` is then the only one. It can not check signed
    links, though."""
    with _serving() as url:
        yield StrictMoto(url)


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
    credentials: S3

    def __init__(self, credentials: S3, server: Moto) -> None:
        super().__init__(credentials)
        self._client = server.client("s3")

    async def objects(self) -> dict[str, int]:
        listed = await asyncio.to_thread(self._client.list_objects_v2, Bucket=self.credentials.bucket)
        return {one["Key"]: one["Size"] for one in listed.get("Contents", [])}

    async def unfinished(self) -> list[str]:
        listed = await asyncio.to_thread(self._client.list_multipart_uploads, Bucket=self.credentials.bucket)
        return [one["Key"] for one in listed.get("Uploads", [])]
