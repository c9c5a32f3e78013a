"""Jobs are submitted: once for every idempotency key, and on wish once for every link."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from uuid import UUID

import asyncpg
import msgspec
from msgspec.structs import replace

from libs.calls import Answer, Call
from libs.egress.links import BadLink, check_link
from libs.egress.policy import EgressPolicy
from libs.eventstore import EventStore, WrongVersion
from libs.message import Refused
from proto.job import (
    BadRequest,
    IdempotencyMismatch,
    ReadSubmission,
    Request,
    SubmitJobs,
    Submitted,
)
from services.job.allowances import Allowances
from services.job.commit import Built, Ledger, Remembered
from services.job.engines.options import conflict
from services.job.engines.presets import Presets, UnknownPreset
from services.job.submitting import fingerprints, submit_once, written

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
    request_hash = bytes.fromhex(command.asked) or hashlib.sha256(call.body).digest()
    if (earlier := await _earlier(store, call.command_id, request_hash)) is not None:
        return Answer(earlier)
    if (exceeded := await allowances.full(command.owner)) is not None:
        raise Refused(exceeded)
    if command.reuse and call.command_id is None:
        submitted, position = await submit_once(command, call.meta, ledger, duplicates)
        return Answer(submitted, position)
    at, prints = ledger.clock(), fingerprints(command)
    outcome: list[Submitted] = []

    def build(numbers: tuple[int, ...]) -> Built:
        built = written(command, prints, numbers, call.meta, at)
        job_ids = tuple(request.job_id for request in command.requests)
        outcome[:] = [Submitted(job_ids=job_ids, numbers=numbers, batch_id=command.batch_id)]
        if call.command_id is None:
            return built
        return msgspec.structs.replace(built, remember=Remembered(call.command_id, request_hash, _encode(outcome[0])))

    try:
        position = await ledger.submit(len(command.requests), build)
    except (asyncpg.UniqueViolationError, WrongVersion):
        # The same was under way twice, and the other was faster.
        if (earlier := await _earlier(store, call.command_id, request_hash)) is None:
            raise
        return Answer(earlier)
    return Answer(outcome[0], position)


async def read_submission(query: ReadSubmission, store: EventStore) -> Answer:
    return Answer(await _earlier(store, query.command_id, bytes.fromhex(query.asked)))


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


async def _earlier(store: EventStore, command_id: UUID | None, request_hash: bytes) -> Submitted | None:
    """What this command was answered before. Raises Refused when its key was for another."""
    earlier = await store.recall(command_id) if command_id is not None else None
    if earlier is None:
        return None
    if earlier.request_hash != request_hash:
        raise Refused(IdempotencyMismatch(message="this key was used before for a different request"))
    return replace(msgspec.json.decode(earlier.outcome, type=Submitted), replayed=True)
