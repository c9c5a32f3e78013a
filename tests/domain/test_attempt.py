"""What an attempt tells the job service, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from libs.calls import Caller
from libs.message import new_id
from proto.job import (
    ClaimAttempt,
    Claimed,
    EngineName,
    Failure,
    Options,
    ProgressReply,
    ReportFailed,
    ReportProgress,
    ReportStage,
    Ticket,
)
from services.job.engines import Fetch, Observer
from services.job.worker.attempt import Attempt
from services.job.worker.pacing import Pacing
from services.job.worker.reporting import Reporter
from services.job.worker.runner import Worker

OWNER = UUID(int=1)


class Owners:
    """Answers as the services do that a worker asks, and remembers what they were told."""

    def __init__(self) -> None:
        self.told: list[type] = []
        self.progressed = asyncio.Event()

    async def command(self, message: Any, *, result: Any = None, **_: Any) -> tuple[Any, None]:
        if isinstance(message, ReportProgress | ReportStage):
            self.told.append(type(message))
        if isinstance(message, ReportProgress):
            self.progressed.set()
            return ProgressReply(wanted="run"), None
        return [] if result is not None else None, None


class JobService(Owners):
    """Gives its one job to whoever claims it."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[Failure] = []

    async def command(self, message: Any, *, result: Any = None, **options: Any) -> tuple[Any, None]:
        if isinstance(message, ClaimAttempt):
            link = "http://files.test/a"
            return Claimed(job_id=message.job_id, owner=OWNER, attempt=1, url=link, options=Options()), None
        if isinstance(message, ReportFailed):
            self.failures.append(message.failure)
        return await super().command(message, result=result, **options)


class Engine:
    name: EngineName = "http"

    def __init__(self, fetch: Callable[[Observer], Awaitable[None]]) -> None:
        self._fetch = fetch

    async def fetch(self, fetch: Fetch, observer: Observer) -> None:
        del fetch
        await observer.resolved(title="a", total=1000, items_total=1)
        observer.progress(done=500, total=1000)
        await self._fetch(observer)


async def run(owners: Owners, folder: Path, fetch: Callable[[Observer], Awaitable[None]]) -> Attempt:
    claimed = Claimed(job_id=new_id(), owner=OWNER, attempt=1, url="http://files.test/a", options=Options())
    pace = Pacing().of(OWNER)
    caller = cast("Caller", owners)
    attempt = Attempt(claimed, Reporter(caller, new_id()), caller, folder, folder, pace, None)

    async def route(_url: str, _options: Any) -> list[EngineName]:
        return ["http"]

    await attempt.run({"http": Engine(fetch)}, route, "")
    return attempt


async def test_an_attempt_that_is_over_in_a_blink_tells_nothing_on_its_way(tmp_path: Path) -> None:
    """Its stages go with its end."""
    owners = Owners()

    async def turns(_: Observer) -> None:
        for _turn in range(20):
            await asyncio.sleep(0)  # a turn for whoever would report

    attempt = await run(owners, tmp_path, turns)

    assert owners.told == []
    assert [note.stage for note in attempt.unreported] == ["downloading"]


async def test_one_that_takes_longer_tells_its_stage_and_then_how_far_it_is(tmp_path: Path) -> None:
    owners = Owners()

    async def until_told(_: Observer) -> None:
        await owners.progressed.wait()

    attempt = await run(owners, tmp_path, until_told)

    assert owners.told == [ReportStage, ReportProgress]
    assert attempt.unreported == ()


async def test_a_bug_of_an_engine_fails_the_attempt_and_its_ticket_is_done(tmp_path: Path) -> None:
    """Else the job would seem to run for ever, for its worker is alive."""
    owner = JobService()

    async def bug(_: Observer) -> None:
        raise KeyError("title")

    async def route(_url: str, _options: Any) -> list[EngineName]:
        return ["http"]

    caller = cast("Caller", owner)
    worker = Worker(caller, {"http": Engine(bug)}, route, tmp_path, lambda *_: "", lambda _: None, new_id(), None)
    await worker.handle(Ticket(job_id=new_id(), attempt=1))

    assert [(one.kind, one.code) for one in owner.failures] == [("transient", "broke")]
    assert "KeyError" in owner.failures[0].message
    assert worker.running == {}
