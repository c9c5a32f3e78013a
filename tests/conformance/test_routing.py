"""Which engines a link is given to, and what a link to a file does not start."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proto.job import Options
from services.job.engines.gallerydl import GalleryDlEngine
from services.job.engines.routing import Router
from services.job.engines.ytdlp import YtdlpEngine


@asynccontextmanager
async def router(folder: Path, instances: str = ""):
    async with YtdlpEngine(folder / "cache") as ytdlp, GalleryDlEngine(folder / "cache", instances) as gallerydl:
        yield Router(ytdlp, gallerydl, folder / "cache"), ytdlp


async def test_links_go_to_who_knows_them(tmp_path) -> None:
    """Sites of galleries, sites of videos, sites of both, and everything else."""
    expected = {
        "https://imgur.com/a/abcdef": ["gallerydl", "ytdlp"],
        "https://www.pixiv.net/artworks/123": ["gallerydl", "ytdlp"],
        "https://www.youtube.com/watch?v=BaW_jenozKc": ["ytdlp"],
        "https://vimeo.com/123456": ["ytdlp"],
        "https://x.com/somebody/status/1": ["ytdlp", "gallerydl"],
        "https://old.reddit.com/r/a/comments/b/c/": ["ytdlp", "gallerydl"],
        "https://files.test/watch?v=1": ["http", "ytdlp"],
        "https://files.test/": ["http", "ytdlp"],
        "https://files.test/live/index.M3U8?token=a.b": ["ytdlp"],
        "https://files.test/film.mpd": ["ytdlp"],
    }
    async with router(tmp_path) as (routes, _):
        assert {url: await routes.route(url, Options()) for url in expected} == expected


async def test_a_link_to_a_file_starts_nothing(tmp_path) -> None:
    """Neither yt-dlp is loaded nor the list of sites made; should it be a page, the others have their turn."""
    async with router(tmp_path) as (routes, ytdlp):
        for url in ("https://files.test/a.iso", "https://files.test/b/c.MP4?x=1", "https://files.test/photo.jpg"):
            assert (await routes.route(url, Options()))[0] == "http"
        assert await routes.route("https://files.test/a.iso", Options()) == ["http", "gallerydl", "ytdlp"]
        assert ytdlp.zygote is None
        assert list((tmp_path / "cache").glob("gallery-sites*")) == []


async def test_the_list_of_sites_is_made_once_for_a_version(tmp_path) -> None:
    """It is asked of the program, kept beside the work folders, and read by the next worker."""
    async with router(tmp_path) as (routes, _):
        await routes.route("https://imgur.com/a/abcdef", Options())
    (kept,) = (tmp_path / "cache").glob("gallery-sites*.json")
    kept.write_text('["only.test"]')
    async with router(tmp_path) as (routes, _):
        assert await routes.route("https://www.only.test/a", Options()) == ["gallerydl", "ytdlp"]
        assert await routes.route("https://wiki.only.test/File:A.jpg", Options()) == ["http", "gallerydl", "ytdlp"]
        assert await routes.route("https://files.test/a.jpg", Options()) == ["http", "ytdlp"]


async def test_the_operators_instances_come_first(tmp_path) -> None:
    """Host and port decide, whatever the path looks like."""
    async with router(tmp_path, "mastodon=http://don.test:8080") as (routes, ytdlp):
        assert await routes.route("http://don.test:8080/@alice", Options()) == ["gallerydl"]
        assert await routes.route("http://don.test/a.zip", Options()) != ["gallerydl"]
        assert ytdlp.zygote is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Options(engine="http"), ["http"]),
        (Options(engine="gallerydl"), ["gallerydl"]),
        (Options(engine="ytdlp"), ["ytdlp"]),
        (Options(audio_only=True), ["ytdlp"]),
    ],
)
async def test_a_choice_is_kept(tmp_path, options, expected) -> None:
    """Who names an engine gets it alone; sound can only be taken out by one of them."""
    async with router(tmp_path) as (routes, _):
        assert await routes.route("https://files.test/a.mp4", options) == expected
