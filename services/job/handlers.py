"""One function per command or query of the job service; the routing table is at the foot."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg
import msgspec
from msgspec.structs import replace

from libs.bus import Bus
from libs.calls import Answer, Call
from libs.database import Connection
from libs.egress.links import BadLink, check_link
from libs.egress.policy import EgressPolicy
from libs.eventstore import EventStore, Exact, Write
from libs.eventstore.projection import Applied
from libs.message import Refusal, Refused
from proto.auth import LimitsSet
from proto.job import (
    ArchivePage,
    BadRequest,
    BatchStarted,
    CancelJob,
    ClaimAttempt,
    Claimed,
    Control,
    DeleteJobFiles,
    HistoryEntry,
    IdempotencyMismatch,
    ListArchived,
    LoseWorker,
    PauseJob,
    PrioritiseJob,
    Progress,
    ProgressReply,
    ReadHistory,
    ReadUsage,
    Renamed,
    RenameJobs,
    ReportCompleted,
    ReportFailed,
    ReportInterrupted,
    ReportItem,
    ReportProgress,
    ReportStage,
    Request,
    ReserveStorage,
    ResumeJob,
    RetryJob,
    StartBatch,
    SubmitJobs,
    Submitted,
    Usage,
    Wanted,
)
from services.job import domain, views
from services.job.allowances import Allowances
from services.job.commit import Built, Ledger, Remembered
from services.job.domain import batches, quota
from services.job.engines.options import conflict
from services.job.engines.presets import Presets, UnknownPreset
from services.job.leases import Leases
from services.job.shares import Shares
from services.job.submitting import submit_once, written
from services.job.views import Taken

AT_ONCE = 500
"""Jobs of a batch that are let go together: they share commits."""
ARCHIVE_PAGE = 2000
"""Keys; at their longest they are still below what one message may carry."""

_encode = msgspec.json.Encoder().encode


async def submit_jobs(
    command: SubmitJobs,
    call: Call,
    ledger: Ledger,
    store: EventStore,
    policy: EgressPolicy,
    allowances: Allowances,
    duplicates: timedelta,
    presets: Presets,
) -> Answer:
    """`duplicates` is how long after a submission the same again is given its job, where the dialect wants that."""
    command = _with_presets(command, presets)
    for index, request in enumerate(command.requests):
        _check(index, request, policy)
    request_hash = hashlib.sha256(call.body).digest()
    if call.command_id is not None:
        earlier = await store.recall(call.command_id)
        if earlier is not None:
            return _repeat(earlier.request_hash, earlier.outcome, request_hash)
    if (exceeded := await allowances.full(command.owner)) is not None:
        raise Refused(exceeded)
    if command.reuse and call.command_id is None:
        submitted, position = await submit_once(command, call.meta, ledger, duplicates)
        return Answer(submitted, position)
    at = ledger.clock()
    outcome: list[Submitted] = []

    def build(numbers: tuple[int, ...]) -> Built:
        built = written(command, numbers, call.meta, at)
        outcome[:] = [Submitted(job_ids=tuple(request.job_id for request in command.requests), numbers=numbers)]
        if call.command_id is None:
            return built
        return msgspec.structs.replace(built, remember=Remembered(call.command_id, request_hash, _encode(outcome[0])))

    position = await ledger.submit(len(command.requests), build)
    return Answer(outcome[0], position)


def _with_presets(command: SubmitJobs, presets: Presets) -> SubmitJobs:
    requests = []
    for index, request in enumerate(command.requests):
        try:
            options = presets.applied(request.options)
        except UnknownPreset as unknown:
            message = f"there is no preset called {unknown}"
            raise Refused(
                BadRequest(message=message, index=index, code="unknown_preset", choices=presets.names)
            ) from unknown
        requests.append(request if options is request.options else replace(request, options=options))
    return replace(command, requests=tuple(requests))


def _check(index: int, request: Request, policy: EgressPolicy) -> None:
    links = [request.url, *request.options.fallback_urls]
    if request.options.webhook_url is not None:
        links.append(request.options.webhook_url)
    if (wrong := conflict(request.options)) is not None:
        raise Refused(BadRequest(message=wrong, index=index, code="bad_options"))
    try:
        for link in links:
            check_link(link, policy)
    except BadLink as bad:
        raise Refused(BadRequest(message=str(bad), index=index, code=bad.code)) from bad


def _repeat(known_hash: bytes, outcome: bytes, request_hash: bytes) -> Answer:
    if known_hash != request_hash:
        raise Refused(IdempotencyMismatch(message="this key was used before for a different request"))
    first = msgspec.json.decode(outcome, type=Submitted)
    return Answer(replace(first, replayed=True))


async def cancel_job(command: CancelJob, call: Call, ledger: Ledger, bus: Bus) -> Answer:
    _, position = await ledger.change(
        command.job_id, lambda job: domain.cancel(job, command, ledger.clock()), call.meta
    )
    await _control(bus, command.job_id, "cancel")
    return Answer(position=position)


async def pause_job(command: PauseJob, call: Call, ledger: Ledger, bus: Bus) -> Answer:
    _, position = await ledger.change(command.job_id, lambda job: domain.pause(job, command, ledger.clock()), call.meta)
    await _control(bus, command.job_id, "pause")
    return Answer(position=position)


async def _control(bus: Bus, job_id: UUID, wanted: Wanted) -> None:
    """Second to the event on purpose: a signal that gets lost is repeated by the next progress reply."""
    await bus.signal(f"ctl.job.{job_id}", _encode(Control(job_id=job_id, wanted=wanted)))


async def resume_job(command: ResumeJob, call: Call, ledger: Ledger) -> Answer:
    _, position = await ledger.change(
        command.job_id, lambda job: domain.resume(job, command, ledger.clock()), call.meta
    )
    return Answer(position=position)


async def retry_job(command: RetryJob, call: Call, ledger: Ledger) -> Answer:
    _, position = await ledger.change(command.job_id, lambda job: domain.retry(job, command, ledger.clock()), call.meta)
    return Answer(position=position)


async def prioritise_job(command: PrioritiseJob, call: Call, ledger: Ledger) -> Answer:
    _, position = await ledger.change(
        command.job_id, lambda job: domain.prioritise(job, command, ledger.clock()), call.meta
    )
    return Answer(position=position)


async def delete_files(command: DeleteJobFiles, call: Call, ledger: Ledger) -> Answer:
    """Only the decision: storage hears of it and does it."""
    _, position = await ledger.change(
        command.job_id, lambda job: domain.delete_files(job, command, ledger.clock()), call.meta
    )
    return Answer(position=position)


async def start_batch(command: StartBatch, call: Call, ledger: Ledger, store: EventStore, pool: asyncpg.Pool) -> Answer:
    """The jobs first: a crash in between leaves a held batch, and starting it again starts the rest."""
    batch, version = await _held_batch(command, store)
    async with pool.acquire() as conn:
        held = await views.held_in(conn, batch.batch_id)
    for start in range(0, len(held), AT_ONCE):
        await asyncio.gather(*(_let_go(job_id, call, ledger) for job_id in held[start : start + AT_ONCE]))
    write = Write(
        stream_id=batch.batch_id,
        kind="batch",
        expected=Exact(version),
        events=(BatchStarted(batch_id=batch.batch_id, owner=batch.owner, at=ledger.clock()),),
        meta=call.meta,
        tenant=batch.owner,
    )
    return Answer(len(held), await ledger.submit(0, lambda _: Built((write,), ())))


async def _let_go(job_id: UUID, call: Call, ledger: Ledger) -> None:
    resumed = ResumeJob(owner=None, job_id=job_id)
    with contextlib.suppress(Refused):  # cancelled a moment ago: then there is nothing to let go
        await ledger.change(job_id, lambda job: domain.resume(job, resumed, ledger.clock()), call.meta)


async def rename_jobs(command: RenameJobs, call: Call, ledger: Ledger, store: EventStore) -> Answer:
    batch, _ = await _held_batch(command, store)
    updated, errors, last = 0, [], None
    for one in command.renames:
        try:
            _, position = await ledger.change(
                one.job_id,
                lambda job, name=one.filename: batches.rename(job, batch.batch_id, name, ledger.clock()),  # type: ignore[misc]  # the default binds the loop's value
                call.meta,
            )
        except Refused as refused:
            errors.append(f"{one.job_id}: {refused.refusal.message}")
        else:
            updated, last = updated + 1, position or last
    return Answer(Renamed(updated=updated, errors=tuple(errors)), last)


async def _held_batch(command: StartBatch | RenameJobs, store: EventStore) -> tuple[batches.Batch, int]:
    recorded = await store.load(command.batch_id)
    batch: batches.Batch | None = None
    if recorded and recorded[0].kind == "batch":
        for one in recorded:
            batch = batches.evolve(batch, one.event)
    found = batches.held(batch, command)
    if isinstance(found, Refusal):
        raise Refused(found)
    return found, recorded[-1].version


async def reserve_storage(command: ReserveStorage, call: Call, ledger: Ledger) -> Answer:
    def decide(job: domain.Job, taken: Taken) -> domain.Decision:
        return quota.reserve(job, command, taken.limit, taken.kept + taken.reserved, ledger.clock())

    _, position = await ledger.change_among(command.job_id, decide, call.meta)
    return Answer(position=position)


async def claim_attempt(
    command: ClaimAttempt, call: Call, ledger: Ledger, leases: Leases, allowances: Allowances, shares: Shares
) -> Answer:
    leases.seen(command.worker_id)

    def decide(job: domain.Job) -> domain.Decision:
        return domain.claim(job, command, ledger.clock(), held=leases.runs(job.worker_id, job.job_id))

    job, position = await ledger.change(command.job_id, decide, call.meta)
    leases.claimed(command.worker_id, command.job_id)
    limits = await allowances.of(job.owner)
    claimed = Claimed(
        job_id=job.job_id,
        owner=job.owner,
        attempt=job.attempt,
        url=job.url,
        options=job.options,
        done_items=job.items,
        reserve=limits.storage is not None,
        rate=await shares.of(job.owner, command.worker_id, anew=True),
    )
    return Answer(claimed, position)


async def report_stage(command: ReportStage, call: Call, ledger: Ledger) -> Answer:
    _, position = await ledger.change(
        command.job_id, lambda job: domain.report_stage(job, command, ledger.clock()), call.meta
    )
    return Answer(position=position)


async def report_item(command: ReportItem, call: Call, ledger: Ledger) -> Answer:
    _, position = await ledger.change(
        command.job_id, lambda job: domain.report_item(job, command, ledger.clock()), call.meta
    )
    return Answer(position=position)


async def report_completed(command: ReportCompleted, call: Call, ledger: Ledger) -> Answer:
    _, position = await ledger.change(
        command.job_id, lambda job: domain.report_completed(job, command, ledger.clock()), call.meta
    )
    return Answer(position=position)


async def report_failed(command: ReportFailed, call: Call, ledger: Ledger) -> Answer:
    jitter = random.random()  # noqa: S311 - spreads retries, guards nothing
    _, position = await ledger.change(
        command.job_id, lambda job: domain.report_failed(job, command, ledger.clock(), jitter), call.meta
    )
    return Answer(position=position)


async def report_interrupted(command: ReportInterrupted, call: Call, ledger: Ledger) -> Answer:
    _, position = await ledger.change(
        command.job_id, lambda job: domain.report_interrupted(job, command, ledger.clock()), call.meta
    )
    return Answer(position=position)


async def lose_worker(command: LoseWorker, call: Call, ledger: Ledger, leases: Leases, pool: asyncpg.Pool) -> Answer:
    """The jobs of a worker that is known to be dead go back at once instead of after its lease."""
    leases.lost(command.worker_id)
    async with pool.acquire() as conn:
        held = await views.held_by(conn, command.worker_id)
    for job_id in held:
        await ledger.change(job_id, lambda job: domain.lose_worker(job, command.worker_id, ledger.clock()), call.meta)
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


async def read_history(query: ReadHistory, store: EventStore, ledger: Ledger) -> Answer:
    job = await ledger.read(query.job_id)
    if query.owner is not None and query.owner != job.owner:
        raise Refused(domain.not_found(query.job_id))
    return Answer(
        [
            HistoryEntry(
                version=one.version,
                type=one.type,
                recorded_at=one.recorded_at,
                actor=one.meta.actor,
                data=msgspec.to_builtins(one.event),
            )
            for one in await store.load(query.job_id)
        ]
    )


async def read_usage(query: ReadUsage, pool: asyncpg.Pool) -> Answer:
    async with pool.acquire() as conn:
        limits, taken = await views.limits(conn, query.owner), await views.take(conn, query.owner)
    return Answer(Usage(limits=limits, kept=taken.kept, reserved=taken.reserved))


LIMITS = frozenset({"auth.limits_set"})


async def keep_limits(conn: Connection, batch: Sequence[Applied]) -> None:
    for one in batch:
        if isinstance(one.event, LimitsSet):
            await views.set_limits(conn, one.event.user_id, one.event.limits)


async def list_archived(query: ListArchived, pool: asyncpg.Pool) -> Answer:
    async with pool.acquire() as conn:
        found = await views.archived(
            conn,
            query.owner,
            domain.plain_host(f"//{query.host}"),
            query.after or ("", ""),
            ARCHIVE_PAGE,
            deleted=query.archive == "fetched",
        )
    more = len(found) == ARCHIVE_PAGE
    return Answer(ArchivePage(keys=tuple(key for _, key in found), after=found[-1] if more else None))


HANDLERS = (
    submit_jobs,
    cancel_job,
    pause_job,
    resume_job,
    retry_job,
    prioritise_job,
    delete_files,
    start_batch,
    rename_jobs,
    claim_attempt,
    reserve_storage,
    report_stage,
    report_item,
    report_completed,
    report_failed,
    report_interrupted,
    lose_worker,
    report_progress,
    read_history,
    read_usage,
    list_archived,
)
