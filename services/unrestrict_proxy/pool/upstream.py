"""Calls to platforms: under the egress policy, each with a deadline, and what went wrong on the way without links."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable
from pathlib import Path
from typing import Self, TypeVar

import aiohttp
import structlog

from libs.egress.policy import EgressPolicy, EgressRefused, refusal
from services.unrestrict_proxy.adapters.contract import HostError

log = structlog.get_logger()
T = TypeVar("T")

CALL_SECONDS = 20.0
CONNECT_SECONDS = 8.0
UNREACHED_RETRY = 30.0


class Upstream:
    """`http` is what adapters are given: it keeps no cookies and never follows a platform inside."""

    def __init__(self, policy: EgressPolicy, seconds: float) -> None:
        """`seconds` is the deadline of each call."""
        self._policy = policy
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=self._policy.connector(limit=64, limit_per_host=16),
            timeout=aiohttp.ClientTimeout(total=self._seconds, connect=CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def http(self) -> aiohttp.ClientSession:
        assert self._session is not None, "used outside of its `async with`"
        return self._session

    async def ask(self, platform: str, call: Awaitable[T]) -> T:
        """Raises HostError also when the platform was not reached, as one of scope `host`, and when its adapter is at a
        loss: what nobody thought of in one platform's answer must not end the service for all."""
        try:
            async with asyncio.timeout(self._seconds):
                return await call
        except HostError:
            raise
        except (aiohttp.ClientError, OSError, EgressRefused) as error:
            # An error of the client quotes the address that it asked, and keys stand in addresses.
            reason = refusal(error) or type(error).__name__
        except Exception as error:  # noqa: BLE001 - the one place where an adapter's bug ends
            # Neither message nor trace is logged: what an adapter works on are secrets.
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(last.filename).name}:{last.lineno}"
            await log.aerror("adapter.failed", platform=platform, error=type(error).__name__, place=place)
            raise HostError("request", 106, "adapter_failed", f"{platform} answered what nobody expected.") from None
        raise HostError(
            "host", 105, "unreachable", f"{platform} was not reached: {reason}", retry_after=UNREACHED_RETRY
        )
