"""Every service a process of its own, the busy ones twice: the shape of a cluster, without the cluster."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self
from uuid import uuid4

import aiohttp
import pytest
from msgspec import Struct

from libs.supervisor import DataFolder, Servers
from proto import SERVICES
from proto.topology import USERS
from tests.support.accounts import pooled
from tests.support.ports import own_port
from tests.support.system import ROOT, System, User

JOBS = 24


class Processes:
    """By name; they are told to end together, and waited for one by one."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[subprocess.Popen[bytes], Callable[[], subprocess.Popen[bytes]]]] = {}

    def __enter__(self) -> Self:
        return self

    def start(self, name: str, *words: str, env: dict[str, str], log: Path) -> None:
        def begin() -> subprocess.Popen[bytes]:
            with log.open("ab") as output:
                return subprocess.Popen([sys.executable, "-m", "services", *words], cwd=ROOT, env=env, stderr=output)

        self._running[name] = (begin(), begin)

    def replace(self, *names: str) -> None:
        """All of them are killed, and only then is each started anew."""
        for name in names:
            self._running[name][0].kill()
        for name in names:
            killed, begin = self._running[name]
            killed.wait(10)
            self._running[name] = (begin(), begin)

    def __exit__(self, *_: object) -> None:
        for one, _begin in self._running.values():
            one.terminate()
        for one, _begin in self._running.values():
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
    del env["LONGSHORE_DATABASE_URL"], env["LONGSHORE_HTTP_PORT"]
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
                pass
            await asyncio.sleep(0.1)  # the interval of a probe


class Cluster(Struct, frozen=True):
    folder: DataFolder
    ports: dict[str, list[int]]
    processes: Processes


@asynccontextmanager
async def cluster(data: Path, replicas: int = 2) -> AsyncIterator[Cluster]:
    """Ready; `replicas` of the gateway, of the job service and of the workers."""
    folder, beside = DataFolder(data), data.parent
    ports = {name: [own_port() for _ in range(replicas if name in ("gateway", "job") else 1)] for name in SERVICES}
    with folder.lock():
        async with Servers.run(folder, SERVICES, USERS) as servers:
            assert "streams: up to date" in await asyncio.to_thread(migrate, servers, folder, beside / "config.toml")
            with Processes() as processes:
                for name in SERVICES:
                    for number, port in enumerate(ports[name]):
                        env = environment(servers, folder, name, name, port)
                        words = ("serve", name.replace("_", "-"))
                        processes.start(f"{name}-{number}", *words, env=env, log=beside / f"{name}.log")
                for number in range(replicas):
                    env = environment(servers, folder, "worker", "job", 0)
                    for name in ("LONGSHORE_DATABASE_URL", "LONGSHORE_SECRET_KEY", "LONGSHORE_HTTP_PORT"):
                        del env[name]
                    processes.start(f"worker-{number}", "worker", env=env, log=beside / f"worker-{number}.log")
                await asyncio.gather(*(ready(port) for each in ports.values() for port in each))
                yield Cluster(folder, ports, processes)


async def test_jobs_run_in_processes_of_their_own_and_either_replica_shows_them(tmp_path, site):
    async with cluster(tmp_path / "data") as all_of_it:
        one, two = (System(None, all_of_it.folder.path, port) for port in all_of_it.ports["gateway"])
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


async def test_what_was_fetched_for_a_link_is_served_by_the_process_that_owns_links(data, hosts):
    gator = hosts.host("rapidgator")
    file = gator.add_file("film.mkv", 300_000)
    async with cluster(data, replicas=1) as all_of_it:
        gateway, serving = (all_of_it.ports[name][0] for name in ("gateway", "unrestrict_proxy"))
        system = System(None, all_of_it.folder.path, gateway)
        user = await asyncio.to_thread(system.user)
        async with system.operator() as (_, caller), pooled(caller, gator), user.http() as http:
            link = (await http.unrestricted(file.url))["link"].replace(f":{gateway}/", f":{serving}/")
            async with http.session.get(link) as got:
                body = await got.read()
            await asyncio.to_thread(all_of_it.processes.replace, "unrestrict_proxy-0")
            await ready(serving)
            async with http.session.get(link, headers={"Range": "bytes=-7"}) as again:
                tail = await again.read()

    assert (got.status, again.status) == (200, 206)
    assert hashlib.sha256(body).hexdigest() == file.sha256
    assert tail == body[-7:]


@pytest.mark.timeout(200)
@pytest.mark.parametrize("service", ["gateway", "job"])
async def test_a_service_that_is_killed_in_the_middle_of_fifty_jobs_goes_on_where_it_was(service, data, site):
    names = [f"{uuid4().hex}.bin" for _ in range(50)]
    async with cluster(data, replicas=1) as all_of_it:
        (port,) = all_of_it.ports["gateway"]
        user = await asyncio.to_thread(System(None, all_of_it.folder.path, port).user)
        async with user.http() as http:
            links = [site.file(100_000, name, rate=400_000) for name in names]
            _, answer = await http.gdluxx("POST", "/external", {"urls": links})
            ids = [one["jobId"] for one in answer["data"]["results"]]
            await statuses(http, ids, lambda found: found.count("success") >= 8)
            all_of_it.processes.replace(f"{service}-0")
            await ready(all_of_it.ports[service][0])
            done = await statuses(http, ids, lambda found: len(found) == 50 and "running" not in found)
            hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in all_files(all_of_it.folder)}

    assert done == ["success"] * 50
    assert hashes == {name: site.sha256(100_000, name) for name in names}
    # No worker died, so nothing was asked for twice.
    assert [len(site.hits(f"/file/100000/{name}")) for name in names] == [1] * 50


async def statuses(http, ids: list[str], wanted: Callable[[list[str]], bool]) -> list[str]:
    """Once they are `wanted`; an answer that is not one is asked for again, as a polling client does."""
    async with asyncio.timeout(90):
        while True:
            with suppress(aiohttp.ClientError):
                status, answer = await http.gdluxx("GET", f"/jobs?ids={','.join(ids)}")
                found = [job["status"] for job in answer["data"]["jobs"]] if status == 200 else []
                if wanted(found):
                    return found
            await asyncio.sleep(0.1)  # the interval of a polling client


def all_files(folder: DataFolder) -> list[Path]:
    return [path for path in (folder.path / "files").rglob("*") if path.is_file()]
