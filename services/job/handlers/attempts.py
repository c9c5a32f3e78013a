"""What workers ask and report."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime
from functools import partial

import asyncpg
import msgspec

from libs.bus import Bus
from libs.calls import Answer, Call
from libs.message import Refused
from proto.job import (
    ClaimAttempt,
    Claimed,
    LoseWorker,
    Progress,
    ProgressReply,
    ReportCompleted,
    ReportFailed,
    ReportInterrupted,
    ReportItem,
    ReportProgress,
    ReportStage,
    ReserveStorage,
)
from services.job import domain, views
from services.job.allowances import Allowances
from services.job.commit import Ledger
from services.job.domain import quota
from services.job.handlers.deciding import AnyOfJob, changed, decided
from services.job.leases import Leases
from services.job.shares import Shares
from services.job.views import Taken

_encode = msgspec.json.Encoder().encode


async def claim_attempt(
    command: ClaimAttempt, call: Call, ledger: Ledger, leases: Leases, allowances: Allowances, shares: Shares
) -> Answer:
    leases.seen(command.worker_id)

    def decide(job: domain.Job) -> domain.Decision:
        return domain.claim(job, command, ledger.clock(), held=leases.runs(job.worker_id, job.job_id))

    job, position = await ledger.change(command.job_id, decide, call.meta)
    leases.claimed(command.worker_id, command.job_id)
    await shares.deal(job.owner)
    limits = await allowances.of(job.owner)
    claimed = Claimed(
        job_id=job.job_id,
        owner=job.owner,
        attempt=job.attempt,
        url=job.url,
        options=job.options,
        done=tuple(job.items),
        reserve=limits.storage is not None,
        rate=await shares.of(job.owner, command.worker_id),
    )
    return Answer(claimed, position)


async def reserve_storage(command: ReserveStorage, call: Call, ledger: Ledger) -> Answer:
    def decide(job: domain.Job, taken: Taken) -> domain.Decision:
        return quota.reserve(job, command, taken.limit, taken.kept + taken.reserved, ledger.clock())

    _, position = await ledger.change_among(command.job_id, decide, call.meta)
    return Answer(position=position)


async def report_stage(command: ReportStage, call: Call, ledger: Ledger, shares: Shares) -> Answer:
    return await _dealing(command, lambda job, told, _: domain.report_stage(job, told), call, ledger, shares)


async def report_item(command: ReportItem, call: Call, ledger: Ledger) -> Answer:
    return await decided(command, domain.report_item, call, ledger)


async def report_completed(command: ReportCompleted, call: Call, ledger: Ledger, shares: Shares) -> Answer:
    return await _dealing(command, domain.report_completed, call, ledger, shares)


async def report_failed(command: ReportFailed, call: Call, ledger: Ledger, shares: Shares) -> Answer:
    jitter = random.random()  # noqa: S311 - spreads retries, guards nothing
    return await _dealing(command, partial(domain.report_failed, jitter=jitter), call, ledger, shares)


async def report_interrupted(command: ReportInterrupted, call: Call, ledger: Ledger, shares: Shares) -> Answer:
    return await _dealing(command, domain.report_interrupted, call, ledger, shares)


async def _dealing(
    command: AnyOfJob,
    decide: Callable[[domain.Job, AnyOfJob, datetime], domain.Decision],
    call: Call,
    ledger: Ledger,
    shares: Shares,
) -> Answer:
    """What makes an attempt begin or stop to move bytes changes what the owner's other attempts may."""
    job, position = await changed(command, decide, call, ledger)
    await shares.deal(job.owner)
    return Answer(position=position)


async def lose_worker(
    command: LoseWorker, call: Call, ledger: Ledger, leases: Leases, pool: asyncpg.Pool, shares: Shares
) -> Answer:
    """The jobs of a worker that is known to be dead go back at once instead of after its lease."""
    leases.lost(command.worker_id)
    async with pool.acquire() as conn:
        held = await views.held_by(conn, command.worker_id)
    owners = set()
    for job_id in held:
        job, _ = await ledger.change(
            job_id, lambda job: domain.lose_worker(job, command.worker_id, ledger.clock()), call.meta
        )
        owners.add(job.owner)
    for owner in owners:
        await shares.deal(owner)
    return Answer()


async def report_progress(command: ReportProgress, ledger: Ledger, bus: Bus, shares: Shares) -> Answer:
    try:
        job = await ledger.read(command.job_id)
    except Refused:
        return Answer(ProgressReply(wanted="stale"))
    wanted = domain.wanted(job, command.attempt)
    if wanted == "run":
        await bus.signal(
            f"progress.{job.owner}.{job.job_id}",
            _encode(
                Progress(
                    job_id=job.job_id,
                    owner=job.owner,
                    attempt=job.attempt,
                    state=job.state,
                    done_bytes=command.done_bytes,
                    total_bytes=command.total_bytes,
                    items_done=command.items_done,
                    items_total=command.items_total,
                    speed=command.speed,
                    eta=command.eta,
                    current_item=command.current_item,
                    at=ledger.clock(),
                )
            ),
        )
    rate = await shares.of(job.owner, job.worker_id) if job.worker_id is not None else None
    return Answer(ProgressReply(wanted=wanted, rate=rate))
