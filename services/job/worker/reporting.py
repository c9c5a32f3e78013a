"""Reports of a worker: repeated until they are accepted."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar, overload
from uuid import UUID

import structlog

from libs.bus import BusError
from libs.calls import Caller, ServiceFailed
from libs.message import Command, Query

log = structlog.get_logger()
R = TypeVar("R")

REPORT_SECONDS = 600.0
"""How long a report is tried while the job service is away. The worker's heartbeats keep the attempt its own."""


class Reporter:
    """Sends reports until they are accepted. One whose answer was lost is sent again: a second has no effect."""

    def __init__(self, caller: Caller, worker_id: UUID) -> None:
        self._caller = caller
        self.worker_id = worker_id

    @overload
    async def send(
        self, command: Command | Query, result: type[R], timeout: float = ..., patience: float = ...
    ) -> R: ...
    @overload
    async def send(self, command: Command, *, patience: float = ...) -> None: ...
    async def send(
        self, command: Command | Query, result: Any = None, timeout: float = 5.0, patience: float = REPORT_SECONDS
    ) -> Any:
        """Raises Refused at once, TimeoutError when the owner stayed away for `patience` seconds."""
        delay = 0.05
        async with asyncio.timeout(patience):
            while True:
                try:
                    value, _ = await self._caller.command(
                        command, result=result, actor=f"worker:{self.worker_id}", timeout=timeout
                    )
                except (BusError, ServiceFailed) as error:
                    await log.awarning("report.delayed", reason=str(error))
                    await asyncio.sleep(delay)  # back-off while the owner is away
                    delay = min(delay * 2, 2.0)
                else:
                    return value
