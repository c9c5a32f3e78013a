"""Far too many requests, as each dialect says so. The rate is set so low that a test can reach it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import aiohttp
import pytest

from tests.support.system import Installed, System, running

RATE = 1


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, installed: Installed) -> Iterator[System]:
    with running(
        installed.at(tmp_path_factory.mktemp("strict") / "data"), "", LONGSHORE_REQUEST_RATE=str(RATE)
    ) as system:
        yield system


async def refused(http, path: str, **headers: str):
    """Asks until it is refused for asking too often: the answer, and what Retry-After says."""
    while True:
        async with http.session.get(http.url + path, headers=headers) as answer:
            if answer.status in (429, 503):
                return answer.status, await answer.json(), dict(answer.headers)


async def test_a_key_that_asks_far_too_often_is_refused_in_the_words_of_its_dialect_and_others_are_not(strict):
    hasty, calm = strict.user(), strict.user()
    async with hasty.http() as http, calm.http() as other:
        jobs = await refused(http, "/jobs", **{"x-api-key": hasty.keys["jobs"]})
        bearer = f"Bearer {hasty.keys['gdluxx']}"
        gdluxx = await refused(http, "/api/extension/jobs?ids=a", Authorization=bearer, Origin="chrome-extension://x")
        fine, _ = await other.jobs("GET", "/jobs")

    assert jobs[:2] == (429, {"error": "Too many requests; try again in a moment"})
    assert (gdluxx[0], gdluxx[1]["success"]) == (429, False)
    assert gdluxx[2]["Access-Control-Allow-Origin"] == "chrome-extension://x"
    assert all(int(one[2]["Retry-After"]) >= 1 for one in (jobs, gdluxx))
    assert fine == 200


async def test_an_address_without_a_good_key_is_refused_and_a_good_key_from_there_is_not(strict):
    user = strict.user()
    async with user.http() as http:
        await http.jobs("GET", "/jobs")
        status, _, _ = await refused(http, "/jobs", **{"x-api-key": "sk_not-a-key-of-ours"})
        external, told, _ = await refused(http, "/api/external/v1/hosts", **{"x-api-key": "obb_not-a-key-of-ours"})
        good, _ = await http.jobs("GET", "/jobs")

    assert (status, good) == (429, 200)
    assert (external, told["status"], told["retry_in_seconds"]) == (503, 105, 1)


async def test_an_address_that_opens_sockets_with_made_up_tokens_is_refused_and_who_is_signed_in_there_is_not(strict):
    user = strict.user()
    async with user.http() as http:
        closed, refused_with = set(), 0  # an address that just asked too often is refused from the first
        async with asyncio.timeout(120):
            while not refused_with:
                try:
                    async with http.session.ws_connect(f"{http.url}/ws/downloads?token=made.up.token") as opened:
                        closed.add((await opened.receive()).data)
                except aiohttp.WSServerHandshakeError as refusal:
                    refused_with = refusal.status
        async with http.socket(since="another history") as socket:
            told = await socket.until(lambda _: True)

    assert closed <= {4401}
    assert refused_with == 403
    assert told["type"] == "reset"
