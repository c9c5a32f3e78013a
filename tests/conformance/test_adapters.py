"""What every adapter of a file host promises, against a server that speaks its platform's protocol."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from msgspec import Struct

from libs.egress.policy import EgressPolicy
from proto.unrestrict_proxy import LinkClass
from services.unrestrict_proxy import adapters
from services.unrestrict_proxy.adapters.contract import (
    AccountState,
    Adapter,
    Credentials,
    DirectLink,
    FileInfo,
    HostError,
    HostFile,
    Pending,
    Session,
)
from tests.site.hosts import SPEECHES, Account, Fault, Host, HostedFile, Hosts

SIZE = 300_000
PLATFORMS = list(SPEECHES)
UNMETERED = {"alldebrid"}
BROKEN = ("html", "truncated", "list", "missing", "huge", "http_500", "redirect")


class Bench(Struct):
    """One adapter, its scripted server, an account there, and a file."""

    adapter: Adapter
    host: Host
    account: Account
    credentials: Credentials
    http: aiohttp.ClientSession

    async def session(self) -> Session:
        return await self.adapter.login(self.http, self.credentials)

    async def state(self) -> AccountState:
        return await self.adapter.account(self.http, self.credentials, await self.session())

    async def check(self, *files: HostedFile) -> list[FileInfo]:
        wanted = [self.named(one) for one in files]
        return await self.adapter.check(self.http, self.credentials, await self.session(), wanted)

    async def link(self, file: HostedFile, password: str | None = None) -> DirectLink:
        session = await self.session()
        got = await self.adapter.resolve(self.http, self.credentials, session, self.named(file), password)
        while isinstance(got, Pending):
            got = await self.adapter.poll(self.http, self.credentials, session, got)
        return got

    def named(self, file: HostedFile) -> HostFile:
        """As the pool names it: by whoever's link it is."""
        return adapters.match(file.url) or HostFile(
            ref=LinkClass(platform=self.adapter.platform, file_ref=file.id), url=file.url
        )


@asynccontextmanager
async def bench_of(hosts: Hosts, platform: str, **account: Any) -> AsyncIterator[Bench]:
    adapter = adapters.find(platform)
    assert adapter is not None
    host = hosts.host(platform)
    one = host.add_account(**account)
    credentials = Credentials(username=one.username, secret=one.secret, base_url=host.base_url)
    policy = EgressPolicy.parse("127.0.0.0/8")
    async with aiohttp.ClientSession(
        connector=policy.connector(), cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(30)
    ) as http:
        yield Bench(adapter, host, one, credentials, http)


@pytest.fixture(params=PLATFORMS)
async def bench(request: pytest.FixtureRequest, hosts: Hosts) -> AsyncIterator[Bench]:
    async with bench_of(hosts, request.param) as one:
        yield one


async def fetched(bench: Bench, link: DirectLink) -> bytes:
    async with bench.http.get(link.url, headers=link.headers) as answer:
        assert answer.status == 200
        return await answer.read()


async def test_the_bytes_really_come_by_the_link(bench: Bench) -> None:
    """What is behind a resolved link is the file, whole and in ranges, and never under a secret that is shown."""
    file = bench.host.add_file("a file.bin", SIZE)
    link = await bench.link(file)
    body = await fetched(bench, link)
    async with bench.http.get(link.url, headers={**link.headers, "Range": "bytes=1000-1999"}) as answer:
        part = await answer.read()

    assert hashlib.sha256(body).hexdigest() == file.sha256
    assert (answer.status, part) == (206, body[1000:2000])
    assert link.name in {None, file.name}
    assert link.size in {None, SIZE}


async def test_an_account_tells_what_it_has(bench: Bench) -> None:
    """Traffic is of the whole account or by host, and what is not told is not zero."""
    bench.account.traffic_left = 7 << 30
    state = await bench.state()

    assert state.usable
    assert state.premium_until is None or state.premium_until > datetime.now(UTC)
    assert state.traffic_left in {None, 7 << 30}
    assert state.traffic_left or 7 << 30 in state.per_host.values() or bench.adapter.platform in UNMETERED


async def test_a_check_answers_in_order_of_what_was_asked(bench: Bench) -> None:
    """Files that are there have name and size where the platform tells them; gone ones are offline or unknown."""
    gone = bench.host.add_file("gone.bin", 5, state="offline")
    there = [bench.host.add_file(f"{number}.bin", SIZE + number) for number in range(3)]
    found = await bench.check(gone, *there)

    assert [one.online for one in found[1:]] == ["online"] * 3
    assert found[0].online == "offline"
    assert [(one.name, one.size) for one in found[1:]] == [(one.name, one.size) for one in there]


async def test_an_answer_that_no_protocol_promises_is_an_error_of_the_host(bench: Bench) -> None:
    """HTML, half a JSON, other types, missing fields, a redirect, too much: a HostError, and nothing secret in it."""
    file = bench.host.add_file("a.bin", SIZE)
    for broken in BROKEN:
        bench.host.unscript()
        bench.host.script(broken, times=None)
        for call in (bench.state, lambda: bench.check(file), lambda: bench.link(file)):
            with pytest.raises(HostError) as caught:
                await call()
            assert caught.value.status in {105, 106}, broken
            assert_nothing_secret(bench, caught.value)


def assert_nothing_secret(bench: Bench, error: BaseException) -> None:
    texts = [repr(error), str(error), *(str(value) for value in vars(error).values())]
    secrets = [bench.account.secret, quote(bench.account.secret), *bench.host.sessions]

    assert not [text for text in texts for secret in secrets if secret in text]


FAULTS: Mapping[Fault, tuple[str, int]] = {
    "not_premium": ("account", 107),
    "exhausted": ("account", 107),
    "slots": ("account", 107),
    "maintenance": ("host", 105),
    "offline": ("file", 104),
    "banned": ("file", 102),
    "unsupported": ("file", 101),
    "unknown": ("request", 106),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_every_class_of_error_has_its_scope_and_status(bench: Bench, fault: Fault) -> None:
    file = bench.host.add_file("a.bin", SIZE)
    bench.host.script(fault, on="resolve", times=None)
    with pytest.raises(HostError) as caught:
        await bench.link(file)
    error = caught.value

    assert (error.scope, error.status) == FAULTS[fault]
    assert error.exhausted == (fault == "exhausted")
    assert error.detail
    assert_nothing_secret(bench, error)


async def test_two_differently_spelled_links_of_a_file_are_one(bench: Bench) -> None:
    file = bench.host.add_file("a.bin", SIZE)
    for domain in bench.adapter.domains:
        again = bench.adapter.match(file.url.replace(bench.adapter.domains[0], f"www.{domain}"))
        assert again == bench.adapter.match(file.url)
        assert bench.adapter.match(f"https://{domain}.evil.test/{file.id}") is None
    assert bench.adapter.domains or bench.adapter.caps.multihost
