"""Which engines are tried for a link, in order. An engine that finds the link is not its own passes it on."""

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
from services.job.engines.ytdlp import YtdlpEngine

LIST_SECONDS = 30.0
_EXAMPLE = re.compile(r"^Example : https?://([^/\s]+)", re.MULTILINE)
_PLAIN = frozenset(
    [
        "7z",
        "aac",
        "apk",
        "avi",
        "bin",
        "bz2",
        "csv",
        "dmg",
        "doc",
        "docx",
        "epub",
        "exe",
        "flac",
        "gif",
        "gz",
        "img",
        "iso",
        "jpeg",
        "jpg",
        "json",
        "m4a",
        "m4v",
        "mkv",
        "mov",
        "mp3",
        "mp4",
        "mpg",
        "odt",
        "ogg",
        "opus",
        "pdf",
        "png",
        "rar",
        "rpm",
        "tar",
        "tgz",
        "txt",
        "wav",
        "webm",
        "webp",
        "wmv",
        "xls",
        "xlsx",
        "xz",
        "zip",
        "zst",
    ]
)
"""Endings that mean a file; anything may still turn out to be a page, then the next engine has its turn."""
_VIDEO_SITES = frozenset(
    {
        "twitter.com",
        "x.com",
        "reddit.com",
        "tiktok.com",
        "vimeo.com",
        "youtube.com",
        "youtu.be",
        "twitch.tv",
        "dailymotion.com",
        "soundcloud.com",
        "bandcamp.com",
        "bilibili.com",
    }
)
"""Sites that both foreign engines know and whose links mostly mean a video."""


class Router:
    def __init__(self, ytdlp: YtdlpEngine, gallerydl: GalleryDlEngine, cache: Path) -> None:
        self._ytdlp = ytdlp
        self._instances = {urlsplit(root).netloc.lower() for roots in gallerydl.instances.values() for root in roots}
        self._cache = cache / f"gallery-sites-{version('gallery-dl')}.json"
        self._sites: frozenset[str] | None = None
        self._lock = asyncio.Lock()

    async def route(self, url: str, options: Options) -> list[EngineName]:
        if options.engine is not None:
            return [options.engine]
        parts = urlsplit(url)
        if parts.netloc.lower() in self._instances:
            return ["gallerydl"]
        if parts.path.rpartition(".")[2].lower() in _PLAIN:
            return ["http", "ytdlp"]
        host = (parts.hostname or "").removeprefix("www.")
        if host not in _VIDEO_SITES and _within(host, await self._gallery_sites()):
            return ["gallerydl", "ytdlp"]
        if await self._ytdlp.suitable(url):
            return ["ytdlp"]
        return ["http", "ytdlp"]

    async def _gallery_sites(self) -> frozenset[str]:
        """Hosts of gallery-dl's own examples, asked of the program once per version and kept."""
        async with self._lock:
            if self._sites is None:
                self._sites = await asyncio.to_thread(self._known) or await self._ask()
        return self._sites

    def _known(self) -> frozenset[str] | None:
        try:
            return frozenset(json.loads(self._cache.read_bytes()))
        except (FileNotFoundError, ValueError):
            return None

    async def _ask(self) -> frozenset[str]:
        process = await sandbox.spawn(
            [sys.executable, "-m", "gallery_dl", "--config-ignore", "--list-extractors"],
            cwd=self._cache.parent,
            env=sandbox.environment(self._cache.parent),
        )
        try:
            async with asyncio.timeout(LIST_SECONDS):
                output, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            return frozenset()
        hosts = sorted(
            {
                host.removeprefix("www.").lower()
                for host in _EXAMPLE.findall(output.decode(errors="replace"))
                if "." in host and "example" not in host
            }
        )
        fresh = self._cache.with_suffix(".new")
        await asyncio.to_thread(fresh.write_text, json.dumps(hosts))
        await asyncio.to_thread(fresh.replace, self._cache)
        return frozenset(hosts)


def _within(host: str, sites: frozenset[str]) -> bool:
    labels = host.split(".")
    return any(".".join(labels[index:]) in sites for index in range(len(labels) - 1))
