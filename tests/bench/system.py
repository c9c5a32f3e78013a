"""A whole installation in a throw-away folder, started as a user starts it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil

ROOT = Path(__file__).parents[2]
PASSWORD = "bench-password"


class System:
    def __init__(self, process: asyncio.subprocess.Process, folder: Path, port: int, started: float) -> None:
        self.process = process
        self.folder = folder
        self.port = port
        self.started = started
        self.url = f"http://127.0.0.1:{port}"

    async def key(self, dialect: str) -> str:
        out = await run(
            sys.executable, "-m", "services", "key", "create", "--dialect", dialect, "--data", str(self.folder)
        )
        return out.strip()

    async def token(self) -> str:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/api/v1/auth/login", json={"username": "admin", "password": PASSWORD}) as answer,
        ):
            return str((await answer.json())["access_token"])

    def processes(self) -> list[psutil.Process]:
        me = psutil.Process(self.process.pid)
        return [me, *me.children(recursive=True)]

    def pss(self) -> float:
        """MB of all processes together, shared pages divided among those that share them."""
        return sum(one.memory_full_info().pss for one in self.processes()) / 1e6


async def run(*argv: str, stdin: bytes | None = None) -> str:
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.PIPE if stdin else None, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    out, _ = await process.communicate(stdin)
    if process.returncode:
        raise SystemExit(f"{' '.join(argv[:4])} ended with status {process.returncode}")
    return out.decode()


async def load(**task: Any) -> dict[str, float]:
    answer: dict[str, float] = json.loads(
        await run(sys.executable, "-m", "tests.bench.load", stdin=json.dumps(task).encode())
    )
    return answer


@asynccontextmanager
async def system(
    *, workers: int = 1, folder: Path | None = None, allow: str = "127.0.0.0/8", slots: int = 4
) -> AsyncIterator[System]:
    with tempfile.TemporaryDirectory(prefix="longshore-bench-") as made:
        folder = folder or Path(made) / "data"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        env = {
            **os.environ,
            "LONGSHORE_EGRESS_ALLOW": allow,
            "LONGSHORE_ADMIN_PASSWORD": PASSWORD,
            "LONGSHORE_WORKER_SLOTS": str(slots),
        }
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services",
            "up",
            "--data",
            str(folder),
            "--port",
            str(port),
            "--workers",
            str(workers),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=env,
            cwd=ROOT,
        )
        assert process.stdout is not None
        async with asyncio.timeout(60):
            while b"runs at" not in (line := await process.stdout.readline()):
                if not line:
                    raise SystemExit(f"`longshore up` ended with status {await process.wait()} before it was ready")
        one = System(process, folder, port, time.perf_counter() - began)
        try:
            yield one
        finally:
            process.send_signal(signal.SIGTERM)
            await process.wait()
