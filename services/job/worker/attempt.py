"""One attempt in a worker: which engine fetches the link, and what it tells meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from msgspec.structs import replace

from libs.bus import BusError
from libs.calls import Caller, ServiceFailed
from libs.message import Refused
from proto.job import (
    Claimed,
    EngineName,
    Failure,
    Options,
    ProgressReply,
    ReportItem,
    ReportProgress,
    StageNote,
    StoredItem,
    Wanted,
)
from services.job.domain import plain_host
from services.job.engines import Engine, EngineFailed, Fetch, FetchedFile
from services.job.worker.equipment import archive_file, cookie_file
from services.job.worker.handover import Handover, NotKept
from services.job.worker.pacing import Pace
from services.job.worker.reporting import Reporter
from services.job.worker.room import Room
from services.job.worker.stages import QUICK_SECONDS, Stages

log = structlog.get_logger()

PROGRESS_SECONDS = 0.25
WITH_ARCHIVE: frozenset[EngineName] = frozenset({"ytdlp", "gallerydl"})
"""Engines whose items their sites name; a direct file is fetched in any case."""
SKIPS_SECONDS = 2.0
"""Between two reports of how many items were passed over."""
UNKNOWN = frozenset({"not_mine", "unsupported_url"})
"""Codes of a link that no engine knows what to do with."""
ENDED = frozenset({"content", "permanent", "auth_required"})
"""Kinds of failure that trying again would not mend."""

Route = Callable[[str, Options], Awaitable[list[EngineName]]]


class Stopped(Exception):
    """Somebody wants this attempt to end; `wanted` says how."""

    def __init__(self, wanted: Wanted) -> None:
        super().__init__(wanted)
        self.wanted = wanted


class Attempt:
    """An engine's observer for one claimed attempt."""

    def __init__(
        self,
        claimed: Claimed,
        reporter: Reporter,
        caller: Caller,
        work: Path,
        work_root: Path,
        pace: Pace,
        allowed: frozenset[str] | None,
    ) -> None:
        """`pace` is the one of the owner's in this worker; `allowed` as in `Fetch`."""
        self._allowed = allowed
        self.claimed = claimed
        self.pace = pace
        pace.set(claimed.rate)
        self.items: list[StoredItem] = []
        """Stored and not reported."""
        self._kept_any = False
        self.title: str | None = None
        self.engine: EngineName = "http"
        self.work = work
        self._reporter = reporter
        self._caller = caller
        self._stop: asyncio.Future[Wanted] = asyncio.get_running_loop().create_future()
        self._latest: ReportProgress | None = None
        self._news = asyncio.Event()
        self._several = False
        self._stages = Stages(claimed, reporter)
        self._own = frozenset(claimed.done)
        self.skips = 0
        """Items that the user has from earlier jobs."""
        self._skips_told = time.monotonic()
        self._not_kept: Failure | None = None
        self._host = ""
        self._room = Room(claimed, reporter)
        self._handover = Handover(claimed, reporter, work_root, pace)

    def stop(self, wanted: Wanted) -> None:
        if not self._stop.done():
            self._stop.set_result(wanted)

    def _fail(self, error: EngineFailed) -> None:
        if not self._stop.done():
            self._stop.set_exception(error)
            self._stop.exception()  # seen: whoever has finished meanwhile need not look

    async def run(self, engines: Mapping[EngineName, Engine], route: Route, proxy: str) -> None:
        """Raises EngineFailed, Stopped, Refused."""
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._grow_old())
            fetching: asyncio.Future[Any] = asyncio.create_task(self._fetch(engines, route, proxy))
            try:
                await asyncio.wait({fetching, self._stop}, return_when=asyncio.FIRST_COMPLETED)
                stopped = not fetching.done()
            finally:
                fetching.cancel()
                await asyncio.wait({fetching})
                watching.cancel()
        # Outside the group, which would wrap it.
        if stopped:
            raise Stopped(self._stop.result())
        fetching.result()

    async def _fetch(self, engines: Mapping[EngineName, Engine], route: Route, proxy: str) -> None:
        """A link that nobody knows gives way to those that were given with it, one after the other, each in a folder
        of its own. One that is known and fails does not: then the job itself is tried again, or has failed."""
        links = (self.claimed.url, *self.claimed.options.fallback_urls)
        for index, url in enumerate(links):
            work = self.work / f"fallback-{index}" if index else self.work
            work.mkdir(mode=0o700, exist_ok=True)
            try:
                await self._fetch_one(url, work, engines, await route(url, self.claimed.options), proxy)
            except EngineFailed as failed:
                given_up = failed.failure.kind in ENDED if index else failed.failure.code in UNKNOWN
                if not given_up or index == len(links) - 1:
                    raise
            else:
                return

    async def _fetch_one(
        self, url: str, work: Path, engines: Mapping[EngineName, Engine], order: list[EngineName], proxy: str
    ) -> None:
        claimed = self.claimed
        self._host = plain_host(url)
        async with cookie_file(claimed, self._reporter, url, work) as jar:
            fetch = Fetch(
                job_id=claimed.job_id,
                owner=claimed.owner,
                attempt=claimed.attempt,
                url=url,
                options=claimed.options,
                work=work,
                proxy=proxy,
                known=self._own,
                cookies=jar,
                rate=self.pace.rate,
                allowed=self._allowed,
            )
            for index, name in enumerate(order):
                self.engine = name
                try:
                    if name in WITH_ARCHIVE and fetch.archive is None:
                        fetch = replace(fetch, archive=await archive_file(claimed, self._reporter, url, work))
                    await engines[name].fetch(fetch, self)
                except EngineFailed as failed:
                    if failed.failure.code != "not_mine" or index == len(order) - 1:
                        raise
                else:
                    if self._not_kept is not None and not (self._kept_any or self._own or self.skips):
                        raise EngineFailed(self._not_kept)
                    return

    # -- what the engine tells ------------------------------------------------------------------------------------

    def progress(
        self,
        *,
        done: int,
        total: int | None,
        speed: int = 0,
        eta: int | None = None,
        items_done: int = 0,
        items_total: int | None = None,
        current: str | None = None,
    ) -> None:
        self._latest = ReportProgress(
            job_id=self.claimed.job_id,
            attempt=self.claimed.attempt,
            done_bytes=done,
            total_bytes=total,
            speed=speed,
            eta=eta,
            items_done=items_done,
            items_total=items_total,
            current_item=current,
        )
        self._news.set()

    async def resolved(
        self,
        *,
        title: str | None,
        total: int | None,
        items_total: int | None,
        description: str | None = None,
        release_date: str | None = None,
    ) -> None:
        self.title = title or self.title
        self._several = items_total != 1
        await self._room.reserve(total or 0)
        await self._stages.enter(
            StageNote(
                stage="downloading",
                at=datetime.now(UTC),
                engine=self.engine,
                title=title,
                total_bytes=total,
                items_total=items_total,
                description=description,
                release_date=release_date,
            )
        )

    async def processing(self) -> None:
        await self._stages.enter(StageNote(stage="processing", at=datetime.now(UTC)))

    async def _grow_old(self) -> None:
        """There is no progress to tell either of one that is over in a blink: each report is a question to the job
        service and a message to all who watch."""
        await asyncio.sleep(QUICK_SECONDS)  # the age at which an attempt's stages are worth a report of their own
        try:
            await self._stages.tell()
        except (Refused, TimeoutError) as error:
            await log.ainfo("stages.untold", reason=str(error))
            self.stop("stale")
        else:
            await self._watch()

    @property
    def unreported(self) -> tuple[StageNote, ...]:
        return self._stages.untold

    async def finished(self, file: FetchedFile) -> None:
        if not self._several:
            await self._stages.enter(StageNote(stage="storing", at=datetime.now(UTC)))
        await self._room.reserve(file.size, more=True)
        try:
            with self.pace.going(instead=not self._several):
                item = await self._handover.store(file, self._host)
        except NotKept as not_kept:
            self._not_kept = not_kept.failure
            await asyncio.to_thread(file.path.unlink, missing_ok=True)
            await self.item_failed(file.key, not_kept.failure)
            return
        self._room.stored(item.size)
        self._kept_any = True
        if self._several:
            await self._reporter.send(ReportItem(job_id=self.claimed.job_id, attempt=self.claimed.attempt, item=item))
            self._room.settled()
        else:
            self.items.append(item)

    async def skipped(self, key: str) -> None:
        if key in self._own:
            return  # it counts as done
        self.skips += 1
        if time.monotonic() - self._skips_told >= SKIPS_SECONDS:
            self._skips_told = time.monotonic()
            report = ReportItem(job_id=self.claimed.job_id, attempt=self.claimed.attempt, skipped=self.skips)
            await self._reporter.send(report)

    async def item_failed(self, key: str, failure: Failure) -> None:
        await self._reporter.send(
            ReportItem(job_id=self.claimed.job_id, attempt=self.claimed.attempt, failed=(key, failure))
        )

    async def _has_room(self, latest: ReportProgress) -> bool:
        """For what is known of the size now; what comes item by item is reserved so."""
        try:
            await self._room.reserve(max(latest.done_bytes, latest.total_bytes or 0))
        except EngineFailed as failed:
            self._fail(failed)
            return False
        except (Refused, TimeoutError) as error:
            await log.ainfo("room.unasked", reason=str(error))
            self.stop("stale")
            return False
        return True

    async def _watch(self) -> None:
        """Progress at 4 Hz at most; the reply says what is wanted, which covers a control signal that was lost."""
        while True:
            await self._news.wait()
            self._news.clear()
            started = time.monotonic()
            if self._latest is not None:
                if not self._several and not await self._has_room(self._latest):
                    return
                try:
                    reply, _ = await self._caller.command(self._latest, result=ProgressReply, timeout=2.0)
                except (BusError, ServiceFailed, Refused):
                    # Nobody can say otherwise now; the next report will ask again.
                    reply = ProgressReply(wanted="run", rate=self.pace.share)
                self.pace.set(reply.rate)
                if reply.wanted != "run":
                    self.stop(reply.wanted)
                    return
            await asyncio.sleep(max(0.0, PROGRESS_SECONDS - (time.monotonic() - started)))  # the pace of the signal
