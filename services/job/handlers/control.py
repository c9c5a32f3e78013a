"""What its owner asks of a job."""

from __future__ import annotations

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
from services.job.handlers.deciding import changed, decided
from services.job.shares import Shares

_encode = msgspec.json.Encoder().encode


async def cancel_job(command: CancelJob, call: Call, ledger: Ledger, bus: Bus, shares: Shares) -> Answer:
    job, position = await changed(command, domain.cancel, call, ledger)
    await _stop(job, "cancel", bus, shares)
    return Answer(position=position)


async def pause_job(command: PauseJob, call: Call, ledger: Ledger, bus: Bus, shares: Shares) -> Answer:
    job, position = await changed(command, domain.pause, call, ledger)
    await _stop(job, "pause", bus, shares)
    return Answer(position=position)


async def _stop(job: domain.Job, wanted: Wanted, bus: Bus, shares: Shares) -> None:
    """Second to the event on purpose: a signal that gets lost is repeated by the next progress reply."""
    await bus.signal(f"ctl.job.{job.job_id}", _encode(Control(job_id=job.job_id, wanted=wanted)))
    await shares.deal(job.owner)


async def resume_job(command: ResumeJob, call: Call, ledger: Ledger) -> Answer:
    return await decided(command, domain.resume, call, ledger)


async def retry_job(command: RetryJob, call: Call, ledger: Ledger) -> Answer:
    return await decided(command, domain.retry, call, ledger)


async def prioritise_job(command: PrioritiseJob, call: Call, ledger: Ledger) -> Answer:
    return await decided(command, domain.prioritise, call, ledger)


async def delete_files(command: DeleteJobFiles, call: Call, ledger: Ledger) -> Answer:
    """Only the decision: storage hears of it and does it."""
    return await decided(command, domain.delete_files, call, ledger)
