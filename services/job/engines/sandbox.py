"""How a program that is not ours runs: in a group of its own, with limits, without our environment, never past us."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

FILE_LIMIT = 1 << 40
"""Bytes of one file; the quota proper is the owner's, this stops a runaway."""
MEMORY_LIMIT = 4 << 30
"""Bytes of address space."""
PATIENCE = 5.0
"""Seconds between asking a group to end and ending it."""
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def confine() -> None:
    """In the child, before it becomes the program: limits, and death when the one that made it dies."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT, FILE_LIMIT))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))


def environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """All that a foreign program is told. Nothing of ours is inherited."""
    return {"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(home), "TMPDIR": str(home), **(extra or {})}


async def spawn(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> asyncio.subprocess.Process:
    """Never a shell. Both outputs are pipes."""
    return await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=str(cwd),
        env=dict(env),
        start_new_session=True,
        preexec_fn=confine,
        limit=1 << 20,
    )


def kill_group(pid: int, how: signal.Signals) -> bool:
    """Whether there was anything left to signal."""
    try:
        os.killpg(pid, how)
    except (ProcessLookupError, PermissionError):
        return False
    return True


async def end_group(pid: int, ended: asyncio.Event) -> None:
    """Ask the whole group to end, then end it: children of a child included."""
    kill_group(pid, signal.SIGINT)
    try:
        async with asyncio.timeout(PATIENCE):
            await ended.wait()
    except TimeoutError:
        pass
    kill_group(pid, signal.SIGKILL)


def ffmpeg(cache: Path) -> Path | None:
    """The system's ffmpeg, else the wheel's under the name that programs look for."""
    found = shutil.which("ffmpeg")
    if found:
        return Path(found)
    import imageio_ffmpeg  # noqa: PLC0415 - only where the system has none

    binary = Path(imageio_ffmpeg.get_ffmpeg_exe())
    link = cache / "bin" / "ffmpeg"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        fresh = link.with_name(f"ffmpeg.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(binary)
        fresh.replace(link)
    return link
