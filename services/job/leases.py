"""Which workers are alive, and what they run. A worker's heartbeat is its lease on everything it names.

Kept in memory on purpose. After a restart nobody is called dead before every worker had `GRACE` seconds to be heard; a
table would be out of date for longer than that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

import msgspec

from libs.bus import Message
from proto.job import WorkerHeartbeat

YOUNG = 3.0
"""Seconds after a claim in which the worker's next heartbeat need not name the job yet."""
GRACE = 5.0
"""Seconds of silence after which a worker is taken for dead; it sends a heartbeat every second."""

_decode = msgspec.json.Decoder(WorkerHeartbeat).decode


class Leases:
    def __init__(self, arrived: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._arrived = arrived
        self._clock = clock
        self._started = clock()
        self._workers: dict[UUID, tuple[float, int]] = {}
        self._running: dict[UUID, frozenset[UUID]] = {}
        self._claimed: dict[tuple[UUID, UUID], float] = {}

    async def heartbeat(self, message: Message) -> None:
        beat = _decode(message.body)
        slots = 0 if beat.draining else beat.slots
        _, before = self._workers.get(beat.worker_id, (0.0, 0))
        self._workers[beat.worker_id] = (self._clock(), slots)
        self._running[beat.worker_id] = frozenset(job_id for job_id, _ in beat.running)
        if slots > before:
            self._arrived()

    def seen(self, worker_id: UUID) -> None:
        """A claim proves life before the first heartbeat has come."""
        _, slots = self._workers.get(worker_id, (0.0, 0))
        self._workers[worker_id] = (self._clock(), slots)

    def claimed(self, worker_id: UUID, job_id: UUID) -> None:
        now = self._clock()
        self._claimed = {pair: at for pair, at in self._claimed.items() if at > now - YOUNG}
        self._claimed[worker_id, job_id] = now

    def runs(self, worker_id: UUID | None, job_id: UUID) -> bool:
        """Whether this worker is alive and says, or was just told, that it runs this job."""
        if worker_id is None or worker_id not in self.alive():
            return False
        young = self._claimed.get((worker_id, job_id), 0.0) > self._clock() - YOUNG
        return young or job_id in self._running.get(worker_id, frozenset())

    def lost(self, worker_id: UUID) -> None:
        self._workers.pop(worker_id, None)
        self._running.pop(worker_id, None)

    def alive(self) -> frozenset[UUID]:
        horizon = self._clock() - GRACE
        self._workers = {worker: one for worker, one in self._workers.items() if one[0] >= horizon}
        self._running = {worker: jobs for worker, jobs in self._running.items() if worker in self._workers}
        return frozenset(self._workers)

    def slots(self) -> int:
        alive = self.alive()
        return sum(slots for worker, (_, slots) in self._workers.items() if worker in alive)

    @property
    def settled(self) -> bool:
        """Whether this process has listened long enough to call a silent worker dead."""
        return self._clock() - self._started > GRACE
