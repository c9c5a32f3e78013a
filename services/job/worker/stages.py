"""What the job service hears of the stages of an attempt."""

from __future__ import annotations

import asyncio
import time

from proto.job import Claimed, ReportStage, StageNote
from services.job.worker.reporting import Reporter

QUICK_SECONDS = 0.2


class Stages:
    """Kept back while the attempt is young: one that is over in a blink reports them with its end, in one commit
    instead of four."""

    def __init__(self, claimed: Claimed, reporter: Reporter) -> None:
        self._claimed = claimed
        self._reporter = reporter
        self._untold: list[StageNote] = []
        self._telling = asyncio.Lock()
        self._began = time.monotonic()

    @property
    def untold(self) -> tuple[StageNote, ...]:
        return tuple(self._untold)

    async def enter(self, note: StageNote) -> None:
        self._untold.append(note)
        if time.monotonic() - self._began >= QUICK_SECONDS:
            await self.tell()

    async def tell(self) -> None:
        """Raises Refused, TimeoutError."""
        async with self._telling:
            while self._untold:
                await self._reporter.send(
                    ReportStage(job_id=self._claimed.job_id, attempt=self._claimed.attempt, note=self._untold[0])
                )
                self._untold.pop(0)
