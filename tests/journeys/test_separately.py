"""Every service a process of its own, the busy ones twice: the shape of a cluster, without the cluster."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import aiohttp

from libs.supervisor import DataFolder, Servers
from proto import SERVICES
from tests.support.system import ROOT, System, User, free_port

JOBS = 24


class Processes:
    """They are told to end together, and waited for one by one."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def start(self, *words: str, env: dict[str, str], log: Path) -> None:
        with log.open("ab") as output:
            self._running.append(
                subprocess.Popen([sys.executable, "-m", "services", *words], cwd=ROOT, env=env, stderr=output)
            )

    def __exit__(self, *_: object) -> None:
        for one in self._running:
            one.terminate()
        for one in self._running:
            one.wait(40)


def environment(servers: Servers, folder: DataFolder, user: str, service: str, port: int) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "LONGSHORE_DATA_DIR": str(folder.path),
        "LONGSHORE_DATABASE_URL": servers.database_urls[service],
        "LONGSHORE_NATS_URL": servers.nats_url,
        "LONGSHORE_NATS_SEED": str(servers.nats_seeds[user]),
        "LONGSHORE_SECRET_KEY": servers.secret_key,
        "LONGSHORE_HTTP_PORT": str(port),
        "LONGSHORE_EGRESS_ALLOW": "127.0.0.0/8",
    }


def migrate(servers: Servers, folder: DataFolder, config: Path) -> str:
    config.write_text("\n".join(f'[{name}]\ndatabase_url = "{servers.database_urls[name]}"' for name in SERVICES))
    env = environment(servers, folder, "topology", "job", 0) | {"LONGSHORE_CONFIG": str(config)}
    del env["LONGSHORE_DATABASE_URL"]
    done = subprocess.run(
        [sys.executable, "-m", "services", "migrate"],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


async def ready(port: int) -> None:
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)  # the interval of a probe


@asynccontextmanager
async def cluster(tmp_path: Path) -> AsyncIterator[tuple[DataFolder, dict[str, list[int]]]]:
    folder = DataFolder(tmp_path / "data")
    ports = {name: [free_port() for _ in range(2 if name in ("gateway", "job") else 1)] for name in SERVICES}
    with folder.lock():
        async with Servers.run(folder, SERVICES) as servers:
            assert "streams: up to date" in await asyncio.to_thread(migrate, servers, folder, tmp_path / "config.toml")
            with Processes() as processes:
                for name in SERVICES:
                    for port in ports[name]:
                        env = environment(servers, folder, name, name, port)
                        words = ("serve", name.replace("_", "-"))
                        processes.start(*words, env=env, log=tmp_path / f"{name}.log")
                for number in range(2):
                    env = environment(servers, folder, "worker", "job", 0)
                    for name in ("LONGSHORE_DATABASE_URL", "LONGSHORE_SECRET_KEY", "LONGSHORE_HTTP_PORT"):
                        del env[name]
                    processes.start("worker", env=env, log=tmp_path / f"worker-{number}.log")
                await asyncio.gather(*(ready(port) for each in ports.values() for port in each))
                yield folder, ports


async def test_jobs_run_in_processes_of_their_own_and_either_replica_shows_them(tmp_path, site):
    async with cluster(tmp_path) as (folder, ports):
        one, two = (System(None, folder.path, port) for port in ports["gateway"])
        user = await asyncio.to_thread(one.user)
        other = User(two, user.name, user.keys)
        async with user.http() as first, other.http() as second, second.socket() as socket:
            links = [site.file(20_000 + n, f"separately-{n}.bin") for n in range(JOBS)]
            ids = [await (first, second)[n % 2].submit(link) for n, link in enumerate(links)]
            seen: set[str] = set()
            while len(seen) < JOBS:
                frame = await socket.until(lambda frame: frame["type"] == "download_completed")
                seen.add(frame["data"]["queue_id"])
            shown = [await (second, first)[n % 2].show(job_id) for n, job_id in enumerate(ids)]

    assert [job["status"] for job in shown] == ["Completed"] * JOBS
    hits = [len(site.hits(f"/file/{20_000 + n}/separately-{n}.bin")) for n in range(JOBS)]
    assert hits == [1] * JOBS
