"""How fast the gateway's view of jobs is made anew."""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from libs import bus as buses
from libs.bus import Stream, follow
from libs.database import Target, migrate, open_pool
from libs.eventstore import EventStore, NoStream, Write
from libs.eventstore.projection import Follower, rebuild
from libs.eventstore.relay import Relay
from libs.message import Event, Meta, new_id
from libs.supervisor import DataFolder, Servers
from proto import REGISTRY, SERVICES
from proto import job as p
from proto.topology import CONSUMERS, STREAMS, USERS
from services.gateway import domain, views
from services.serve import migrations


def life(number: int) -> tuple[p.JobSubmitted, tuple[Event, ...]]:
    """The seven events of a job that fetched one file."""
    job_id, owner, at = new_id(), new_id(), datetime.now(UTC)
    common: dict[str, Any] = {"job_id": job_id, "owner": owner, "attempt": 1, "at": at}
    item = p.StoredItem(file_id=new_id(), key="http", name="a.bin", size=100_000, sha256="0" * 64)
    submitted = p.JobSubmitted(
        job_id=job_id,
        number=number,
        owner=owner,
        dialect="jobs",
        url="https://files.test/a/file.bin",
        options=p.Options(),
        priority=5,
        held=False,
        at=at,
    )
    return submitted, (
        submitted,
        p.JobAdmitted(**common),
        p.JobStarted(**common, worker_id=owner),
        p.JobStageEntered(**common, stage="downloading", engine="http", title="a.bin", total_bytes=100_000),
        p.JobStageEntered(**common, stage="storing"),
        p.JobItemCompleted(**common, item=item),
        p.JobCompleted(**common, engine="http", items_done=1, items_skipped=0, items_failed=0, size=100_000),
    )


async def rate(wanted: int) -> tuple[int, float]:
    """(events, seconds)."""
    import asyncio  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as made:
        folder = DataFolder(Path(made) / "data")
        with folder.lock():
            async with Servers.run(folder, SERVICES, USERS) as servers:
                for name in ("job", "gateway"):
                    await migrate(Target(servers.database_urls[name], name, migrations(name)))
                topology = await buses.open(servers.nats_url, user="topology", seed=servers.nats_seeds["topology"])
                await buses.ensure_topology(topology, STREAMS, CONSUMERS)
                pool = await open_pool(servers.database_urls["job"], "job")
                wake = asyncio.Event()
                store = EventStore(pool, "job", REGISTRY, wake.set)
                bus = await buses.open(servers.nats_url, user="job", seed=servers.nats_seeds["job"])
                relay = asyncio.create_task(
                    Relay(store, Stream(bus, "EV_JOB"), url=servers.database_urls["job"], wake=wake).run()
                )
                numbers = count(1)
                for _ in range(wanted // 700):
                    async with store.transaction() as tx:
                        await tx.append(
                            [
                                Write(
                                    stream_id=opened.job_id,
                                    kind="job",
                                    expected=NoStream(),
                                    events=events,
                                    meta=Meta(correlation=new_id()),
                                )
                                for opened, events in (life(next(numbers)) for _ in range(100))
                            ]
                        )
                gateway = await buses.open(servers.nats_url, user="gateway", seed=servers.nats_seeds["gateway"])
                reading = await open_pool(servers.database_urls["gateway"], "gateway")
                follower = Follower(
                    "gateway.jobs",
                    reading,
                    "gateway",
                    lambda after: follow(gateway, "EV_JOB", after),
                    REGISTRY,
                    domain.WANTED,
                    views.apply,
                    commit=views.commit,
                )
                events = wanted // 700 * 700
                running = asyncio.create_task(follower.run())
                await follower.passed(events)
                running.cancel()
                await asyncio.wait({running})
                began = time.perf_counter()
                await rebuild(follower, views.TABLES, events)
                elapsed = time.perf_counter() - began
                relay.cancel()
                for one in (pool, reading):
                    await one.close()
                for connection in (topology, bus, gateway):
                    await connection.close()
                return events, elapsed
