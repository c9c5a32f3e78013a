"""What is on the wire, word for word."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from tests.dialects.contract import DOCUMENTS, Contract
from tests.dialects.transcript import Player, read
from tests.support.accounts import pooled
from tests.support.system import PASSWORD, PATIENCE, longshore

GOLDEN = Path(__file__).parent / "golden"
CONVERSATIONS = sorted(GOLDEN.rglob("*.http"))


def known(user, site) -> dict[str, str]:
    name = f"{uuid4().hex}.bin"
    return {
        "jobs_key": user.keys["jobs"],
        "gdluxx_key": user.keys["gdluxx"],
        "external_key": user.keys["external"],
        "user": user.name,
        "password": PASSWORD,
        "site": site.url("").rstrip("/"),
        "name": name,
        "file": site.file(1000, name),
        "slow": site.file(1000, f"slow-{name}", gate=f"gate-{name}", gate_at="head"),
    }


async def prepared(path: Path, user) -> dict[str, str]:
    """What the operator did before; the words that come of it."""
    match path.stem:
        case "a-full-storage":
            await asyncio.to_thread(longshore, "user", "limit", user.name, "--storage", "0", data=user.system.data)
        case "older-clients":
            words = ("key", "create", "--dialect", "jobs", "--user", user.name)
            style = ("--status-style", "legacy", "--webhook-style", "legacy")
            return {"legacy_key": await asyncio.to_thread(longshore, *words, *style, data=user.system.data)}
        case "looking-at-links":
            await a_worker(user)
    return {}


async def a_worker(user) -> None:
    """Links are looked at by workers, and what serves is there before they are."""
    async with user.http() as http, asyncio.timeout(PATIENCE):
        while (await http.jobs("POST", "/is-short", {"url": "http://127.0.0.1:1/"}))[0] == 503:
            await asyncio.sleep(0.1)  # the interval of a client that asks again


@asynccontextmanager
async def file_host(system, hosts) -> AsyncIterator[dict[str, str]]:
    """With one account that is in the pool, and files whose links are these words."""
    host = hosts.host("rapidgator")
    hosted = {
        "hosted": host.add_file("film.mkv", 30_833),
        "offline": host.add_file("gone.mkv", 1000, state="offline"),
    }
    async with system.operator() as (_, caller), pooled(caller, host):
        yield {name: file.url for name, file in hosted.items()}


@pytest.mark.parametrize("path", CONVERSATIONS, ids=lambda path: f"{path.parent.name}-{path.stem}")
async def test_a_conversation_goes_as_it_was_written_down(path: Path, user, site, request):
    dialect = path.parent.name
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(user.http())
        words = known(user, site) | await prepared(path, user)
        if dialect == "external":
            fixtures = (request.getfixturevalue(name) for name in ("system", "hosts"))
            words |= await stack.enter_async_context(file_host(*fixtures))
        contract = Contract(dialect) if dialect in DOCUMENTS else None
        player = Player(http.session, http.url, words, contract)
        for exchange in read(path):
            assert await player.play(exchange) == []


async def test_the_socket_tells_of_a_download_in_the_frames_that_were_written_down(user, site):
    """Progress is left out: how often it is told depends on the machine."""
    wanted = json.loads((GOLDEN / "webgui" / "a-download.json").read_text())
    async with user.http() as http, http.socket() as socket:
        player = Player(http.session, http.url, known(user, site))
        player.known["job"] = await http.submit(player.known["file"])
        await socket.until(lambda frame: frame["type"] == "notification")
        frames = [frame for frame in socket.frames if frame["type"] != "download_progress"]

    assert player.differences(frames, wanted, "frames") == []
