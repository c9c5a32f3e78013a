"""The site in a process of its own, for tests that kill or load their own."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec

from .hits import Hit, read_log
from .server import Addresses

ROOT = Path(__file__).parents[2]
START_DEADLINE = 100.0
"""On a machine that has no media yet they are made first."""
STOP_DEADLINE = 5.0


class SiteProcess(Addresses, frozen=True):
    """As MediaSite, from outside. It ends with the `async with`, and with this process however that dies."""

    log_file: Path

    @classmethod
    @asynccontextmanager
    async def start(cls, folder: Path) -> AsyncIterator[SiteProcess]:
        log = folder / "site.jsonl"
        log.touch()
        command = [sys.executable, "-m", "tests.site", "--log", str(log), "--until-eof"]
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=PIPE, stdout=PIPE)
        try:
            if process.stdout is None:
                raise RuntimeError("start the media site: no pipe to read its port from")
            async with asyncio.timeout(START_DEADLINE):
                line = await process.stdout.readline()
            yield cls(msgspec.json.decode(line, type=dict[str, int])["port"], log)
        finally:
            await _stop(process)

    @property
    def log(self) -> list[Hit]:
        """Every request since the start, in order of arrival; `sent` of one under way is known at its end."""
        return read_log(self.log_file)

    def hits(self, path: str) -> list[Hit]:
        """Those whose path (without query) is `path`, or with query when that has one."""
        return [hit for hit in self.log if path in (hit.path, hit.path.partition("?")[0])]

    async def release(self, gate: str) -> None:
        async with aiohttp.ClientSession(raise_for_status=True) as session, session.post(self.url(f"/_gate/{gate}")):
            pass

    async def reached(self, gate: str, *, times: int = 1, timeout: float = 60) -> None:
        """Until `times` responses in all have arrived at the gate."""
        address = self.url(f"/_gate/{gate}", times=times, timeout=timeout)
        async with aiohttp.ClientSession() as session, session.get(address) as answer:
            if answer.status == 408:
                raise TimeoutError(f"nothing reached gate {gate} in {timeout} s")
            answer.raise_for_status()


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(STOP_DEADLINE):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
