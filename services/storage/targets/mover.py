"""Starts the process that speaks to object storage when there is something to say, and ends it when there is not."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec
import structlog

from libs.egress.policy import EgressPolicy
from libs.egress.proxy import EgressProxy
from services.storage.targets.asks import Answer, Asks, Left, Pace, Put, Stop, Verify

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


class _Helper:
    """One process, and what it was asked and has not answered yet."""

    def __init__(self, process: asyncio.subprocess.Process, heard: Callable[[Answer], None]) -> None:
        self.process = process
        self.ended = False
        self.waiting: dict[int, asyncio.Future[Answer]] = {}
        self._heard = heard
        self._listening = asyncio.get_running_loop().create_task(self._listen())

    def expect(self, number: int) -> asyncio.Future[Answer]:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.waiting[number] = answer
        return answer

    async def say(self, ask: Asks) -> None:
        """Raises Lost."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(msgspec.json.encode(ask) + b"\n")
            await self.process.stdin.drain()
        except OSError as error:
            raise Lost from error

    async def end(self) -> None:
        assert self.process.stdin is not None
        self.ended = True
        self.process.stdin.close()
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
        await self._listening

    async def _listen(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            answer = msgspec.json.decode(line, type=Answer)
            waiting = self.waiting.get(answer.number)
            if waiting is not None and not waiting.done():
                self._heard(answer)
                waiting.set_result(answer)
        self.ended = True
        for waiting in self.waiting.values():
            if not waiting.done():
                waiting.set_exception(Lost())
        if await self.process.wait() != 0:
            log.warning("objects.process_ended", status=self.process.returncode)


class Mover:
    """Our end: hands asks to the process in `moving.py` and waits for their answers. One for a service; while entered
    it holds the egress proxy, and the process is started when there is something to ask and ended when it is idle."""

    def __init__(self, policy: EgressPolicy, idle: float = IDLE_SECONDS) -> None:
        self.policy = policy
        self._proxy = EgressProxy(policy)
        self._idle = idle
        self._helper: _Helper | None = None
        self._starting = asyncio.Lock()
        self._left: dict[int, Left] = {}
        self._number = 0
        self._kept: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

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
        return None if self._helper is None else self._helper.process.pid

    def number(self) -> int:
        self._number += 1
        return self._number

    def left_by(self, number: int) -> Left:
        """What an ask that was answered, stopped or lost may have left in the storage. To be asked once."""
        return self._left.pop(number, "nothing")

    async def ask(self, ask: Asks, seconds: float) -> Answer:
        """Raises TimeoutError, Lost. When it times out or the caller is cancelled, the work was told to stop, and was
        waited for, so that what it left can be removed."""
        helper = await self._started()
        answer = helper.expect(ask.number)
        if isinstance(ask, Put | Verify):
            self._left[ask.number] = "object"
        try:
            async with asyncio.timeout(seconds):
                await helper.say(ask)
                return await asyncio.shield(answer)
        except (TimeoutError, asyncio.CancelledError):
            await asyncio.shield(self.keep(_stop(helper, ask.number, answer)))
            raise
        finally:
            helper.waiting.pop(ask.number, None)
            self._rest()

    async def pace(self, number: int, rate: int | None) -> None:
        """Of a put that is under way; otherwise nothing happens."""
        helper = self._helper
        if helper is not None and number in helper.waiting:
            with suppress(Lost):  # whoever asked for it hears of that
                await helper.say(Pace(number=number, rate=rate))

    def keep(self, work: Coroutine[Any, Any, _Result]) -> asyncio.Task[_Result]:
        """It is finished before the mover ends, whatever becomes of the caller."""
        task = asyncio.get_running_loop().create_task(work)
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)
        return task

    def _heard(self, answer: Answer) -> None:
        if answer.number in self._left:
            self._left[answer.number] = answer.left

    async def _started(self) -> _Helper:
        async with self._starting:
            if self._timer is not None:
                self._timer.cancel()
            if self._helper is None or self._helper.ended:
                self._helper = _Helper(await self._start(), self._heard)
            return self._helper

    async def _start(self) -> asyncio.subprocess.Process:
        proxy = self._proxy.grant(_USER)
        kept = {name: os.environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ}
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "services.storage.targets.moving",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            limit=LINE_LIMIT,
            env={"PYTHONPATH": _ROOT, "LANG": "C.UTF-8", "http_proxy": proxy, "https_proxy": proxy, **kept},
        )

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._idle, lambda: self.keep(self._end(idle=True)))

    async def _end(self, *, idle: bool = False) -> None:
        async with self._starting:
            if self._timer is not None:
                self._timer.cancel()
            helper = self._helper
            if helper is None or (idle and helper.waiting):
                return
            self._helper = None
        await helper.end()


async def _stop(helper: _Helper, number: int, answer: asyncio.Future[Answer]) -> None:
    if answer.done():
        return
    with suppress(Lost, TimeoutError):
        await helper.say(Stop(number=number))
        async with asyncio.timeout(GRACE_SECONDS):
            await asyncio.shield(answer)
