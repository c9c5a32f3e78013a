"""What its owner asks of a job."""

from __future__ import annotations

from uuid import UUID

import msgspec

from libs.bus import Bus
from libs.calls import Answer, Call
from proto.job import (
    CancelJob,
    Control,
    DeleteJobFiles,
    PauseJob,
    PrioritiseJob,
    ResumeJob,
    RetryJob,
    Wanted,
)
from services.job import domain
from services.job.commit import Ledger
from services.job.handlers.deciding import decided

_encode = msgspec.json.Encoder().encode


async def cancel_job(command: CancelJob, call: Call, ledger: Ledger, bus: Bus) -> Answer:
    answer = await decided(command, domain.cancel, call, ledger)
    await _control(bus, command.job_id, "cancel")
    return answer


async def pause_job(command: PauseJob, call: Call, ledger: Ledger, bus: Bus) -> Answer:
    answer = await decided(command, domain.pause, call, ledger)
    await _control(bus, command.job_id, "pause")
    return answer


async def _control(bus: Bus, job_id: UUID, wanted: Wanted) -> None:
    """Second to the event on purpose: a signal that gets lost is repeated by the next progress reply."""
    await bus.signal(f"ctl.job.{job_id}", _encode(Control(job_id=job_id, wanted=wanted)))


async def resume_job(command: ResumeJob, call: Call, ledger: Ledger) -> Answer:
    return await decided(command, domain.resume, call, ledger)


async def retry_job(command: RetryJob, call: Call, ledger: Ledger) -> Answer:
    return await decided(command, domain.retry, call, ledger)


async def prioritise_job(command: PrioritiseJob, call: Call, ledger: Ledger) -> Answer:
    return await decided(command, domain.prioritise, call, ledger)


async def delete_files(command: DeleteJobFiles, call: Call, ledger: Ledger) -> Answer:
    """Only the decision: storage hears of it and does it."""
    return await decided(command, domain.delete_files, call, ledger)
