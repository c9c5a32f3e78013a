"""Which engines are tried for a link, in order. One that finds the link is not its own passes it on (`not_mine`)."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from proto.job import EngineName, Options
from services.job.engines import sandbox
from services.job.engines.gallerydl import GalleryDlEngine
from services.job.engines.options import shapes_media
from services.job.engines.ytdlp import YtdlpEngine

LIST_SECONDS = 60.0
_EXAMPLE = re.compile(r"^Example : https?://([^/\s]+)", re.MULTILINE)
# fmt: off
_PLAIN = frozenset({
    "7z", "aac", "apk", "avi", "bin", "bz2", "csv", "deb", "dmg", "doc", "docx", "epub", "exe", "flac", "flv", "gif",
    "gz", "img", "iso", "jpeg", "jpg", "json", "m4a", "m4v", "mkv", "mov", "mp3", "mp4", "mpeg", "mpg", "msi", "odt",
    "ogg", "opus", "pdf", "png", "rar", "rpm", "tar", "tgz", "tif", "tiff", "txt", "wav", "webm", "webp", "wmv",
    "xls", "xlsx", "xz", "zip", "zst",
})
"""Endings that mean a file; anything may still turn out to be a page, then the next engine has its turn."""
_MANIFESTS = frozenset({"m3u8", "mpd"})
"""Endings that mean a stream, which no other engine fetches, or waits for when it has not begun."""
_VIDEO_SITES = frozenset({
    "twitter.com", "x.com", "reddit.com", "tiktok.com", "vimeo.com", "youtube.com", "youtu.be", "twitch.tv",
    "dailymotion.com", "soundcloud.com", "bandcamp.com", "bilibili.com", "newgrounds.com",
})
"""Sites that both foreign engines know and whose links mostly mean a video or a sound."""
# fmt: on


class Router:
    def __init__(self, ytdlp: YtdlpEngine, gallerydl: GalleryDlEngine, cache: Path) -> None:
        """`cache` keeps the list of sites of each version of gallery-dl."""
        self._ytdlp = ytdlp
        self._instances = {urlsplit(root).netloc.lower() for roots in gallerydl.instances.values() for root in roots}
        self._cache = cache / f"gallery-sites-{version('gallery-dl')}.json"
        self._sites: frozenset[str] | None = None
        self._asking = asyncio.Lock()

    async def route(self, url: str, options: Options) -> list[EngineName]:
        """A link to a file starts nothing: neither the list of sites is made for it nor yt-dlp loaded."""
        parts = urlsplit(url)
        if options.engine is not None:
            return [options.engine]
        if options.audio_only or parts.netloc.lower() in self._instances:
            return ["ytdlp"] if options.audio_only else ["gallerydl"]
        host = (parts.hostname or "").removeprefix("www.")
        ending = parts.path.rpartition(".")[2].lower()
        if ending in _MANIFESTS:
            return ["ytdlp"]
        if ending in _PLAIN:
            # A page may be named like a picture. Where the list is not at hand the program itself says what it knows.
            if shapes_media(options):
                return ["http", "ytdlp"]  # gallery-dl would take a film as it is
            known = await self._remembered()
            return ["http", "gallerydl", "ytdlp"] if known is None or _within(host, known) else ["http", "ytdlp"]
        if _within(host, await self._gallery_sites()):
            return ["ytdlp", "gallerydl"] if _within(host, _VIDEO_SITES) else ["gallerydl", "ytdlp"]
        return ["ytdlp"] if await self._ytdlp.suitable(url) else ["http", "ytdlp"]

    async def _gallery_sites(self) -> frozenset[str]:
        """Hosts of gallery-dl's own examples, asked of the program once per version and kept."""
        async with self._asking:
            known = await self._remembered()
            if known is None:
                known = self._sites = await self._ask()
        return known

    async def _remembered(self) -> frozenset[str] | None:
        if self._sites is None:
            self._sites = await asyncio.to_thread(_read, self._cache)
        return self._sites

    async def _ask(self) -> frozenset[str]:
        """Empty when the program does not answer: then its links go the way of those that nobody knows."""
        folder = self._cache.parent
        hosts: set[str] = set()
        argv = [sys.executable, "-P", "-m", "gallery_dl", "--config-ignore", "--list-extractors"]
        async with sandbox.program(argv, cwd=folder, env=sandbox.environment(folder)) as process:
            try:
                async with asyncio.timeout(LIST_SECONDS):
                    async for line in sandbox.lines(process):
                        if found := _EXAMPLE.match(line):
                            hosts.add(found[1].lower().removeprefix("www."))
                    await process.wait()
            except TimeoutError:
                return frozenset()
        sites = frozenset(host for host in hosts if "." in host and "example" not in host)
        await asyncio.to_thread(_write, self._cache, sites)
        return sites


def _read(cache: Path) -> frozenset[str] | None:
    try:
        return frozenset(json.loads(cache.read_bytes()))
    except (FileNotFoundError, ValueError):
        return None


def _write(cache: Path, sites: frozenset[str]) -> None:
    fresh = cache.with_suffix(".new")
    fresh.write_text(json.dumps(sorted(sites)))
    fresh.replace(cache)


def _within(host: str, sites: frozenset[str]) -> bool:
    labels = host.split(".")
    return any(".".join(labels[index:]) in sites for index in range(len(labels) - 1))
