"""One job of many items, as a gallery reports them: what the last cost beside the first."""

from __future__ import annotations

import asyncio
import tempfile
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from libs.database import Target, migrate, open_pool
from libs.eventstore import EventStore
from libs.eventstore.projection import Applied
from libs.message import Event, Meta, new_id
from libs.supervisor import DataFolder, Servers
from proto import REGISTRY, SERVICES
from proto import job as p
from proto.topology import USERS
from services.gateway import views as shown
from services.job import domain
from services.job.commit import Built, Ledger, opened
from services.job.domain.items import new_items
from services.serve import migrations

META = Meta(correlation=new_id())
LAP = 500
"""Items that are reported one by one, at the start and at the end; those between come together."""


def item(number: int) -> p.StoredItem:
    key = f"mastodon_{number:032}"
    return p.StoredItem(file_id=new_id(), key=key, name=f"{key}.png", size=100_000, sha256="0" * 64, site="don.test")


async def measured(count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as made:
        folder = DataFolder(Path(made) / "data")
        with folder.lock():
            async with Servers.run(folder, SERVICES, USERS) as servers:
                for name in ("job", "gateway"):
                    await migrate(Target(servers.database_urls[name], name, migrations(name)))
                pool = await open_pool(servers.database_urls["job"], "job")
                gateway = await open_pool(servers.database_urls["gateway"], "gateway")
                store = EventStore(pool, "job", REGISTRY, lambda: None)
                ledgers = [Ledger(pool, store), Ledger(pool, store)]
                running = [asyncio.create_task(one.run()) for one in ledgers]
                try:
                    return await _report(ledgers, store, gateway, count)
                finally:
                    for task in running:
                        task.cancel()
                    await pool.close()
                    await gateway.close()


async def _report(ledgers: list[Ledger], store: EventStore, gateway: Any, count: int) -> dict[str, Any]:
    """Every hundredth report goes to another process; behind a queue group it is every other one."""
    job_id, worker, first = new_id(), new_id(), ledgers[0]
    request = p.Request(job_id=job_id, url="https://don.test/@many")
    command = p.SubmitJobs(owner=new_id(), dialect="jobs", requests=(request,))

    def build(numbers: tuple[int, ...]) -> Built:
        (stream,) = (opened(events, META) for events in domain.submit(command, numbers, datetime.now(UTC)))
        return Built([stream[0]], [stream[1]])

    await first.submit(1, build)
    await first.change(job_id, lambda job: domain.admit(job, first.clock()), META)
    claim = p.ClaimAttempt(job_id=job_id, attempt=1, worker_id=worker)
    await first.change(job_id, lambda job: domain.claim(job, claim, first.clock(), held=False), META)
    began = await _lap(ledgers, job_id, 0)
    for start in range(LAP, count - LAP, LAP):
        chunk = tuple(item(number) for number in range(start, start + LAP))
        await first.change(job_id, partial(_stored, chunk, first.clock()), META)
    ended = await _lap(ledgers, job_id, count - LAP)
    events = await store.load(job_id)
    told = time.perf_counter()
    for start in range(0, len(events), 10):
        async with gateway.acquire() as conn, conn.transaction():
            batch = [Applied(one.event, None) for one in events[start : start + 10]]  # type: ignore[arg-type]
            await shown.apply(conn, batch)
    return {"first": began, "last": ended, "view": time.perf_counter() - told}


def _stored(chunk: tuple[p.StoredItem, ...], now: datetime, job: domain.Job) -> list[Event]:
    return new_items(job, chunk, now)


def _reported(report: p.ReportItem, now: datetime, job: domain.Job) -> domain.Decision:
    return domain.report_item(job, report, now)


async def _lap(ledgers: list[Ledger], job_id: UUID, start: int) -> float:
    """Seconds for one report."""
    began = time.perf_counter()
    for number in range(start, start + LAP):
        report = p.ReportItem(job_id=job_id, attempt=1, item=item(number))
        one = ledgers[number % 100 == 99]
        await one.change(job_id, partial(_reported, report, one.clock()), META)
    return (time.perf_counter() - began) / LAP
