"""One attempt in a worker: claim, fetch, store, report. Whatever happens, its last act is a report that was accepted
or the certainty that nobody waits for one."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from msgspec.structs import replace

from libs.bus import BusError
from libs.calls import Caller, ServiceFailed
from libs.egress.rate import Rate
from libs.message import Command, Refused
from proto.job import (
    EXTRA,
    ArchivePage,
    ClaimAttempt,
    Claimed,
    EngineName,
    Failure,
    ListArchived,
    ProgressReply,
    ReportCompleted,
    ReportFailed,
    ReportInterrupted,
    ReportItem,
    ReportProgress,
    ReportStage,
    StageNote,
    StaleAttempt,
    StoredItem,
    Ticket,
    Wanted,
)
from proto.storage import NOT_KEPT, FileRejected, StillStoring, StoredFile, StoreFile
from proto.unrestrict_proxy import Cookie, ReadCookies
from services.job import cookies
from services.job.domain import plain_host
from services.job.engines import Engine, EngineFailed, Fetch, FetchedFile, known
from services.job.pacing import Pacing
from services.job.reporting import Reporter
from services.job.room import Room

log = structlog.get_logger()

PROGRESS_SECONDS = 0.25
QUICK_SECONDS = 0.2
STORE_SECONDS = 120.0
COOKIES_SECONDS = 30.0
"""How long cookies are asked for while their owner is away; without them a site may say what is not so."""
ARCHIVE_SECONDS = 30.0
"""How long a page of the archive is asked for; without it what the user has would be fetched again."""
WITH_ARCHIVE: frozenset[EngineName] = frozenset({"ytdlp", "gallerydl"})
"""Engines whose items their sites name; a direct file is fetched in any case."""
SKIPS_SECONDS = 2.0
"""Between two reports of how many items were passed over."""
UNKNOWN = frozenset({"not_mine", "unsupported_url"})
"""Codes of a link that no engine knows what to do with."""
ENDED = frozenset({"content", "permanent", "auth_required"})
"""Kinds of failure that trying again would not mend."""

Route = Callable[[str, Any], Awaitable[list[EngineName]]]


class Stopped(Exception):
    """Somebody wants this attempt to end; `wanted` says how."""

    def __init__(self, wanted: Wanted) -> None:
        super().__init__(wanted)
        self.wanted = wanted


class NotKept(Exception):
    """Storage wants no such file, now or ever; the rest of the job has nothing to do with it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.failure = Failure(kind="content", code=NOT_KEPT, message=message)


