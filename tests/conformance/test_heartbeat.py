"""What a worker says once a second, as those hear it who give it work."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

from libs.bus import Message
from tests.support.system import ROOT


async def test_a_worker_whose_starter_has_ended_goes_on_taking_work(installation, tmp_path: Path):
    """As one that was put into the background of a shell: it may be nobody's child."""
    bus, beats = await installation.bus("job"), asyncio.Queue[bytes]()

    async def heard(message: Message) -> None:
        beats.put_nowait(message.body)

    await bus.listen("cmd.job.heartbeat", heard)
    env = {
        "PATH": os.environ["PATH"],
        "LONGSHORE_DATA_DIR": str(tmp_path),
        "LONGSHORE_NATS_URL": installation.servers.nats_url,
        "LONGSHORE_NATS_SEED": str(installation.servers.nats_seeds["worker"]),
    }
    shell = await asyncio.create_subprocess_exec(
        "sh", "-c", '"$@" >&2 & echo $!; read -r _', "sh", sys.executable, "-m", "services", "worker",
        cwd=ROOT, env=env, stdin=PIPE, stdout=PIPE, stderr=DEVNULL,
    )  # fmt: skip
    assert shell.stdin is not None
    assert shell.stdout is not None
    worker = int(await shell.stdout.readline())
    try:
        async with asyncio.timeout(60):
            await beats.get()
            shell.stdin.close()
            await shell.wait()
            await beats.get()  # may have been on its way
            await beats.get()
    finally:
        os.kill(worker, signal.SIGKILL)
