"""The worker's side of the zygote: it starts it when it is needed, asks it, and holds the leash of every runner."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from services.job.engines import sandbox

ANSWER_SECONDS = 30.0
"""The first answer waits for the zygote to load everything."""
LINE_LIMIT = 1 << 20
_ROOT = str(Path(__file__).parents[3])


class Lost(Exception):
    """The zygote ended before it took the request. The next one starts another."""


class Runners:
    def __init__(self, cache: Path, ffmpeg: Path | None, idle: float) -> None:
        self._cache = cache
        self._ffmpeg = ffmpeg
        self._idle = idle
        self._control: socket.socket | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """Of the zygote, as long as there is one."""
        return self._process.pid if self._control is not None and self._process and _open(self._control) else None

    async def suitable(self, url: str) -> bool:
        """Raises Lost."""
        answer, theirs = socket.socketpair()
        with answer:
            answer.setblocking(False)
            await self._post({"suitable": url}, theirs)
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    said = await asyncio.get_running_loop().sock_recv(answer, 1)
            except TimeoutError as error:
                raise Lost from error
        if not said:
            raise Lost
        return said == b"1"

    @asynccontextmanager
    async def run(self, request: dict[str, Any]) -> AsyncIterator[asyncio.StreamReader]:
        """What a runner of its own says to the request, line by line. When the block is left by an exception its whole
        group is gone, interrupted first; when it is left in order the group is killed at the zygote's leisure.
        Raises Lost."""
        ours, channel = socket.socketpair()
        leash, theirs = socket.socketpair()
        leash.setblocking(False)
        with leash:
            try:
                await self._post({"run": True}, channel, theirs)
            except BaseException:
                ours.close()
                raise
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=LINE_LIMIT)
            writer.write(json.dumps(request).encode() + b"\n")
            over = False
            try:
                yield reader
                over = True
            finally:
                if not over:
                    await _end(leash, reader)
                writer.close()

    async def stop(self) -> None:
        control, self._control = self._control, None
        process, self._process = self._process, None
        if control is not None:
            control.close()
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _post(self, message: dict[str, Any], *handles: socket.socket) -> None:
        with ExitStack() as passed:
            for handle in handles:
                passed.enter_context(handle)
            async with self._starting:
                if self._control is None or not _open(self._control):
                    await self.stop()
                    self._control = await self._start()
            try:
                socket.send_fds(self._control, [json.dumps(message).encode()], [one.fileno() for one in handles])
            except OSError as error:
                raise Lost from error

    async def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        errors = await asyncio.to_thread((self._cache / "zygote.stderr").open, "wb")
        with theirs, errors:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "services.job.engines.zygote",
                str(theirs.fileno()),
                str(os.getpid()),
                str(self._ffmpeg or ""),
                str(self._idle),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=errors,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                cwd=str(self._cache),
                env=sandbox.environment(self._cache, {"YTDLP_NO_PLUGINS": "1", "PYTHONPATH": _ROOT}),
            )
        return ours


def _open(control: socket.socket) -> bool:
    """Whether the other end is still there. The kernel knows before the child is reaped."""
    try:
        return bool(control.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        return False


async def _end(leash: socket.socket, reader: asyncio.StreamReader) -> None:
    """Interrupt, and PATIENCE later kill. Returns when the zygote has reaped the runner, or died and took it along."""
    with suppress(OSError):
        leash.send(b"i")
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(sandbox.PATIENCE):
            while await reader.read(LINE_LIMIT):
                """A full channel must not keep it from ending."""
    with suppress(OSError):
        leash.shutdown(socket.SHUT_WR)
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(sandbox.REAP_SECONDS):
            await asyncio.get_running_loop().sock_recv(leash, 1)
