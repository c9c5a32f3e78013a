"""A process that does not outlive us, whatever ends us."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Identity(Struct, frozen=True):
    """The account a child runs as."""

    uid: int
    gid: int


class Child:
    """Runs in a session of its own, so that a terminal's Ctrl-C reaches only us, and stopping it stops the group."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process

    @classmethod
    async def start(
        cls,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        cwd: Path | None = None,
        identity: Identity | None = None,
        death_signal: signal.Signals = signal.SIGTERM,
    ) -> Child:
        """`death_signal` is what the kernel sends it when we are killed. `log` is emptied first."""
        parent = os.getpid()

        def prepare() -> None:
            if cwd is not None:
                os.chdir(cwd)  # as ourselves: the other account may be unable to walk there
            if identity is not None:
                os.setgroups([])
                os.setgid(identity.gid)
                os.setuid(identity.uid)
            # After the change of user: the kernel forgets the death signal when credentials change.
            _libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)  # we died before the kernel knew whom to tell

        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(env),
                start_new_session=True,
                preexec_fn=prepare,
            )
        return cls(name, process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    async def wait(self) -> int:
        return await self._process.wait()

    async def wait_or(self, stop: asyncio.Event) -> bool:
        """Whether `stop` was set before the child ended."""
        ended, stopped = asyncio.create_task(self.wait()), asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return stop.is_set()
        finally:
            ended.cancel()
            stopped.cancel()

    async def stop(self, how: signal.Signals = signal.SIGTERM, patience: float = 5.0) -> None:
        """Ask, wait `patience` seconds, then end the whole group."""
        if self.returncode is None:
            self._process.send_signal(how)
            try:
                async with asyncio.timeout(patience):
                    await self.wait()
            except TimeoutError:
                pass
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            await self.wait()
