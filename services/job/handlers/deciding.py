"""A command that is one decision about one job."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol, TypeVar
from uuid import UUID

from libs.calls import Answer, Call
from libs.message import Position
from services.job.commit import Ledger
from services.job.domain import Decision, Job


class OfJob(Protocol):
    @property
    def job_id(self) -> UUID: ...


AnyOfJob = TypeVar("AnyOfJob", bound=OfJob)


async def changed(
    command: AnyOfJob, decide: Callable[[Job, AnyOfJob, datetime], Decision], call: Call, ledger: Ledger
) -> tuple[Job, Position | None]:
    """The job after it."""
    return await ledger.change(command.job_id, lambda job: decide(job, command, ledger.clock()), call.meta)


async def decided(
    command: AnyOfJob, decide: Callable[[Job, AnyOfJob, datetime], Decision], call: Call, ledger: Ledger
) -> Answer:
    _, position = await changed(command, decide, call, ledger)
    return Answer(position=position)
