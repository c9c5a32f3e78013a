"""How a program that is not ours runs: in a group of its own, with limits, without our environment."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from services.job.engines import confine

PATIENCE = 5.0
"""Seconds between asking a group to end and ending it."""
REAP_SECONDS = 10.0
LINE_LIMIT = 1 << 20


def environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """All that a foreign program is told. Nothing of ours is inherited."""
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": path, "LANG": "C.UTF-8", "HOME": str(home), "TMPDIR": str(home), **(extra or {})}


@asynccontextmanager
async def program(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Both outputs are one pipe, in the order they were written. The whole group is gone when the block is left: asked
    first, so that the program can leave its files in order."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        confine.__file__,
        str(os.getpid()),
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=str(cwd),
        env=dict(env),
        start_new_session=True,
        limit=LINE_LIMIT,
    )
    try:
        yield process
    finally:
        try:
            if process.returncode is None:
                signal_group(process.pid, signal.SIGINT)
                await _ended(process)
        finally:
            signal_group(process.pid, signal.SIGKILL)
        async with asyncio.timeout(REAP_SECONDS):
            await process.wait()


async def _ended(process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while await process.stdout.read(LINE_LIMIT):
                """A full pipe must not keep it from ending."""
            await process.wait()


async def lines(process: asyncio.subprocess.Process) -> AsyncIterator[str]:
    """Lines until the output ends; one that is longer than LINE_LIMIT is left out."""
    assert process.stdout is not None
    while True:
        try:
            line = await process.stdout.readline()
        except ValueError:
            continue
        if not line:
            return
        yield line.decode(errors="replace").rstrip("\n")


def signal_group(pid: int, how: signal.Signals) -> None:
    """A group that is gone is fine."""
    with suppress(ProcessLookupError):
        os.killpg(pid, how)


def ffmpeg(cache: Path) -> Path | None:
    """The system's, else the wheel's under its proper name: foreign programs look for `ffmpeg`, not for
    `ffmpeg-linux-x86_64-v9`. None on a machine for which the wheel has none."""
    found = shutil.which("ffmpeg")
    if found is not None:
        return Path(found)
    import imageio_ffmpeg  # noqa: PLC0415  # only where the system has none

    try:
        binary = Path(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        return None
    link = cache / "bin" / "ffmpeg"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink() or link.readlink() != binary:
        fresh = link.with_name(f"ffmpeg.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(binary)
        fresh.replace(link)
    return link
