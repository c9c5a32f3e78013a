"""Whatever a platform answers, an adapter's caller sees a result or a HostError, and no secret."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.unrestrict_proxy.adapters.answers import LONGEST_DETAIL, shown
from services.unrestrict_proxy.adapters.contract import HostError, Pending
from tests.site.hosts import SPEECHES, Answer, Hosts, Spoil
from tests.support.adapters import Bench, assert_nothing_secret, bench_of

T = TypeVar("T")
Runs = Callable[[Coroutine[Any, Any, T]], T]

WORDS = st.sampled_from(
    [
        "",
        "OK",
        "KO",
        "success",
        "error",
        "ERROR",
        "premium",
        "active",
        "ACCESS",
        "online",
        "-1",
        "9" * 30,
        "http://x.test/a",
    ]
)
NUMBERS = st.integers(-2, 500) | st.sampled_from([2**31, 2**63, 2**64, 10**30, -(2**63)]) | st.floats(allow_nan=False)
LEAVES = st.none() | st.booleans() | NUMBERS | WORDS | st.text(max_size=8)
KEYS = st.sampled_from(
    [
        "status",
        "code",
        "response",
        "details",
        "data",
        "error",
        "errors",
        "message",
        "type",
        "result",
        "user",
        "value",
        "success",
        "token",
        "auth_token",
        "cookies",
        "is_premium",
        "premium_end_time",
        "traffic",
        "left",
        "total",
        "offer",
        "expiryDate",
        "trafficLeft",
        "premium",
        "premiumUntil",
        "premiumLeft",
        "premium_until",
        "limit_used",
        "plan",
        "expire",
        "trafficleft",
        "return",
        "download_url",
        "url",
        "link",
        "download",
        "downloadUrl",
        "generated",
        "links",
        "files",
        "infos",
        "filename",
        "size",
        "content",
        "webdownload_id",
        "errorCode",
        "delayed",
        "hash",
        "percent",
        "linkType",
        "cacheDL",
        "daySize",
    ]
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=6),
    max_leaves=20,
)
BODIES = JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60)
STATUSES = st.sampled_from([200, 200, 200, 201, 204, 302, 400, 401, 403, 404, 406, 418, 429, 500, 503])


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs[Any]]:
    with asyncio.Runner() as runner:
        yield runner.run


async def answered(bench: Bench, answer: Answer | Spoil) -> None:
    """Each call of the adapter, with a session that was rightly had, all of its questions answered so."""
    adapter = bench.adapter
    file = bench.host.files[0]
    bench.host.unscript()
    line = await bench.line()
    begun = await adapter.resolve(line, bench.named(file), None)
    bench.host.script(answer, times=None)
    calls = [
        bench.line(),
        adapter.account(line),
        adapter.hosts(line),
        adapter.check(line, [bench.named(file)]),
        adapter.resolve(line, bench.named(file), "pass word"),
    ]
    calls += [adapter.poll(line, begun)] if isinstance(begun, Pending) else []
    for call in calls:
        try:
            await call
        except HostError as error:
            assert len(error.detail) <= LONGEST_DETAIL
            assert_nothing_secret(bench, error)


def _nodes(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(node for key, one in inner for node in _nodes(one, (*path, key)))]


def spoiler(place: int, instead: object, gone: bool) -> Spoil:
    """One value of the answer, of whatever depth, is another or missing."""

    def spoiled(body: bytes) -> bytes:
        value = json.loads(body)
        nodes = _nodes(value)
        *way, last = ("top", *nodes[place % len(nodes)])
        inner = whole = {"top": value}
        for key in way:
            inner = inner[key]
        if gone and way:
            del inner[last]
        else:
            inner[last] = instead
        return json.dumps(whole["top"]).encode()

    return spoiled


@contextmanager
def opened(hosts: Hosts, runs: Runs[Any], platform: str) -> Iterator[Bench]:
    context = bench_of(hosts, platform)
    bench = runs(context.__aenter__())
    bench.host.add_file("a.bin", 9, polls=2)
    try:
        yield bench
    finally:
        runs(context.__aexit__(None, None, None))


FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("platform", SPEECHES)
def test_arbitrary_answers_never_raise_anything_but_a_host_error(hosts: Hosts, runs: Runs[Any], platform: str) -> None:
    with opened(hosts, runs, platform) as bench:

        @FEW
        @given(BODIES, STATUSES)
        def anything(body: bytes, status: int) -> None:
            runs(answered(bench, Answer(status=status, body=b"" if status == 204 else body)))

        anything()


@pytest.mark.parametrize("platform", sorted(set(SPEECHES) - {"generic"}))
def test_answers_that_are_nearly_right_never_raise_anything_else(hosts: Hosts, runs: Runs[Any], platform: str) -> None:
    with opened(hosts, runs, platform) as bench:

        @settings(FEW, max_examples=30)
        @given(st.integers(0, 1000), JSON, st.booleans())
        def nearly(place: int, instead: object, gone: bool) -> None:
            runs(answered(bench, spoiler(place, instead, gone)))

        nearly()


ODD: list[object] = [None, "", [], -1, 1.5, 10**13, 2**63, 10**30, "9" * 30]


@pytest.mark.parametrize("platform", sorted(set(SPEECHES) - {"generic"}))
async def test_every_value_of_an_answer_may_be_odd(hosts: Hosts, platform: str) -> None:
    """Dates beyond the calendar, sizes beyond 64 bits, and whatever else is in the place of a number or a word."""
    async with bench_of(hosts, platform) as bench:
        bench.host.add_file("a.bin", 9, polls=2)
        for odd in ODD:
            for place in range(20):
                await answered(bench, spoiler(place, odd, gone=False))


@pytest.mark.parametrize("platform", sorted(set(SPEECHES) - {"generic"}))
@pytest.mark.parametrize(
    "body", [b"[" * 200_000, b'{"a":' * 100_000, b"\xff\xfe{}", b'"\xed\xa0\x80"', b"\x00" * 900_000]
)
async def test_deep_and_misspelt_answers_are_a_host_error(hosts: Hosts, platform: str, body: bytes) -> None:
    async with bench_of(hosts, platform) as bench:
        bench.host.add_file("a.bin", 9, polls=2)
        await answered(bench, Answer(body=body))


@given(st.text(min_size=4, max_size=30), st.text(max_size=20))
def test_a_secret_is_not_shown_in_any_spelling(secret: str, around: str) -> None:
    body = msgspec.json.encode({"said": f"{around} {secret} {around}", "link": f"https://x.test/?k={secret}"}).decode()

    assert (
        secret not in shown(body, [secret]).replace("***", "") or secret in '{"said":" ","link":"https://x.test/***"}'
    )
