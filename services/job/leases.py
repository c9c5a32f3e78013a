"""Which workers are alive. A worker's heartbeat is its lease on everything it runs.

Kept in memory on purpose: after a restart every worker is given `GRACE` to be heard, which is shorter than reading a
stale table would be wrong for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

import msgspec

from libs.bus import Message
from proto.job import WorkerHeartbeat

GRACE = 5.0
"""Seconds of silence after which a worker is taken for dead; it sends a heartbeat every second."""

_decode = msgspec.json.Decoder(WorkerHeartbeat).decode


class Leases:
    def __init__(self, arrived: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._arrived = arrived
        self._clock = clock
        self._started = clock()
        self._workers: dict[UUID, tuple[float, int]] = {}

    async def heartbeat(self, message: Message) -> None:
        beat = _decode(message.body)
        slots = 0 if beat.draining else beat.slots
        _, before = self._workers.get(beat.worker_id, (0.0, 0))
        self._workers[beat.worker_id] = (self._clock(), slots)
        if slots > before:
            self._arrived()

    def seen(self, worker_id: UUID) -> None:
        """A claim proves life before the first heartbeat has come."""
        _, slots = self._workers.get(worker_id, (0.0, 0))
        self._workers[worker_id] = (self._clock(), slots)

    def lost(self, worker_id: UUID) -> None:
        self._workers.pop(worker_id, None)

    def alive(self) -> frozenset[UUID]:
        horizon = self._clock() - GRACE
        self._workers = {worker: one for worker, one in self._workers.items() if one[0] >= horizon}
        return frozenset(self._workers)

    def slots(self) -> int:
        alive = self.alive()
        return sum(slots for worker, (_, slots) in self._workers.items() if worker in alive)

    @property
    def settled(self) -> bool:
        """Whether this process has listened long enough to call a silent worker dead."""
        return self._clock() - self._started > GRACE
