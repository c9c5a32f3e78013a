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

PAUSES = (0.0, 0.0, 0.2, 0.8, 3.2)
"""Seconds before each round. The first ends what is there, the second sees that it is gone. The others are for a
service that is busy, and for a part that was in the air while its upload was ended, and may keep it alive."""
LINK_SECONDS = 60
LONGEST_LIST = 1 << 20

_UPLOAD = re.compile(r"<Upload>(.*?)</Upload>", re.DOTALL)
_KEY = re.compile(r"<Key>([^<]*)</Key>")
_ID = re.compile(r"<UploadId>([^<]+)</UploadId>")


class StillThere(Exception):
    """The service would not end the upload."""


class _Busy(Exception):
    """The service may answer better in a moment."""


async def end_uploads(credentials: S3 | Gcs | Oss, key: str, policy: EgressPolicy, seconds: float) -> None:
    """Every unfinished one of this key. Raises StillThere, TimeoutError."""
    last: Exception | None = None
    async with asyncio.timeout(seconds), aiohttp.ClientSession(connector=policy.connector()) as session:
        for pause in PAUSES:
            await asyncio.sleep(pause)  # back-off while the service is busy
            try:
                listed = await _call(session, credentials, "GET", "", {"uploads": "", "prefix": key})
                numbers = _open_uploads(listed, key)
                if not numbers:
                    return
                for number in numbers:
                    await _call(session, credentials, "DELETE", key, {"uploadId": number})
            except (_Busy, aiohttp.ClientError) as error:
                last = error
    raise StillThere(f"an unfinished upload of {key} stays") from last


async def _call(
    session: aiohttp.ClientSession, credentials: S3 | Gcs | Oss, method: str, key: str, query: dict[str, str]
) -> str:
    link = Link(method=method, key=key, query=query, seconds=LINK_SECONDS)
    url = sign(credentials, link, datetime.now(UTC))
    async with session.request(method, URL(url, encoded=True), allow_redirects=False) as answer:
        body = await bounded(answer, LONGEST_LIST)
        if answer.status >= 500 or answer.status == 429:
            raise _Busy
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