class Attempt:
    """An engine's observer for one claimed attempt."""

    def __init__(
        self, claimed: Claimed, reporter: Reporter, caller: Caller, work: Path, work_root: Path, rate: Rate
    ) -> None:
        """`rate` is the one of the owner's in this worker."""
        self.claimed = claimed
        self.rate = rate
        rate.set(claimed.rate)
        self.items: list[StoredItem] = []
        self.title: str | None = None
        self.engine: EngineName = "http"
        self.work = work
        self._reporter = reporter
        self._caller = caller
        self._work_root = work_root
        self._stop: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._latest: ReportProgress | None = None
        self._news = asyncio.Event()
        self._several = False
        self._kept: list[StageNote] = []
        self._telling = asyncio.Lock()
        self._began = time.monotonic()
        self._own = frozenset(item.key for item in claimed.done_items)
        self.skips = 0
        """Items that the user has from earlier jobs."""
        self._skips_told = self._began
        self._not_kept: Failure | None = None
        self._host = ""
        self._room = Room(claimed, reporter)

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
            watching = tasks.create_task(self._watch())
            ageing = tasks.create_task(self._grow_old())
            fetching: asyncio.Future[Any] = asyncio.create_task(self._fetch(engines, route, proxy))
            try:
                await asyncio.wait({fetching, self._stop}, return_when=asyncio.FIRST_COMPLETED)
                stopped = not fetching.done()
            finally:
                fetching.cancel()
                await asyncio.wait({fetching})
                watching.cancel()
                ageing.cancel()
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
        async with self._cookies(url, work) as jar:
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
                rate=self.rate,
            )
            for index, name in enumerate(order):
                self.engine = name
                try:
                    if name in WITH_ARCHIVE and fetch.archive is None:
                        fetch = replace(fetch, archive=await self._archive(url, work))
                    await engines[name].fetch(fetch, self)
                except EngineFailed as failed:
                    if failed.failure.code != "not_mine" or index == len(order) - 1:
                        raise
                else:
                    if self._not_kept is not None and not (self.items or self._own or self.skips):
                        raise EngineFailed(self._not_kept)
                    return

    @asynccontextmanager
    async def _cookies(self, url: str, work: Path) -> AsyncIterator[Path | None]:
        """What the user synced for the link's host, in a file that goes however the attempt ends."""
        host = urlsplit(url).hostname or "-"
        async with AsyncExitStack() as stack:
            try:
                found: list[Cookie] = await self._reporter.send(
                    ReadCookies(owner=self.claimed.owner, host=host), list[Cookie], patience=COOKIES_SECONDS
                )
                path = stack.enter_context(cookies.jar(work / cookies.name(self.claimed.attempt), found))
            except TimeoutError as error:
                failure = Failure(kind="transient", code="cookies_away", message="the cookies can not be read now")
                raise EngineFailed(failure) from error
            except OSError as error:
                failure = Failure(kind="transient", code="io_error", message="the cookies can not be written")
                raise EngineFailed(failure) from error
            yield path

    async def _archive(self, url: str, work: Path) -> Path | None:
        """What the owner has of the link's site, as far as the job wants to hear of it."""
        mode = self.claimed.options.archive
        if mode is None:
            return None
        path, after = work / "archive.sqlite3", None
        try:
            await asyncio.to_thread(known.begin, path)
            while True:
                query = ListArchived(
                    owner=self.claimed.owner, host=urlsplit(url).hostname or "", archive=mode, after=after
                )
                page: ArchivePage = await self._reporter.send(query, ArchivePage, patience=ARCHIVE_SECONDS)
                await asyncio.to_thread(known.add, path, page.keys)
                after = page.after
                if after is None:
                    return path
        except TimeoutError as error:
            failure = Failure(kind="transient", code="archive_away", message="the archive can not be read now")
            raise EngineFailed(failure) from error
        except (OSError, sqlite3.OperationalError) as error:
            failure = Failure(kind="transient", code="io_error", message="the archive can not be written")
            raise EngineFailed(failure) from error

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

    async def resolved(self, *, title: str | None, total: int | None, items_total: int | None) -> None:
        self.title = title or self.title
        self._several = items_total != 1
        await self._room.reserve(total or 0)
        await self._enter(
            StageNote(
                stage="downloading",
                at=datetime.now(UTC),
                engine=self.engine,
                title=title,
                total_bytes=total,
                items_total=items_total,
            )
        )

    async def processing(self) -> None:
        await self._enter(StageNote(stage="processing", at=datetime.now(UTC)))

    async def _enter(self, note: StageNote) -> None:
        """Stages are kept back while the attempt is young: one that is over in a blink reports them with its end, in
        one commit instead of four."""
        self._kept.append(note)
        if time.monotonic() - self._began >= QUICK_SECONDS:
            await self._tell_stages()

    async def _tell_stages(self) -> None:
        async with self._telling:
            while self._kept:
                note = self._kept[0]
                await self._reporter.send(
                    ReportStage(
                        job_id=self.claimed.job_id,
                        attempt=self.claimed.attempt,
                        stage=note.stage,
                        engine=note.engine,
                        title=note.title,
                        total_bytes=note.total_bytes,
                        items_total=note.items_total,
                    )
                )
                self._kept.pop(0)

    async def _grow_old(self) -> None:
        await asyncio.sleep(QUICK_SECONDS)  # the age at which an attempt's stages are worth a report of their own
        try:
            await self._tell_stages()
        except (Refused, TimeoutError) as error:
            await log.ainfo("stages.untold", reason=str(error))
            self.stop("stale")

    @property
    def unreported(self) -> tuple[StageNote, ...]:
        return tuple(self._kept)

    async def finished(self, file: FetchedFile) -> None:
        sha256 = file.sha256 if file.sha256 is not None else await asyncio.to_thread(_sha256, file.path)
        if not self._several:
            await self._enter(StageNote(stage="storing", at=datetime.now(UTC)))
        await self._room.reserve(file.size, more=True)
        try:
            item = await self._store(file, sha256)
        except NotKept as not_kept:
            self._not_kept = not_kept.failure
            await asyncio.to_thread(file.path.unlink, missing_ok=True)
            await self.item_failed(file.key, not_kept.failure)
            return
        self._room.stored(item.size)
        self.items.append(item)
        if self._several:
            await self._reporter.send(ReportItem(job_id=self.claimed.job_id, attempt=self.claimed.attempt, item=item))
            self._room.settled()

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

    async def _store(self, file: FetchedFile, sha256: str) -> StoredItem:
        options = self.claimed.options
        try:
            stored = await self._stored(
                StoreFile(
                    owner=self.claimed.owner,
                    job_id=self.claimed.job_id,
                    key=file.key,
                    path=str(file.path.relative_to(self._work_root)),
                    name=_named(options.filename, file.key, file.name),
                    directory=options.directory,
                    about=file.about if file.about.site else replace(file.about, site=self._host),
                    size=file.size,
                    sha256=sha256,
                    media_type=file.media_type,
                    target_id=options.target_id,
                )
            )
        except Refused as refused:
            if isinstance(refused.refusal, FileRejected) and refused.refusal.code == NOT_KEPT:
                raise NotKept(refused.refusal.message) from refused
            # Whatever it is, the file stays in the work folder: another attempt only has to store it.
            code = getattr(refused.refusal, "code", "storage_full")
            raise EngineFailed(Failure(kind="transient", code=code, message=refused.refusal.message)) from refused
        return StoredItem(
            file_id=stored.file_id,
            key=file.key,
            name=stored.name,
            size=stored.size,
            sha256=stored.sha256,
            media_type=stored.media_type,
            provider=stored.provider,
            bucket=stored.bucket,
            object_key=stored.location if stored.target_id is not None else None,
            site=file.site,
        )

    async def _stored(self, command: StoreFile) -> StoredFile:
        """Raises Refused. What goes far takes long, so storage is asked until it is there."""
        while True:
            try:
                done: StoredFile = await self._reporter.send(command, StoredFile, STORE_SECONDS)
            except Refused as refused:
                if not isinstance(refused.refusal, StillStoring):
                    raise
            else:
                return done

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
                    reply = ProgressReply(wanted="run", rate=self.rate.per_second)
                self.rate.set(reply.rate)
                if reply.wanted != "run":
                    self.stop(reply.wanted)
                    return
            await asyncio.sleep(max(0.0, PROGRESS_SECONDS - (time.monotonic() - started)))  # the pace of the signal


