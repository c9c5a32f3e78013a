"""What a slot does with a ticket: claim it, run the attempt, report. Whatever happens, its last act is a report that
was accepted or the certainty that nobody waits for one."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import UUID

import structlog

from libs.calls import Caller
from libs.egress.rate import Rate
from libs.message import Command, Refused
from proto.job import (
    ClaimAttempt,
    Claimed,
    EngineName,
    Failure,
    ReportCompleted,
    ReportFailed,
    ReportInterrupted,
    StaleAttempt,
    Ticket,
    Wanted,
)
from services.job.engines import Engine, EngineFailed
from services.job.worker.attempt import Attempt, Route, Stopped
from services.job.worker.pacing import Pacing
from services.job.worker.reporting import Reporter

log = structlog.get_logger()


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
        allowed: frozenset[str] | None,
    ) -> None:
        """`allowed`: endings of files that are kept, None for all."""
        self._allowed = allowed
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
        self.pacing = Pacing()

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
            claimed = await self._reporter.send(
                ClaimAttempt(job_id=ticket.job_id, attempt=ticket.attempt, worker_id=self.worker_id), Claimed
            )
        except Refused:
            return
        work = self._work_root / str(claimed.job_id)
        pace = self.pacing.of(claimed.owner)
        attempt = Attempt(claimed, self._reporter, self._caller, work, self._work_root, pace, self._allowed)
        self.running[claimed.job_id] = attempt
        try:
            names = structlog.contextvars.bound_contextvars(job=str(claimed.job_id), attempt=claimed.attempt)
            with names, pace.coming():
                await self._run(attempt)
        finally:
            del self.running[claimed.job_id]

    async def _run(self, attempt: Attempt) -> None:
        claimed = attempt.claimed
        job_id, number = claimed.job_id, claimed.attempt
        try:
            attempt.work.mkdir(mode=0o700, parents=True, exist_ok=True)
            await attempt.run(self._engines, self._route, self._grant(claimed.job_id, attempt.pace.rate))
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
        except TimeoutError:
            raise  # the owner of jobs is away for long: the ticket goes back, nobody is to blame
        except Exception as error:  # noqa: BLE001 - the one place where a bug of an engine ends
            # Untold, its ticket would come again and again, then never, and the job would seem to run for ever.
            await log.aexception("attempt.broke")
            failure = Failure(
                kind="transient", code="broke", message=f"the download broke off ({type(error).__name__})"
            )
            await self._last(ReportFailed(job_id=job_id, attempt=number, failure=failure))
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
