"""yt-dlp, one forked process a job."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Self

import msgspec
import structlog

from proto.job import EngineName, Failure, FailureKind
from proto.storage import About
from services.job.engines import EngineFailed, Fetch, FetchedFile, Observer, sandbox
from services.job.engines.options import conflict
from services.job.engines.runners import Lost, Runners

log = structlog.get_logger()

IDLE_SECONDS = 60.0
SILENT_SECONDS = 900.0
"""Without a word from a runner. Merging a long film says nothing for minutes."""


class YtdlpEngine:
    name: EngineName = "ytdlp"

    def __init__(self, cache: Path, *, ffmpeg: Path | None = None, idle: float = IDLE_SECONDS) -> None:
        """`idle`: seconds after which the process that forks the runners goes away."""
        self._cache = cache
        self._ffmpeg = ffmpeg
        self._idle = idle
        self._runners: Runners | None = None

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._cache.mkdir, parents=True, exist_ok=True)
        ffmpeg = self._ffmpeg or await asyncio.to_thread(sandbox.ffmpeg, self._cache)
        self._runners = Runners(self._cache, ffmpeg, self._idle)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runners is not None:
            await self._runners.stop()

    @property
    def zygote(self) -> int | None:
        """Process id, while there is one."""
        return self._runners.pid if self._runners else None

    async def suitable(self, url: str) -> bool:
        """Whether a site of its own, not the generic extractor, claims the link."""
        assert self._runners is not None
        for _ in range(2):
            try:
                return await self._runners.suitable(url)
            except Lost:
                continue
        return False

    async def fetch(self, fetch: Fetch, observer: Observer) -> None:
        if not fetch.url.lower().startswith(("http://", "https://")) or "__youtubedl_smuggle" in fetch.url:
            raise _failed("permanent", "bad_link", "only http and https links are taken")
        if (wrong := conflict(fetch.options)) is not None:
            raise _failed("permanent", "bad_options", wrong)
        for _ in range(2):
            try:
                await self._run(fetch, observer)
            except Lost:
                continue
            return
        raise _failed("transient", "engine_lost", "the downloader could not be started")

    async def inspect(self, url: str, proxy: str, work: Path, cookies: Path | None = None) -> dict[str, Any]:
        """What is behind a link, in the fields of `proto.worker.LinkInfo`. Raises EngineFailed. Its process is gone
        when this ends, however it ends."""
        assert self._runners is not None
        request = {
            "inspect": True,
            "url": url,
            "proxy": proxy,
            "work": str(work),
            "cookies": str(cookies) if cookies else None,
        }
        for _ in range(2):
            try:
                async with self._runners.run(request) as reader:
                    return await _inspected(reader)
            except Lost:
                continue
        raise _failed("transient", "engine_lost", "the downloader could not be started")

    async def _run(self, fetch: Fetch, observer: Observer) -> None:
        assert self._runners is not None
        async with self._runners.run(
            {
                "url": fetch.url,
                "proxy": fetch.proxy,
                "work": str(fetch.work),
                "known": sorted(fetch.known),
                "archive": str(fetch.archive) if fetch.archive else None,
                "allowed": None if fetch.allowed is None else sorted(fetch.allowed),
                "options": msgspec.to_builtins(fetch.options),
                "cookies": str(fetch.cookies) if fetch.cookies else None,
            }
        ) as reader:
            started = False
            while True:
                try:
                    async with asyncio.timeout(SILENT_SECONDS):
                        line = await reader.readline()
                except TimeoutError as error:
                    raise _failed("transient", "stalled", "the downloader fell silent") from error
                except ConnectionError:
                    line = b""
                if not line and not started:
                    raise Lost
                if not line:
                    raise _failed("transient", "engine_lost", "the downloader ended without a word")
                started = True
                if await _heard(json.loads(line), fetch, observer):
                    return


async def _inspected(reader: asyncio.StreamReader) -> dict[str, Any]:
    started = False
    while line := await reader.readline():
        told = json.loads(line)
        match told["t"]:
            case "info":
                found: dict[str, Any] = told["info"]
                return found
            case "failed":
                raise EngineFailed(msgspec.convert(told["failure"], Failure))
            case "crashed":
                await log.aerror("runner.crashed", trace=told["trace"])
                raise _failed("transient", "engine_error", "the link could not be looked at")
            case _:
                started = True
    if not started:
        raise Lost
    raise _failed("transient", "engine_lost", "the downloader ended without a word")


async def _heard(told: dict[str, Any], fetch: Fetch, observer: Observer) -> bool:
    """Whether that was the last word. Raises EngineFailed."""
    match told.pop("t"):
        case "resolved":
            await observer.resolved(**told)
        case "progress":
            observer.progress(**told["news"])
        case "processing":
            await observer.processing()
        case "skipped":
            await observer.skipped(told["key"])
        case "file":
            await observer.finished(_file(told, fetch))
        case "item_failed":
            await observer.item_failed(told["key"], msgspec.convert(told["failure"], Failure))
        case "failed":
            raise EngineFailed(msgspec.convert(told["failure"], Failure))
        case "crashed":
            await log.aerror("runner.crashed", trace=told["trace"])
            raise _failed("transient", "engine_error", "the download failed")
        case "done":
            return True
    return False


def _file(told: dict[str, Any], fetch: Fetch) -> FetchedFile:
    path = Path(told["path"]).resolve()
    if not path.is_relative_to(fetch.work.resolve()):
        raise _failed("permanent", "outside", "the downloader wrote outside its folder")
    return FetchedFile(
        key=told["key"],
        site=told.get("site"),
        about=msgspec.convert(told["about"], About),
        path=path,
        name=told["name"],
        size=told["size"],
        media_type=told["media_type"],
    )


def _failed(kind: FailureKind, code: str, message: str) -> EngineFailed:
    return EngineFailed(Failure(kind=kind, code=code, message=message))
