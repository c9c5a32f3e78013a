"""Who is alive, and who runs what."""

from __future__ import annotations

from uuid import UUID

import msgspec

from libs.bus import Message
from proto.job import WorkerHeartbeat
from services.job.leases import GRACE, YOUNG, Leases

WORKER, JOB, OTHER = UUID(int=1), UUID(int=2), UUID(int=3)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def beat(leases: Leases, *jobs: UUID, draining: bool = False) -> None:
    said = WorkerHeartbeat(worker_id=WORKER, slots=4, running=tuple((job, 1) for job in jobs), draining=draining)
    await leases.heartbeat(Message("cmd.job.heartbeat", {}, msgspec.json.encode(said)))


async def test_a_worker_runs_what_its_last_heartbeat_named():
    leases = Leases(lambda: None, Clock())
    await beat(leases, JOB)
    named = leases.runs(WORKER, JOB), leases.runs(WORKER, OTHER)
    await beat(leases)

    assert named == (True, False)
    assert not leases.runs(WORKER, JOB)
    assert not leases.runs(None, JOB)


async def test_what_was_just_claimed_counts_before_a_heartbeat_names_it():
    clock = Clock()
    leases = Leases(lambda: None, clock)
    await beat(leases)
    leases.claimed(WORKER, JOB)
    young = leases.runs(WORKER, JOB)
    clock.now += YOUNG + 0.1
    await beat(leases)

    assert young
    assert not leases.runs(WORKER, JOB)


async def test_a_silent_worker_and_one_that_was_reported_dead_run_nothing():
    clock = Clock()
    silent, dead = Leases(lambda: None, clock), Leases(lambda: None, clock)
    await beat(silent, JOB)
    await beat(dead, JOB)
    dead.lost(WORKER)
    clock.now += GRACE + 0.1

    assert not silent.runs(WORKER, JOB)
    assert not dead.runs(WORKER, JOB)
    assert silent.alive() == dead.alive() == frozenset()


async def test_a_draining_worker_offers_no_hands_and_keeps_what_it_runs():
    leases = Leases(lambda: None, Clock())
    await beat(leases, JOB, draining=True)

    assert leases.slots() == 0
    assert leases.runs(WORKER, JOB)
