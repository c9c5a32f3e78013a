"""Bodies of answers that come in pieces, or without end."""

from __future__ import annotations

import asyncio

import aiohttp

from libs.egress.bodies import bounded
from tests.site import MediaSite


async def test_a_short_body_that_comes_in_two_pieces_is_read_whole():
    async with (
        MediaSite.start() as site,
        aiohttp.ClientSession() as http,
        http.get(site.file(1000, "a.bin", gate="second", gate_at=400)) as answer,
    ):
        reading = asyncio.create_task(bounded(answer, 64_000))
        async with asyncio.timeout(60):
            while answer.content.total_bytes < 400:
                await asyncio.sleep(0)
        site.release("second")

        assert len(await reading) == 1000


async def test_a_body_without_end_is_read_to_the_bound():
    async with (
        MediaSite.start() as site,
        aiohttp.ClientSession() as http,
        http.get(site.url("/endless/a.bin")) as answer,
    ):
        assert len(await bounded(answer, 64_000)) == 64_000
