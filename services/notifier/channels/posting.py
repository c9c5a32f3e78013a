"""One POST of JSON under the egress policy."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Self

import aiohttp
from msgspec import Struct

from libs.egress.links import BadLink, check_link
from libs.egress.policy import EgressPolicy, refusal

SECONDS = 30.0


class Answered(Struct, frozen=True):
    """`status` None when no answer came; `error` None when it was accepted."""

    status: int | None
    error: str | None
    elapsed_ms: int


class Poster:
    """To no private address that was not opened, and never along a redirect. No error names the address: it may be a
    secret."""

    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=self._policy.connector(limit=32),
            timeout=aiohttp.ClientTimeout(total=SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, url: str, raw: bytes, headers: Mapping[str, str]) -> Answered:
        started = time.monotonic()

        def answered(status: int | None, error: str | None) -> Answered:
            return Answered(status, error, int((time.monotonic() - started) * 1000))

        assert self._session is not None
        try:
            check_link(url, self._policy)
            async with self._session.post(
                url,
                data=raw,
                allow_redirects=False,
                headers={"Content-Type": "application/json", "User-Agent": "Longshore", **headers},
            ) as response:
                status = response.status
                return answered(status, None if 200 <= status < 300 else f"the receiver answered {status}")
        except BadLink as bad:
            return answered(None, str(bad))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return answered(None, refusal(error) or f"no answer: {type(error).__name__}")