def _named(wanted: str | None, key: str, found: str) -> str:
    """What goes with a film keeps the tongue or the `info` before its ending, or it would be named like its twin."""
    if not wanted:
        return found
    kept = 2 if EXTRA.search(key) else 1
    return wanted + "".join(Path(found).suffixes[-kept:])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Worker:
    """What a slot needs to run a ticket to its end."""

    def __init__(
        self,
        caller: Caller,
        engines: Mapping[EngineName, Engine],
        route: Route,
        work_root: Path,
        grant: Callable[[UUID, Rate], str],
        revoke: Callable[[UUID], object],
        worker_id: UUID,
    ) -> None:
        self.worker_id = worker_id
        self.running: dict[UUID, Attempt] = {}
        self.draining = False
        self._caller = caller
        self._engines = engines
        self._route = route
        self._work_root = work_root
        self._grant = grant
        self._revoke = revoke
        self._reporter = Reporter(caller, self.worker_id)
        self._pacing = Pacing()

    async def control(self, job_id: UUID, wanted: Wanted) -> None:
        """Every worker hears it: what a cancelled job left with one that no longer runs it is removed too."""
        if job_id in self.running:
            self.running[job_id].stop(wanted)
        elif wanted == "cancel":
            await asyncio.to_thread(shutil.rmtree, self._work_root / str(job_id), ignore_errors=True)

    def drain(self) -> None:
        self.draining = True
        for attempt in self.running.values():
            attempt.stop("stale")

    async def handle(self, ticket: Ticket) -> None:
        """Returns when the ticket may be acknowledged."""
        if self.draining or ticket.job_id in self.running:
            raise NotNow
        try:
            claimed: Claimed = await self._reporter.send(
                ClaimAttempt(job_id=ticket.job_id, attempt=ticket.attempt, worker_id=self.worker_id), Claimed
            )
        except Refused:
            return
        work = self._work_root / str(claimed.job_id)
        attempt = Attempt(claimed, self._reporter, self._caller, work, self._work_root, self._pacing.of(claimed.owner))
        self.running[claimed.job_id] = attempt
        try:
            with structlog.contextvars.bound_contextvars(job=str(claimed.job_id), attempt=claimed.attempt):
                await self._run(attempt)
        finally:
            del self.running[claimed.job_id]

    async def _run(self, attempt: Attempt) -> None:
        claimed = attempt.claimed
        attempt.work.mkdir(mode=0o700, parents=True, exist_ok=True)
        job_id, number = claimed.job_id, claimed.attempt
        try:
            await attempt.run(self._engines, self._route, self._grant(claimed.job_id, attempt.rate))
        except EngineFailed as failed:
            await self._last(ReportFailed(job_id=job_id, attempt=number, failure=failed.failure))
            if failed.failure.kind in ("content", "permanent"):
                await asyncio.to_thread(shutil.rmtree, attempt.work, ignore_errors=True)
        except Stopped as stopped:
            await log.ainfo("attempt.stopped", wanted=stopped.wanted)
            if stopped.wanted == "cancel":
                await asyncio.to_thread(shutil.rmtree, attempt.work, ignore_errors=True)
            elif self.draining:
                await self._last(ReportInterrupted(job_id=job_id, attempt=number))
        except Refused as refused:
            # Another attempt is current: this one has nothing left to say, and must not touch the folder they share.
            await log.ainfo("attempt.superseded", reason=refused.refusal.message)
        else:
            await self._last(
                ReportCompleted(
                    job_id=job_id,
                    attempt=number,
                    engine=attempt.engine,
                    title=attempt.title,
                    items=tuple(attempt.items),
                    stages=attempt.unreported,
                    skipped=attempt.skips,
                )
            )
            await asyncio.to_thread(shutil.rmtree, attempt.work, ignore_errors=True)
        finally:
            self._revoke(claimed.job_id)

    async def _last(self, command: Command) -> None:
        try:
            await self._reporter.send(command)
        except Refused as refused:
            if not isinstance(refused.refusal, StaleAttempt):
                await log.awarning("report.refused", reason=refused.refusal.message)


class NotNow(Exception):
    """This worker can not take the ticket."""
