"""Commands on behalf of a client, answered when the client can read what it wrote."""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any, TypeVar, overload
from uuid import UUID

from msgspec.structs import replace

from libs.calls import DEADLINE, Caller
from libs.eventstore.projection import Follower
from libs.message import Command, Position, Query
from libs.recent import Recent
from proto.job import Request, SubmitJobs, Submitted
from proto.worker import InspectLink, LinkInfo
from services.gateway.domain import JobView
from services.gateway.views import Jobs

R = TypeVar("R")

VIEW_SECONDS = 0.5
"""How long an answer waits for the view. After that the client still gets its ids, and the overlay answers for them."""
REMEMBERED = 20_000
INSPECT_SECONDS = 30.0
INSPECTED_SECONDS = 60.0
INSPECTED_KEPT = 200


class Ask:
    def __init__(self, caller: Caller, jobs_follower: Follower, jobs: Jobs) -> None:
        self.jobs = jobs
        self._caller = caller
        self._follower = jobs_follower
        self._pending: OrderedDict[UUID, JobView] = OrderedDict()
        self._inspected: Recent[tuple[UUID, str], LinkInfo] = Recent(INSPECTED_SECONDS, INSPECTED_KEPT)

    @overload
    async def job(self, command: Command, *, actor: str, result: type[R]) -> R: ...
    @overload
    async def job(self, command: Command, *, actor: str) -> None: ...
    async def job(self, command: Command, *, actor: str, result: Any = None) -> Any:
        """To the job service; when this returns, the gateway's view has what it did. Raises what Caller raises."""
        value, position = await self._caller.command(command, result=result, actor=actor)
        await self._wait(position)
        return value

    async def submit(self, command: SubmitJobs, *, actor: str, command_id: UUID | None = None) -> Submitted:
        submitted, position = await self._caller.command(command, result=Submitted, actor=actor, command_id=command_id)
        if position is None or not await self._wait(position):
            # Who asks again at once may be answered before the view has what the first made; that of another day may
            # have had more or fewer jobs, and is in the view.
            for request, job_id, number in zip(command.requests, submitted.job_ids, submitted.numbers, strict=False):
                self._remember(command, replace(request, job_id=job_id), number)
        return submitted

    async def other(
        self, message: Command | Query, result: type[R], *, actor: str = "", timeout: float = DEADLINE
    ) -> R:
        value, _ = await self._caller.command(message, result=result, actor=actor, timeout=timeout)
        return value

    async def inspect(self, url: str, owner: UUID) -> LinkInfo:
        """What is behind a link, for one user: sites show each what they may see. The same link asked about again
        within a minute costs nothing. Raises Refused, and the bus's errors when no worker is there."""
        found = self._inspected.get((owner, url))
        if found is None:
            found = await self.other(InspectLink(url=url, owner=owner), LinkInfo, timeout=INSPECT_SECONDS)
            self._inspected.keep((owner, url), found)
        return found

    async def _wait(self, position: Position | None) -> bool:
        return position is None or await self._follower.reached(position, VIEW_SECONDS)

    def _remember(self, command: SubmitJobs, request: Request, number: int) -> None:
        """An accepted job is never absent: until the view has it, it is shown as queued from memory."""
        self._pending[request.job_id] = JobView(
            job_id=request.job_id,
            number=number,
            owner=command.owner,
            dialect=command.dialect,
            url=request.url,
            options=request.options,
            priority=request.priority,
            state="held" if request.held else "queued",
            submitted_at=_born(request.job_id),
            batch_id=command.batch_id,
            retry_of=request.retry_of,
        )
        while len(self._pending) > REMEMBERED:
            self._pending.popitem(last=False)

    async def one(self, job_id: UUID, owner: UUID | None) -> JobView | None:
        view = await self.jobs.one(job_id, owner)
        if view is None and (waiting := self._pending.get(job_id)) is not None:
            return waiting if owner is None or waiting.owner == owner else None
        return view

    async def some(self, job_ids: list[UUID], owner: UUID) -> list[JobView]:
        """In the order asked for."""
        found = {view.job_id: view for view in await self.jobs.some(job_ids, owner)}
        for job_id in job_ids:
            waiting = self._pending.get(job_id)
            if job_id not in found and waiting is not None and waiting.owner == owner:
                found[job_id] = waiting
        return [found[job_id] for job_id in job_ids if job_id in found]


def _born(job_id: UUID) -> datetime:
    """A UUIDv7 begins with its millisecond."""
    return datetime.fromtimestamp((job_id.int >> 80) / 1000, tz=UTC)
