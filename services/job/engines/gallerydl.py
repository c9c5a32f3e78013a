"""gallery-dl, executed as a program: it is GPL-2.0-only and never imported."""

from __future__ import annotations

import asyncio
import json
import mimetypes
import re
import sys
from collections import deque
from pathlib import Path
from typing import Any, Self
from urllib.parse import urldefrag

from libs.names import unkept
from proto.job import EngineName, Failure
from proto.storage import About
from services.job.engines import EngineFailed, Fetch, FetchedFile, Observer, not_kept, sandbox
from services.job.engines.gallery_failures import UNSUPPORTED, exit_failure, failure_in
from services.job.engines.gallery_settings import FILE_MARK, PROGRESS_MARK, SIDECAR, prepare
from services.job.engines.instances import parse_instances
from services.job.engines.known import Archive

SILENT_SECONDS = 600.0
"""Without a word. Sites with slow limits make it wait between requests."""
WORDS_KEPT = 50
WORD_LENGTH = 500
_SCALE = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_AMOUNT = re.compile(r"([\d.]+)([kMGT]?)")


class GalleryDlEngine:
    name: EngineName = "gallerydl"

    def __init__(self, cache: Path, instances: str = "") -> None:
        """`instances`: `software=https://host,...`, sites that it can read but does not know by name.
        Raises BadInstances."""
        self._cache = cache
        self.instances = parse_instances(instances)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._cache.mkdir, parents=True, exist_ok=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing outlives a fetch."""

    async def fetch(self, fetch: Fetch, observer: Observer) -> None:
        """A link that it does not know raises EngineFailed with code `not_mine`, unless it was asked for by name."""
        settings = await asyncio.to_thread(prepare, fetch, self.instances)
        argv = [sys.executable, "-P", "-m", "gallery_dl", "--config-ignore", "-c", str(settings), "--"]
        environment = sandbox.environment(fetch.work, {"PYTHONUNBUFFERED": "1"})
        page = urldefrag(fetch.url).url
        with Archive(fetch.archive) as archive:
            run = _Run(fetch, observer, archive)
            status = await self._run([*argv, fetch.url], fetch, environment, run)
            if status == UNSUPPORTED and page != fetch.url:
                # To some sites what follows `#` is a part of them, to most a place on the page that a browser came by.
                run = _Run(fetch, observer, archive)
                status = await self._run([*argv, page], fetch, environment, run)
            await run.conclude(status)

    async def _run(self, argv: list[str], fetch: Fetch, environment: dict[str, str], run: _Run) -> int:
        """How the program ended. Raises EngineFailed."""
        async with sandbox.program(argv, cwd=fetch.work, env=environment) as process:
            words = sandbox.lines(process)
            while True:
                try:
                    async with asyncio.timeout(SILENT_SECONDS):
                        word = await anext(words, None)
                except TimeoutError as error:
                    raise EngineFailed(
                        Failure(kind="transient", code="stalled", message="the downloader fell silent")
                    ) from error
                if word is None:
                    break
                await run.hear(word)
            return await process.wait()


class _Run:
    """What one run said so far."""

    def __init__(self, fetch: Fetch, observer: Observer, archive: Archive) -> None:
        self._fetch = fetch
        self._observer = observer
        self._folder = (fetch.work / "gallery").resolve()
        self._archive = archive
        self._told: set[str] = set()
        self._stored = 0
        self._bytes = 0
        self._warnings: deque[str] = deque(maxlen=WORDS_KEPT)
        self._errors: deque[str] = deque(maxlen=WORDS_KEPT)
        self._held_back: list[Failure] = []
        self._refused: list[Failure] = []
        self._resolved = False

    async def hear(self, word: str) -> None:
        if word.startswith(FILE_MARK):
            if not self._resolved:
                self._resolved = True
                await self._observer.resolved(title=None, total=None, items_total=None)
            event: dict[str, Any] = json.loads(word[len(FILE_MARK) :])
            if event["key"] in self._told:
                return
            if event["t"] == "unkept":
                await self._unkept(event["key"], event["name"])
            else:
                await self._happened(event["t"], event["key"], _about(event), Path(event["path"]))
        elif word.startswith(PROGRESS_MARK):
            done, speed = (_amount(part) for part in word[len(PROGRESS_MARK) :].split())
            self._observer.progress(done=self._bytes + done, total=None, speed=speed, items_done=self._stored)
        elif word.startswith("error ") and "Failed to download" not in word:
            self._errors.append(word[:WORD_LENGTH])
        else:
            self._warnings.append(word[:WORD_LENGTH])

    async def _happened(self, what: str, key: str, about: About, path: Path) -> None:
        self._told.add(key)
        if key in self._fetch.known or (what == "skipped" and await asyncio.to_thread(self._archive.__contains__, key)):
            await self._observer.skipped(key)
        elif what == "failed":
            await self._failed(key)
        else:  # also a file that was found on disk: an earlier attempt fetched it and did not get to store it
            await self._finished(key, about, *await asyncio.to_thread(_measured, path))
        self._warnings.clear()

    async def _finished(self, key: str, about: About, path: Path, size: int) -> None:
        if not path.is_relative_to(self._folder):
            raise EngineFailed(
                Failure(kind="permanent", code="outside", message="the downloader wrote outside its folder")
            )
        self._stored += 1
        self._bytes += size
        await self._beside(key, about, path)
        await self._observer.finished(
            FetchedFile(
                key=key,
                site=about.site,
                about=about,
                path=path,
                name=path.name,
                size=size,
                media_type=mimetypes.guess_type(path.name)[0] or "application/octet-stream",
            )
        )
        self._observer.progress(done=self._bytes, total=None, items_done=self._stored, current=path.name)

    async def _beside(self, key: str, about: About, path: Path) -> None:
        """Before the file itself: one that is stored is passed over by a later attempt, with what belongs to it."""
        facts = path.with_name(path.name + SIDECAR)
        key = f"{key} metadata"
        if not self._fetch.options.sidecars or not facts.exists():
            return
        if key in self._fetch.known:
            await self._observer.skipped(key)
            return
        await self._observer.finished(
            FetchedFile(
                key=key,
                path=facts,
                name=facts.name,
                size=facts.stat().st_size,
                media_type="application/json",
                about=about,
            )
        )

    async def _failed(self, key: str) -> None:
        failure = failure_in(self._warnings)
        if failure.kind in ("content", "permanent"):
            self._refused.append(failure)
            await self._observer.item_failed(key, failure)
        else:
            self._held_back.append(failure)

    async def _unkept(self, key: str, name: str) -> None:
        why = unkept(name, "", self._fetch.allowed)
        if why is None:
            return  # what the program takes for an ending is none
        self._told.add(key)
        self._refused.append(not_kept(why))
        await self._observer.item_failed(key, self._refused[-1])

    async def conclude(self, status: int) -> None:
        """Raises EngineFailed."""
        got = len(self._told) - len(self._refused) - len(self._held_back)
        if status < 0:
            raise EngineFailed(
                Failure(kind="transient", code="engine_lost", message="the downloader ended without a word")
            )
        if status and (self._errors or not (self._held_back or self._refused)):
            failure = exit_failure(
                status, [*self._warnings, *self._errors], asked_for=self._fetch.options.engine == "gallerydl"
            )
            if failure.kind != "content" or not got:
                raise EngineFailed(failure)
            await self._observer.item_failed("part", failure)
        if self._held_back:
            raise EngineFailed(self._held_back[0])
        if not got:
            raise EngineFailed(
                self._refused[0]
                if self._refused
                else Failure(kind="content", code="empty", message="there is nothing behind this link")
            )


def _about(event: dict[str, Any]) -> About:
    """What a site says may be anything."""
    uploader = event["uploader"] if isinstance(event["uploader"], str) else ""
    return About(site=str(event["site"]), uploader=uploader, date=str(event["date"] or "")[:10])


def _measured(path: Path) -> tuple[Path, int]:
    path = path.resolve()
    return path, path.stat().st_size


def _amount(text: str) -> int:
    """Of bytes, as the program writes them: `117.52k`."""
    match = _AMOUNT.fullmatch(text)
    return int(float(match[1]) * _SCALE[match[2]]) if match else 0
