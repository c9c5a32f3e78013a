"""Starts the process that speaks to object storage when there is something to say, and ends it when there is not."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec
import structlog

from libs.egress.policy import EgressPolicy
from libs.egress.proxy import EgressProxy
from services.storage.targets.asks import Answer, Asks, Stop

log = structlog.get_logger()

IDLE_SECONDS = 60.0
GRACE_SECONDS = 8.0
"""For an ask that was told to stop; longer than the other end takes."""
LINE_LIMIT = 1 << 20

_ROOT = str(Path(__file__).parents[3])
_USER = "objects"
_Result = TypeVar("_Result")


class Lost(Exception):
    """The process ended before it answered."""


class Mover:
    """One for a service. While entered it holds the proxy; the process comes and goes."""

    def __init__(self, policy: EgressPolicy, idle: float = IDLE_SECONDS) -> None:
        self.policy = policy
        self._proxy = EgressProxy(policy)
        self._idle = idle
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._number = 0
        self._kept: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._proxy.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        while self._kept:
            await asyncio.wait(self._kept)
        await self._end()
        await self._proxy.__aexit__()

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return None if self._process is None else self._process.pid

    def number(self) -> int:
        self._number += 1
        return self._number

    async def ask(self, ask: Asks, seconds: float) -> Answer:
        """Raises TimeoutError, Lost. When that happens or the caller is cancelled, the work has been told to stop, and
        was waited for, so that what it left can be removed."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[ask.number] = answer
        try:
            await self._say(ask)
            async with asyncio.timeout(seconds):
                return await asyncio.shield(answer)
        except (TimeoutError, asyncio.CancelledError):
            await asyncio.shield(self.keep(self._stopped(ask.number, answer)))
            raise
        finally:
            self._waiting.pop(ask.number, None)
            self._rest()

    def keep(self, work: Coroutine[Any, Any, _Result]) -> asyncio.Task[_Result]:
        """It is finished before the mover ends, whatever becomes of the caller."""
        task = asyncio.get_running_loop().create_task(work)
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)
        return task

    async def _stopped(self, number: int, answer: asyncio.Future[Answer]) -> None:
        with suppress(Lost, TimeoutError):
            await self._say(Stop(number=number))
            async with asyncio.timeout(GRACE_SECONDS):
                await asyncio.shield(answer)

    async def _say(self, ask: Asks) -> None:
        async with self._starting:
            if self._timer is not None:
                self._timer.cancel()
            if self._process is None or self._process.returncode is not None or self._listening is None:
                self._process = await self._start()
                self._listening = asyncio.get_running_loop().create_task(self._listen(self._process))
            pipe = self._process.stdin
        assert pipe is not None
        try:
            pipe.write(msgspec.json.encode(ask) + b"\n")
            await pipe.drain()
        except OSError as error:
            raise Lost from error

    async def _start(self) -> asyncio.subprocess.Process:
        proxy = self._proxy.grant(_USER)
        kept = {name: os.environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ}
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.storage.targets.moving",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            limit=LINE_LIMIT,
            env={"PYTHONPATH": _ROOT, "LANG": "C.UTF-8", "http_proxy": proxy, "https_proxy": proxy, **kept},
        )

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            answer = msgspec.json.decode(line, type=Answer)
            waiting = self._waiting.get(answer.number)
            if waiting is not None and not waiting.done():
                waiting.set_result(answer)
        self._listening = None
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(Lost())
        if await process.wait() != 0:
            log.warning("objects.process_ended", status=process.returncode)

    def _rest(self) -> None:
        if not self._waiting:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(self._idle, lambda: self.keep(self._end(idle=True)))

    async def _end(self, *, idle: bool = False) -> None:
        async with self._starting:
            if idle and self._waiting:
                return
            if self._timer is not None:
                self._timer.cancel()
            process, self._process = self._process, None
            listening, self._listening = self._listening, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
        if listening is not None:
            await listening
