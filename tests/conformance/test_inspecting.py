"""Looking at links with the real yt-dlp, without fetching what is behind them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from libs.egress.policy import EgressPolicy
from libs.message import Refused
from proto.unrestrict_proxy import Cookie
from proto.worker import Uninspected
from services.job.engines.ytdlp import YtdlpEngine
from services.job.worker.inspecting import Inspector
from tests.support.engines import ground
from tests.support.sure import being

pytestmark = pytest.mark.asyncio(loop_scope="session")


@asynccontextmanager
async def looking(folder: Path, engine: YtdlpEngine):
    """An inspector with a way out to the site, and the names that were given one."""
    opened: list[str] = []
    (folder / "cache").mkdir()
    async with ground(folder, also="127.0.0.0/8") as there:

        def grant(name: str) -> str:
            opened.append(name)
            return there.fetch(there.site.url("/")).proxy

        async def jar(owner: UUID, host: str) -> list[Cookie]:
            return [Cookie(name=f"of-{owner.int}", value="yes", domain=host, host_only=True)]

        inspector = Inspector(engine, EgressPolicy.parse("127.0.0.0/8"), folder / "cache", grant, opened.remove, jar)
        yield there.site, inspector, opened


async def test_a_film_is_described_without_being_fetched(tmp_path: Path, engine: YtdlpEngine):
    async with looking(tmp_path, engine) as (site, inspector, opened):
        info = await inspector.look(site.url("/watch/og"))
        fetched = sum(hit.sent for hit in site.log)

    assert info.title == "Open graph clip"
    assert info.entries == ()
    assert fetched < 20_000
    assert opened == []
    assert not [path for path in (tmp_path / "cache").iterdir() if path.name.startswith("inspect-")]


async def test_a_feed_names_its_films_in_order(tmp_path: Path, engine: YtdlpEngine):
    async with looking(tmp_path, engine) as (site, inspector, _):
        info = await inspector.look(site.url("/feed.rss"))

    assert info.title == "Site feed"
    assert len(info.entries) == 2
    assert all(entry.url.startswith(site.url("").rstrip("/")) and entry.title for entry in info.entries)


@pytest.mark.parametrize("path", ["/status/404", "/watch/nothing"])
async def test_what_can_not_be_described_is_refused_with_a_reason(path: str, tmp_path: Path, engine: YtdlpEngine):
    async with looking(tmp_path, engine) as (site, inspector, opened):
        with pytest.raises(Refused) as refused:
            await inspector.look(site.url(path))

    assert being(Uninspected, refused.value.refusal).code
    assert refused.value.refusal.message
    assert opened == []


async def test_a_private_address_is_not_looked_at(tmp_path: Path, engine: YtdlpEngine):
    async with looking(tmp_path, engine) as (_, inspector, opened):
        with pytest.raises(Refused):
            await inspector.look("http://10.0.0.1/film")

    assert opened == []


async def test_a_slow_site_keeps_nobody_else_waiting_and_its_process_goes_with_its_asker(
    tmp_path: Path, engine: YtdlpEngine
):
    async with looking(tmp_path, engine) as (site, inspector, opened):
        slow = asyncio.create_task(inspector.look(site.url("/watch/og", gate="held", gate_at="head")))
        await site.reached("held")
        quick = await inspector.look(site.url("/watch/embed"))
        slow.cancel()
        await asyncio.wait({slow})
        async with asyncio.timeout(60):
            while psutil.Process(engine.zygote).children():
                await asyncio.sleep(0.02)  # the zygote tells nobody when it has reaped

    assert quick.title == "Embedded clip (1)"
    assert opened == []


async def test_a_link_is_looked_at_with_the_cookies_of_who_asks(tmp_path: Path, engine: YtdlpEngine):
    async with looking(tmp_path, engine) as (site, inspector, _):
        await inspector.look(site.url("/watch/og"), UUID(int=7))
        theirs = {hit.cookie for hit in site.log}
        del site.log[:]
        await inspector.look(site.url("/watch/og"))

        assert theirs == {"of-7=yes"}
        assert {hit.cookie for hit in site.log} == {None}
    assert not list(tmp_path.rglob("cookies-*"))
