"""Removes what an upload that was not finished left behind, which its owner would pay for and never see."""

from __future__ import annotations

import asyncio
import html
import re
from datetime import UTC, datetime

import aiohttp
from yarl import URL

from libs.egress.bodies import bounded
from libs.egress.policy import EgressPolicy
from services.storage.targets.credentials import S3, Gcs, Oss
from services.storage.targets.signing import Link, sign

ROUNDS = 5
"""A part that was in the air while its upload was ended may keep it alive; then it is ended again."""
LINK_SECONDS = 60
LONGEST_LIST = 1 << 20

_UPLOAD = re.compile(r"<Upload>(.*?)</Upload>", re.DOTALL)
_KEY = re.compile(r"<Key>([^<]*)</Key>")
_ID = re.compile(r"<UploadId>([^<]+)</UploadId>")


class StillThere(Exception):
    """The service would not end the upload."""


async def end_uploads(credentials: S3 | Gcs | Oss, key: str, policy: EgressPolicy, seconds: float) -> None:
    """Every unfinished one of this key. Raises StillThere, TimeoutError, aiohttp.ClientError."""
    async with asyncio.timeout(seconds), aiohttp.ClientSession(connector=policy.connector()) as session:
        for _ in range(ROUNDS):
            listed = await _call(session, credentials, "GET", "", {"uploads": "", "prefix": key})
            numbers = _open_uploads(listed, key)
            if not numbers:
                return
            for number in numbers:
                await _call(session, credentials, "DELETE", key, {"uploadId": number})
    raise StillThere(f"an unfinished upload of {key} stays")


async def _call(
    session: aiohttp.ClientSession, credentials: S3 | Gcs | Oss, method: str, key: str, query: dict[str, str]
) -> str:
    link = Link(method=method, key=key, query=query, seconds=LINK_SECONDS)
    url = sign(credentials, link, datetime.now(UTC))
    async with session.request(method, URL(url, encoded=True), allow_redirects=False) as answer:
        body = await bounded(answer, LONGEST_LIST)
        if answer.status // 100 != 2 and (method, answer.status) != ("DELETE", 404):
            raise StillThere(f"the service answers {answer.status}")
        return body.decode("utf-8", "replace")


def _open_uploads(listed: str, key: str) -> list[str]:
    found = []
    for upload in _UPLOAD.findall(listed):
        name, number = _KEY.search(upload), _ID.search(upload)
        if name and number and html.unescape(name[1]) == key:
            found.append(html.unescape(number[1]))
    return found
