"""Events that a service could not apply, in the hands of its operator."""

from __future__ import annotations

import json
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from libs.message import Position, Refused
from libs.supervisor import DataFolder
from proto import SERVICES
from proto.any import DeadLetter, Health, ListDeadLetters, ReadDeadLetter, ReadHealth, RedriveDeadLetter
from proto.job import JobSubmitted
from tests.support.events import submitted
from tests.support.system import longshore


async def put_aside(system, sequence: int, body: bytes) -> None:
    """As a follower does with an event that it can not apply."""
    secrets = DataFolder(system.data).secrets(SERVICES)
    conn = await asyncpg.connect(
        host=str(system.data / "postgres"), database="longshore", user="longshore_gateway",
        password=secrets.service_passwords["gateway"],
    )  # fmt: skip
    headers = {
        "ce-dataschema": f"job.submitted.v{JobSubmitted.schema_version}",
        "Pos": str(Position(1, sequence)),
        "version": "1",
    }
    await conn.execute(
        "insert into gateway.dead_letters (consumer, sequence, type, stream_id, body, headers, error)"
        " values ('gateway.jobs', $1, 'job.submitted', $2, $3, $4, 'ValueError(1)')",
        sequence, uuid4(), body, json.dumps(headers),
    )  # fmt: skip
    await conn.close()


async def test_a_dead_letter_is_listed_shown_applied_and_dropped(system):
    job = submitted(url="https://files.test/put-aside", number=900_001)
    await put_aside(system, 900_001, msgspec.json.encode(job))
    await put_aside(system, 900_002, b'{"type": "job.submitted", "nonsense": true}')

    listed = longshore("dead-letters", data=system.data)
    shown = json.loads(longshore("dead-letters", "show", "gateway.jobs:900001", data=system.data))
    async with system.operator() as (_, caller):
        health = await caller.query(ReadHealth(), result=Health, of="gateway")
        with pytest.raises(Refused, match="it still can not be applied"):
            await caller.command(RedriveDeadLetter(consumer="gateway.jobs", sequence=900_002), of="gateway")
        redriven = longshore("dead-letters", "redrive", "gateway.jobs:900001", data=system.data)
        kept = await caller.query(ListDeadLetters(), result=list[DeadLetter], of="gateway")
        longshore("dead-letters", "drop", "gateway.jobs:900002", data=system.data)
        left = await caller.query(ListDeadLetters(), result=list[DeadLetter], of="gateway")
        with pytest.raises(Refused, match="has put aside no event"):
            await caller.query(
                ReadDeadLetter(consumer="gateway.jobs", sequence=900_002), result=DeadLetter, of="gateway"
            )

    assert "gateway.jobs:900001" in listed
    assert "ValueError(1)" in listed
    assert shown["event"]["url"] == job.url
    assert health.dead_letters == 2
    assert redriven == "gateway.jobs:900001"
    assert job.url in longshore("job", "900001", data=system.data)
    assert [one.sequence for one in kept] == [900_002]
    assert left == []


@pytest.mark.parametrize("service", SERVICES)
async def test_every_service_says_how_far_behind_it_is(system, service: str):
    async with system.operator() as (_, caller):
        health = await caller.query(ReadHealth(), result=Health, of=service)

    assert (health.relay is None) == (service == "gateway")
    assert all(name.startswith(f"{service}.") for name in health.consumers)
    assert health.consumers or service == "auth"
