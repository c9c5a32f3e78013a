"""One adapter of a file host, its scripted server, an account there, and what tests ask of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, quote_plus

import aiohttp
import pytest
from msgspec import Struct
from msgspec.structs import replace

from libs.egress.policy import EgressPolicy
from services.unrestrict_proxy import adapters
from services.unrestrict_proxy.adapters.contract import (
    AccountState,
    Adapter,
    Credentials,
    DirectLink,
    FileInfo,
    HostError,
    HostFile,
    Line,
    Pending,
)
from tests.site.hosts import Account, Host, HostedFile, Hosts

SIZE = 300_000


class Bench(Struct):
    adapter: Adapter
    host: Host
    account: Account
    credentials: Credentials
    http: aiohttp.ClientSession

    async def line(self) -> Line:
        """After a login."""
        line = Line(http=self.http, credentials=self.credentials)
        return replace(line, session=await self.adapter.login(line))

    async def state(self) -> AccountState:
        return await self.adapter.account(await self.line())

    async def check(self, *files: HostedFile) -> list[FileInfo]:
        wanted = [self.named(one) for one in files]
        return await self.adapter.check(await self.line(), wanted)

    async def link(self, file: HostedFile, password: str | None = None) -> DirectLink:
        line = await self.line()
        got = await self.adapter.resolve(line, self.named(file), password)
        while isinstance(got, Pending):
            got = await self.adapter.poll(line, got)
        return got

    def named(self, file: HostedFile) -> HostFile:
        """By whoever's link it is."""
        found = adapters.match(file.url) or self.adapter.match(file.url)
        assert found is not None
        return found


@asynccontextmanager
async def bench_of(hosts: Hosts, platform: str, **account: Any) -> AsyncIterator[Bench]:
    adapter = adapters.find(platform)
    assert adapter is not None
    host = hosts.host(platform)
    one = host.add_account(**account)
    credentials = Credentials(
        username=one.username,
        secret=one.secret,
        base_url=host.base_url,
        domains=("127.0.0.1",) if platform == "generic" else (),
    )
    policy = EgressPolicy.parse(f"127.0.0.0/8,elsewhere.test=127.0.0.1:{hosts.site.port}")
    async with aiohttp.ClientSession(
        connector=policy.connector(), cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(30)
    ) as http:
        yield Bench(adapter, host, one, credentials, http)


async def refusal(call: Awaitable[Any]) -> HostError:
    with pytest.raises(HostError) as caught:
        await call
    return caught.value


async def fetched(bench: Bench, link: DirectLink) -> bytes:
    async with bench.http.get(link.url, headers=link.headers) as answer:
        assert answer.status == 200
        return await answer.read()


def assert_nothing_secret(bench: Bench, error: BaseException) -> None:
    """In no text that a log could show, in no spelling."""
    texts = [repr(error), str(error), *(str(value) for value in vars(error).values())]
    secrets = [bench.credentials.secret, *bench.host.sessions]
    spellings = {spell(secret) for secret in secrets for spell in (str, quote, quote_plus)}

    assert not [text for text in texts for spelling in spellings if spelling in text]
