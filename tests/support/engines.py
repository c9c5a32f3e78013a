"""What tests of foreign engines share: an observer that keeps what it heard, a site behind a proxy, and waiting for
processes to end."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
from aiohttp import web

from libs.egress.policy import EgressPolicy
from libs.egress.proxy import EgressProxy
from proto.job import Failure, Options
from services.job.engines import Engine, EngineFailed, Fetch, FetchedFile
from services.job.engines.known import add, begin
from services.job.engines.ytdlp import YtdlpEngine
from tests.site import MediaSite


class Heard:
    """An observer that keeps what it was told. `keep` false takes a finished file away, as storage does."""

    def __init__(self, *, keep: bool = True) -> None:
        self.files: list[FetchedFile] = []
        self.hashes: list[str] = []
        self.skips: list[str] = []
        self.failures: dict[str, Failure] = {}
        self.resolutions: list[tuple[str | None, int | None]] = []
        self.facts: list[tuple[str | None, str | None]] = []
        """Description and release date."""
        self.marks: list[dict[str, Any]] = []
        self.stages: list[str] = []
        self.moved = asyncio.Event()
        self._keep = keep

    def progress(self, **mark: Any) -> None:
        self.marks.append(mark)
        self.moved.set()

    async def resolved(self, *, title: str | None, items_total: int | None, **facts: Any) -> None:
        self.resolutions.append((title, items_total))
        self.facts.append((facts.get("description"), facts.get("release_date")))

    async def processing(self) -> None:
        self.stages.append("processing")

    async def finished(self, file: FetchedFile) -> None:
        self.files.append(file)
        assert file.path.stat().st_size == file.size
        self.hashes.append(hashlib.sha256(file.path.read_bytes()).hexdigest())
        if not self._keep:
            file.path.unlink()

    async def skipped(self, key: str) -> None:
        self.skips.append(key)

    async def item_failed(self, key: str, failure: Failure) -> None:
        self.failures[key] = failure

    @property
    def keys(self) -> list[str]:
        return [file.key for file in self.files]


class Ground:
    """A media site and the proxy that leads to it."""

    def __init__(self, site: MediaSite, proxy: EgressProxy, work: Path) -> None:
        self.site = site
        self._proxy = proxy
        self._work = work

    def fetch(
        self,
        url: str,
        *,
        work: str = "job",
        known: frozenset[str] = frozenset(),
        had: Iterable[str] | None = None,
        **options: Any,
    ) -> Fetch:
        """`known`: what the job itself stored before; `had`: what the user has from other jobs."""
        folder = self._work / work
        folder.mkdir(exist_ok=True)
        archive = folder / "archive.sqlite3" if had is not None else None
        if archive is not None and had is not None:
            begin(archive)
            add(archive, had)
            options = {"archive": "stored", **options}
        return Fetch(
            job_id=UUID(int=1),
            owner=UUID(int=2),
            attempt=1,
            url=url,
            options=Options(**options),
            work=folder,
            proxy=self._proxy.grant(work),
            known=known,
            archive=archive,
        )

    async def failure(self, engine: Engine, url: str, /, *, work: str = "job", **options: Any) -> Failure:
        with pytest.raises(EngineFailed) as caught:
            await engine.fetch(self.fetch(url, work=work, **options), Heard())
        return caught.value.failure


@asynccontextmanager
async def ground(folder: Path, *, also: str = "") -> AsyncIterator[Ground]:
    """`also`: more of LONGSHORE_EGRESS_ALLOW."""
    async with MediaSite.start() as site:
        policy = EgressPolicy.parse(",".join(filter(None, (site.egress_allow, also))))
        async with EgressProxy(policy) as proxy:
            yield Ground(site, proxy, folder)


@asynccontextmanager
async def pages(**texts: tuple[str, str]) -> AsyncIterator[str]:
    """A site of the test's own: name to (type, text). Yields `host=address:port` for LONGSHORE_EGRESS_ALLOW."""

    async def page(request: web.Request) -> web.Response:
        found = texts.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        return web.Response(text=found[1], content_type=found[0])

    app = web.Application()
    app.add_routes([web.get("/{name}", page)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"pages.test=127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def runner_of(engine: YtdlpEngine, fetch: Fetch) -> psutil.Process:
    """The process that is at work on it. Beside it there may be one of an earlier job that nobody has reaped yet."""
    assert engine.zygote is not None
    (runner,) = [one for one in psutil.Process(engine.zygote).children() if _works_in(one, fetch.work)]
    return runner


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return Path(process.cwd()).is_relative_to(folder)
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # it has ended
        return False


async def ended(pid: int, timeout: float = 20) -> None:
    """Until the process is dead, whoever reaps it."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop, dead = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(handle, dead.set)
    try:
        async with asyncio.timeout(timeout):
            await dead.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


def told(pid: int) -> dict[str, str]:
    """The environment that a process was started with."""
    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)
