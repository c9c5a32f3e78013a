"""An owner's bandwidth, dealt out to the workers that fetch for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID


def share(bandwidth: int, running: Mapping[UUID, int], worker: UUID) -> int:
    """By how many attempts each worker runs: those of one worker share a bucket. Bytes per second, at least one."""
    mine = max(1, running.get(worker, 0))
    total = mine + sum(count for other, count in running.items() if other != worker)
    return max(1, bandwidth * mine // total)
