"""gallery-dl, executed as a program: it is GPL-2.0-only and never imported."""

from __future__ import annotations

import asyncio
import json
import mimetypes
import sys
from pathlib import Path
from typing import Any, Self

from proto.job import EngineName, Failure, FailureKind
from services.job.engines import EngineFailed, Fetch, FetchedFile, Observer, sandbox

SILENT_SECONDS = 600.0
FILE, SKIP = "\x1eF ", "\x1eS "
"""Before the path of a finished and of a passed-over file; no path begins so."""
ERRORS_KEPT = 200

_BITS: tuple[tuple[int, FailureKind, str, str], ...] = (
    (64, "content", "unsupported_url", "nothing that can be downloaded was found behind this link"),
    (16, "auth_required", "auth_required", "the site asks for a login"),
    (8, "content", "challenge", "the site wants to see a person first"),
    (128, "transient", "disk_error", "the files could not be written"),
    (32, "permanent", "bad_options", "the options do not fit this site"),
    (4, "transient", "extraction_failed", "the site's answer could not be used"),
    (1, "transient", "engine_error", "the download failed"),
)
"""Exit status bits, the most telling first."""


class BadInstances(ValueError):
    """LONGSHORE_GALLERY_INSTANCES is `software=https://host,...`."""


class GalleryDlEngine:
    name: EngineName = "gallerydl"

    def __init__(self, cache: Path, instances: str = "") -> None:
        self._cache = cache
        self.instances = parse_instances(instances)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._cache.mkdir, parents=True, exist_ok=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing outlives a fetch."""

    async def fetch(self, fetch: Fetch, observer: Observer) -> None:
        folder = fetch.work / "gallery"
        await asyncio.to_thread(self._prepare, fetch, folder)
        process = await sandbox.spawn(
            [
                sys.executable,
                "-m",
                "gallery_dl",
                "--config-ignore",
                "-c",
                str(fetch.work / "gallery.json"),
                "--",
                fetch.url,
            ],
            cwd=fetch.work,
            env=sandbox.environment(fetch.work, {"PYTHONUNBUFFERED": "1"}),
        )
        ended = asyncio.Event()
        errors: list[str] = []
        reading = asyncio.create_task(_errors(process, errors))
        try:
            found = await self._listen(process, fetch, folder, observer)
            status = await process.wait()
            await reading
            ended.set()
        finally:
            if process.returncode is None:
                waiting = asyncio.create_task(_ended(process, ended))
                await sandbox.end_group(process.pid, ended)
                await waiting
            reading.cancel()
        if status:
            raise _failure(status, errors)
        if not found:
            raise EngineFailed(Failure(kind="content", code="empty", message="there is nothing behind this link"))

    def _prepare(self, fetch: Fetch, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        for key in fetch.known:
            # What was stored has left the folder; an empty file of its name makes the program pass over it.
            path = (folder / key).resolve()
            if path.is_relative_to(folder.resolve()) and not path.exists():
                path.touch()
        config = fetch.work / "gallery.json"
        config.touch(mode=0o600)  # it holds the proxy's password
        config.write_text(json.dumps(self._configuration(fetch, folder)))

    def _configuration(self, fetch: Fetch, folder: Path) -> dict[str, Any]:
        extractor: dict[str, Any] = {
            "base-directory": str(folder),
            "directory": [],
            "proxy": fetch.proxy,
            "timeout": 30,
            "retries": 3,
            "sleep-429": 5,
            "path-restrict": "ascii",
            "path-replace": "_",
            "path-remove": "\x00-\x1f\x7f",
            "skip": True,
            "ytdl": {"enabled": False},
            "archive": None,
            "cookies": None,
            "netrc": False,
            "cache": {"file": str(fetch.work / "cache.sqlite3")},
        }
        if fetch.options.max_items:
            extractor["file-range"] = f"1-{fetch.options.max_items}"
        for software, roots in self.instances.items():
            extractor[software] = {f"local{index}": {"root": root} for index, root in enumerate(roots)}
        downloader: dict[str, Any] = {
            "part": True,
            "retries": 2,
            "timeout": 30,
            "progress": None,
            "ytdl": {"enabled": False},
        }
        if fetch.rate:
            downloader["rate"] = str(fetch.rate)
        return {
            "extractor": extractor,
            "downloader": downloader,
            "cache": {"file": None},
            "output": {
                "mode": {"start": "", "success": FILE + "{}\n", "skip": SKIP + "{}\n"},
                "shorten": False,
                "log": {"level": "error", "format": "{message}"},
                "progress": False,
            },
        }

    async def _listen(self, process: asyncio.subprocess.Process, fetch: Fetch, folder: Path, observer: Observer) -> int:
        """How many files there were, new and passed over."""
        assert process.stdout is not None
        done = passed = 0
        resolved = False
        while True:
            try:
                async with asyncio.timeout(SILENT_SECONDS):
                    line = (await process.stdout.readline()).decode(errors="replace").rstrip("\n")
            except TimeoutError as error:
                raise EngineFailed(
                    Failure(kind="transient", code="stalled", message="the downloader fell silent")
                ) from error
            if not line:
                return done + passed
            if not line.startswith((FILE, SKIP)):
                continue
            if not resolved:
                resolved = True
                await observer.resolved(title=None, total=None, items_total=None)
            path = Path(line[len(FILE) :]).resolve()
            if not path.is_relative_to(folder.resolve()):
                continue
            if line.startswith(SKIP) or path.name in fetch.known:
                passed += 1
                await observer.skipped(path.name)
                continue
            done += 1
            await observer.finished(
                FetchedFile(
                    key=path.name,
                    path=path,
                    name=path.name,
                    size=path.stat().st_size,
                    media_type=mimetypes.guess_type(path.name)[0] or "application/octet-stream",
                )
            )
            observer.progress(done=done, total=None, items_done=done, current=path.name)


def parse_instances(text: str) -> dict[str, list[str]]:
    """Raises BadInstances."""
    found: dict[str, list[str]] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        software, equals, root = part.partition("=")
        if not equals or not software.isidentifier() or not root.startswith(("http://", "https://")):
            raise BadInstances(f"LONGSHORE_GALLERY_INSTANCES: {part!r} is not software=https://host")
        found.setdefault(software, []).append(root.rstrip("/"))
    return found


async def _errors(process: asyncio.subprocess.Process, kept: list[str]) -> None:
    assert process.stderr is not None
    while line := await process.stderr.readline():
        kept.append(line.decode(errors="replace").strip())
        del kept[:-ERRORS_KEPT]


async def _ended(process: asyncio.subprocess.Process, ended: asyncio.Event) -> None:
    await process.wait()
    ended.set()


def _failure(status: int, errors: list[str]) -> EngineFailed:
    text = " ".join(errors)
    if "egress refused" in text or "Tunnel connection failed: 403" in text:
        return EngineFailed(Failure(kind="permanent", code="egress_refused", message="this address may not be reached"))
    if "429" in text:
        return EngineFailed(Failure(kind="rate_limited", code="http_429", message="the server asks to wait"))
    if status & 4 and any(code in text for code in ("404", "410", "could not be found")):
        return EngineFailed(Failure(kind="content", code="gone", message="there is nothing behind this link"))
    for bit, kind, code, message in _BITS:
        if status & bit:
            return EngineFailed(Failure(kind=kind, code=code, message=message))
    return EngineFailed(Failure(kind="transient", code="engine_error", message="the download failed"))
