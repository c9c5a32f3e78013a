"""Pages of the list of jobs when there are very many. The jobs are copied into the read model behind the gateway's
back: a million jobs that are really done take hours, and the list reads nothing else."""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import UUID

import aiohttp
import asyncpg
import msgspec

from libs.message import new_id
from libs.supervisor import DataFolder
from proto import SERVICES
from proto.auth import ReadUser, User
from proto.job import Options, State, StoredItem
from services.gateway.domain import JobView
from services.gateway.folding import BLOCK
from services.operate import connect
from tests.bench.system import System

JOBS = 1_000_000
PAGES = 200
"""Of each kind."""
STATES: Sequence[State] = (
    "completed", "completed", "completed", "completed", "failed", "completed", "cancelled", "completed", "queued",
)  # fmt: skip
KINDS: tuple[tuple[str, str, Sequence[State]], ...] = (
    ("the first pages", "", ()),
    ("anywhere", "", STATES),
    ("anywhere, completed", "completed", ("completed",)),
    ("anywhere, failed", "failed", ("failed", "cancelled")),
)
"""What, their word for the status, and our states; no states for the first fifty pages."""


async def database(one: System) -> asyncpg.Connection:
    """As the gateway is on it."""
    folder = DataFolder(one.folder)
    socket = next(one.folder.rglob(".s.PGSQL.5432"))
    password = folder.secrets(tuple(SERVICES)).service_passwords["gateway"]
    return await asyncpg.connect(
        host=str(socket.parent),
        user="longshore_gateway",
        password=password,
        database="longshore",
    )


async def administrator(one: System) -> UUID:
    """Whose key a bench uses."""
    async with connect(argparse.Namespace(data=one.folder), {}) as (_, caller):
        return (await caller.query(ReadUser(username="admin"), result=User)).user_id


def rows(owner: UUID, begun: datetime) -> Iterator[tuple[object, ...]]:
    encode = msgspec.json.Encoder().encode
    for number in range(1, JOBS + 1):
        job_id, at, state = new_id(), begun + timedelta(seconds=number), STATES[number % len(STATES)]
        item = StoredItem(file_id=job_id, key="http", name=f"{number}.bin", size=100_000, sha256="0" * 64)
        view = JobView(
            job_id=job_id,
            number=number,
            owner=owner,
            dialect="jobs",
            url=f"https://files.example.org/a/folder/{number}.bin",
            options=Options(),
            priority=5,
            state=state,
            submitted_at=at,
            title=f"{number}.bin",
            items=(item,) if state == "completed" else (),
            started_at=at,
            downloading_at=at,
            storing_at=at,
            finished_at=at,
        )
        yield job_id, number, owner, None, state, at, encode(view)


async def fill(conn: asyncpg.Connection, owner: UUID) -> None:
    """The jobs and their tallies, as the gateway would have them, and what autovacuum does after so many."""
    columns = ("job_id", "number", "owner", "batch_id", "state", "submitted_at", "doc")
    begun = datetime.now(UTC) - timedelta(seconds=JOBS)
    await conn.execute("set transaction_timeout = 0")
    every = rows(owner, begun)
    while part := list(islice(every, 20_000)):
        await conn.copy_records_to_table("jobs", schema_name="gateway", records=part, columns=columns)
    await conn.execute(
        "insert into gateway.tallies (owner, state, block, jobs)"
        " select owner, state, number / $1, count(*) from gateway.jobs group by 1, 2, 3",
        BLOCK,
    )
    await conn.execute("vacuum analyze gateway.jobs")


async def measure(one: System, key: str) -> dict[str, tuple[float, float, float]]:
    """By kind of page: p50, p99 and the longest, in seconds, as one client sees them."""
    chance = random.Random(1)
    found = {}
    async with aiohttp.ClientSession(headers={"x-api-key": key}) as session:
        for kind, status, states in KINDS:
            there = sum(STATES.count(state) for state in set(states or STATES)) * (JOBS // len(STATES))
            times = []
            for _ in range(PAGES):
                limit = chance.choice((20, 50, 100))
                offset = chance.randrange(there - limit) if states else chance.randrange(50) * limit
                query = {"limit": limit, "offset": offset} | ({"status": status} if status else {})
                began = time.perf_counter()
                async with session.get(f"{one.url}/jobs", params=query) as answer:
                    page = await answer.json()
                times.append(time.perf_counter() - began)
                assert len(page["jobs"]) == limit, page
                assert page["total"] >= there, page["total"]
            times.sort()
            found[kind] = (statistics.median(times), times[int(PAGES * 0.99)], times[-1])
    return found
