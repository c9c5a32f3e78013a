"""Admission: which waiting job gets a worker next, and that no attempt is ever forgotten.

One leader among all job processes, by advisory lock. A ticket is sent after its attempt is committed; tickets can be
lost without loss of work because the sweep reads from Postgres what has no worker and sends them again.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import msgspec
import structlog

from libs import telemetry
from libs.bus import Bus, enqueue
from libs.eventstore import EventStore, WrongVersion
from libs.leading import lead
from libs.message import Meta, Refused
from libs.waking import pass_on
from proto.auth import Window
from proto.job import Ticket
from services.job import domain, views
from services.job.commit import FLOOD_SECONDS, Ledger
from services.job.domain import windows
from services.job.leases import Leases

log = structlog.get_logger()

SWEEP_SECONDS = 2.0
UNCLAIMED_GRACE = timedelta(seconds=8)
CLAIM_GRACE = timedelta(seconds=2)
"""A running attempt younger than this is not taken from its worker: the worker's heartbeat may still be on its way."""
REMEMBERED = timedelta(hours=24)
"""How long a repeated submission is answered as the first time."""
INTAKE_SECONDS = 1.0
"""How long taking jobs goes before starting them."""
AT_ONCE = 500
"""Jobs that are told of their owner's hours in one round, for they share commits."""
LOCK = 0x4A4F_4244  # any constant; advisory locks share one space per database

_encode = msgspec.json.Encoder().encode


class Dispatcher:
    def __init__(
        self, pool: asyncpg.Pool, store: EventStore, ledger: Ledger, bus: Bus, leases: Leases, host_limit: int
    ) -> None:
        self._pool = pool
        self._store = store
        self._ledger = ledger
        self._bus = bus
        self._leases = leases
        self._host_limit = host_limit
        self._hours: dict[UUID, tuple[Window, ...]] | None = None
        self._leads = False

    def woken(self) -> None:
        """Another process has committed, or a wait is over. It is the leader's news alone, who does not pass it on."""
        if self._leads:
            self._ledger.changed.set()

    def forget(self) -> None:
        """Hours of owners have changed."""
        self._hours = None

    async def run(self) -> None:
        await lead("dispatch.interrupted", LOCK, self._pool, self._led, SWEEP_SECONDS / 2, self._beside)

    async def _beside(self, seconds: float) -> None:
        await pass_on(self._ledger.changed, self._tell, seconds)

    async def _tell(self) -> None:
        await self._bus.signal("wake.job", b"")

    async def _led(self, conn: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> None:
        self._leads = True
        try:
            await self._lead(conn)
        finally:
            self._leads = False

    async def _lead(self, conn: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> None:
        loop = asyncio.get_running_loop()
        swept, admitted_at = 0.0, 0.0
        while True:
            self._ledger.changed.clear()
            if loop.time() - swept >= SWEEP_SECONDS:
                self.forget()  # what another process heard first
                await self._sweep(conn)
                swept = loop.time()
            if self._ledger.flooded and loop.time() - admitted_at < INTAKE_SECONDS:
                # A client that hands over its backlog waits for each answer; what it handed over can wait a moment.
                await asyncio.sleep(FLOOD_SECONDS / 2)  # the pace at which the flood is looked at
                continue
            admitted_at = loop.time()
            if await self._admit(conn):
                continue
            try:
                # Woken by a commit of ours, by another process's, or by the scheduler when a wait is over.
                async with asyncio.timeout_at(swept + SWEEP_SECONDS):
                    await self._ledger.changed.wait()
            except TimeoutError:
                continue

    async def _admit(self, conn: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> int:
        shut = await self._shut(conn)
        window = 2 * self._leases.slots()
        if window == 0:
            return 0
        chosen = await views.candidates(conn, self._ledger.clock(), window, self._host_limit, shut)
        if not chosen:
            return 0
        done = await asyncio.gather(*(self._admit_one(job_id) for job_id in chosen))
        return sum(done)

    async def _shut(self, conn: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> dict[UUID, datetime]:
        """Owners whose hours are over, and when the next begin. Their jobs that would be admitted are told so."""
        now = self._ledger.clock()
        if self._hours is None:
            self._hours = await views.windows(conn)
        shut = {
            owner: opens for owner, given in self._hours.items() if (opens := windows.opens_at(given, now)) is not None
        }
        if shut:
            waiting = await views.shut_out(conn, shut, now, AT_ONCE)
            await asyncio.gather(*(self._put_off(job_id, shut[owner]) for job_id, owner in waiting))
        return shut

    async def _put_off(self, job_id: UUID, until: datetime | None) -> None:
        """Until then; None is at once, for one that waits in vain."""
        meta = await _meta(self._ledger, job_id)

        def decide(job: domain.Job) -> domain.Decision:
            at = self._ledger.clock()
            return windows.let_in(job, at) if until is None else windows.shut_out(job, until, at)

        with contextlib.suppress(Refused, WrongVersion):  # it changed since the query: the next round looks again
            await self._ledger.change(job_id, decide, meta)

    async def _admit_one(self, job_id: UUID) -> bool:
        origin = await self._ledger.origin(job_id)
        with telemetry.span("job.admit", link=origin.traceparent, job=str(job_id)):
            meta = Meta(correlation=origin.correlation, actor="service:job", traceparent=telemetry.traceparent())
            try:
                job, position = await self._ledger.change(
                    job_id, lambda job: domain.admit(job, self._ledger.clock()), meta
                )
            except (Refused, WrongVersion):
                return False  # it changed since the query; the next round sees what became of it
            if position is not None:
                await self._send(job_id, job.attempt, job.priority)
            return position is not None

    async def _send(self, job_id: UUID, attempt: int, priority: int, again: str = "") -> None:
        ticket = Ticket(job_id=job_id, attempt=attempt, traceparent=telemetry.traceparent())
        await enqueue(self._bus, f"work.run.download.{priority}", _encode(ticket), f"{job_id}:{attempt}{again}")

    async def _sweep(self, conn: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> None:
        now = self._ledger.clock()
        await self._store.forget(conn, now - REMEMBERED)
        for one in await views.unclaimed(conn, now, UNCLAIMED_GRACE):
            with telemetry.span("job.ticket_again", link=(await self._ledger.origin(one.job_id)).traceparent):
                await self._send(one.job_id, one.attempt, one.priority, again=f":{now.timestamp():.0f}")
        vain = await views.shut_in_vain(conn, await self._shut(conn), now, AT_ONCE)
        await asyncio.gather(*(self._put_off(job_id, None) for job_id in vain))
        if self._leases.settled:
            for job_id, worker_id in await views.held_by_others(conn, self._leases.alive(), now, CLAIM_GRACE):
                await lose(self._ledger, job_id, worker_id)


async def lose(ledger: Ledger, job_id: UUID, worker_id: UUID) -> None:
    try:
        meta = await _meta(ledger, job_id)
        await ledger.change(job_id, lambda job: domain.lose_worker(job, worker_id, ledger.clock()), meta)
    except (Refused, WrongVersion) as refused:  # it changed meanwhile: the next sweep looks again
        await log.ainfo("lease.kept", job_id=str(job_id), reason=str(refused))


async def _meta(ledger: Ledger, job_id: UUID) -> Meta:
    """Of what we do about a job by ourselves: it belongs to the request that submitted it."""
    origin = await ledger.origin(job_id)
    return Meta(correlation=origin.correlation, actor="service:job", traceparent=origin.traceparent)
