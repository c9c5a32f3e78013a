"""Servers of an earlier run that are still alive on a folder which is ours now.

They are found by what they are and where they run, not by a pid file: its number may be a stranger's by now, and the
children of a killed server are in no file at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

Step = tuple[signal.Signals, float]
"""A signal, and the seconds it is given to work."""

HARD: tuple[Step, ...] = ((signal.SIGQUIT, 2.0), (signal.SIGKILL, 5.0))


async def end_leftovers(programs: Collection[str], cwd: Path, steps: Sequence[Step]) -> None:
    """The caller holds the folder's lock, so whichever of `programs` runs in `cwd` has nobody left to serve. What else
    runs there, such as somebody's shell, is not touched."""
    await asyncio.to_thread(end_now, programs, cwd, steps)


def end_now(programs: Collection[str], cwd: Path, steps: Sequence[Step]) -> None:
    for how, seconds in steps:
        with ExitStack() as stack:
            handles = list(_alive(programs, cwd, stack))
            if not handles:
                return
            for handle in handles:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, how)
            _wait(handles, seconds)


def _wait(handles: list[int], seconds: float) -> None:
    """Until all have ended; a zombie that nobody reaps has ended too."""
    poll = select.poll()
    for handle in handles:
        poll.register(handle, select.POLLIN)
    deadline, left = time.monotonic() + seconds, len(handles)
    while left and (remaining := deadline - time.monotonic()) > 0:
        for handle, _ in poll.poll(remaining * 1000):
            poll.unregister(handle)
            left -= 1


def _alive(programs: Collection[str], cwd: Path, stack: ExitStack) -> Iterator[int]:
    for name in os.listdir("/proc"):  # noqa: PTH208 - names alone, not a Path for each process of the machine
        if not name.isdecimal() or not _is(name, programs, cwd):
            continue
        try:
            handle = os.pidfd_open(int(name))
        except ProcessLookupError:
            continue
        stack.callback(os.close, handle)
        if _is(name, programs, cwd):  # the number was not given to another between the look and the handle
            yield handle


def _is(pid: str, programs: Collection[str], cwd: Path) -> bool:
    process = Path("/proc", pid)
    try:
        return (process / "comm").read_text().strip() in programs and (process / "cwd").samefile(cwd)
    except OSError:
        return False  # ended meanwhile, a zombie, or another account's
