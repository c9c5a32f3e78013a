"""kill -9 in the middle of fifty jobs: none lost, none stuck, none that was finished fetched again, hashes right."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import aiohttp
import psutil
import pytest

from libs import bus as buses
from libs.bus import follow
from libs.supervisor import DataFolder
from proto.topology import STREAMS
from tests.site import SiteProcess
from tests.support.sure import sure
from tests.support.system import System, running, stored

JOBS = 50
SIZE = 150_000
RATE = 600_000
"""Bytes a second from the origin: a file takes a quarter of a second, so some run whenever the axe falls."""


def kill(processes: list[psutil.Process]) -> None:
    for one in processes:
        with suppress(ProcessLookupError):  # it may go with its parent, which was killed a moment before
            os.kill(one.pid, signal.SIGKILL)


def everything(system: System) -> list[psutil.Process]:
    me = psutil.Process(system.process.pid)
    return [me, *me.children(recursive=True)]


VICTIMS: dict[str, Callable[[System], list[psutil.Process]]] = {
    "a worker": lambda system: system.children("services worker"),
    "nats": lambda system: system.children("nats-server"),
    "postgres": lambda system: [
        one for one in system.children("postgres") if one.name() == "postgres" and one.ppid() == system.process.pid
    ],
    "all that the services rest on": lambda system: [
        one for name in ("postgres", "nats", "a worker") for one in VICTIMS[name](system)
    ],
    "the services": lambda system: [psutil.Process(system.process.pid)],
    "everything": everything,
}


async def polled(http, ids: list[str]) -> dict[str, str]:
    status, answer = await http.gdluxx("GET", f"/jobs?ids={','.join(ids)}")
    return {job["id"]: job["status"] for job in answer["data"]["jobs"]} if status == 200 else {}


async def until(http, ids, wanted) -> dict[str, str]:
    """As the extension polls; what fails while a server is away is asked again."""
    async with asyncio.timeout(90):
        while True:
            try:
                found = await polled(http, ids)
            except (OSError, aiohttp.ClientError):
                found = {}
            if wanted(found):
                return found
            await asyncio.sleep(0.1)  # the interval of a polling client


@pytest.mark.timeout(200)
@pytest.mark.parametrize("victim", VICTIMS)
async def test_nothing_is_lost_stuck_or_fetched_again_when_killed(victim, tmp_path: Path, data: Path):
    async with SiteProcess.start(tmp_path) as site:
        names = {f"{uuid4().hex}.bin": None for _ in range(JOBS)}
        links = [site.file(SIZE, name, rate=RATE) for name in names]
        with running(data, "127.0.0.0/8") as system:
            user = system.user()
            async with user.http() as http:
                _, answer = await http.gdluxx("POST", "/external", {"urls": links})
                ids = [one["jobId"] for one in answer["data"]["results"]]
                before = await until(http, ids, lambda found: list(found.values()).count("success") >= 8)
                finished = {ids.index(one) for one, status in before.items() if status == "success"}
                asked_before = len(site.log)
                kill(VICTIMS[victim](system))
                if victim not in ("the services", "everything"):
                    done = await until(http, ids, lambda found: len(found) == JOBS and "running" not in found.values())
            if victim in ("the services", "everything"):
                await asyncio.to_thread(system.process.wait, 60)
        if victim in ("the services", "everything"):
            with running(data, "127.0.0.0/8") as again:
                user.system = again
                async with user.http() as http:
                    done = await until(http, ids, lambda found: len(found) == JOBS and "running" not in found.values())
        files = stored(system)

        assert set(done.values()) == {"success"}
        assert set(files) == set(names)
        for name, path in files.items():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == site.sha256(SIZE, name)
        fetched_again = [hit.path for hit in site.log[asked_before:]]
        for index in finished:
            assert not any(list(names)[index] in path for path in fetched_again)


async def test_the_worker_after_a_killed_one_goes_on_from_the_partial_file(tmp_path: Path, data: Path):
    async with SiteProcess.start(tmp_path) as site:
        name, gate = f"{uuid4().hex}.bin", uuid4().hex
        with running(data, "127.0.0.0/8") as system:
            user = system.user()
            async with user.http() as http:
                job_id = await http.submit(site.file(6_000_000, name, gate=gate, gate_at=4_000_000))
                await site.reached(gate)
                await http.until(job_id, lambda job: job["step"] == "Downloading")
                partial = system.data / "work" / job_id
                async with asyncio.timeout(60):
                    while sum(one.stat().st_size for one in partial.iterdir()) < 2_000_000:
                        await asyncio.sleep(0.05)  # a file has no signal for its growth
                kill(system.children("services worker"))
                await site.release(gate)
                job = await http.ended(job_id)
            files = stored(system)

        assert job["status"] == "Completed"
        assert hashlib.sha256(files[name].read_bytes()).hexdigest() == site.sha256(6_000_000, name)
        hits = site.hits(f"/file/6000000/{name}")
        assert hits[-1].start > 0


async def test_a_worker_that_is_told_to_stop_gives_its_job_back(tmp_path: Path, data: Path):
    async with SiteProcess.start(tmp_path) as site:
        name, gate = f"{uuid4().hex}.bin", uuid4().hex
        with running(data, "127.0.0.0/8") as system:
            user = system.user()
            async with user.http() as http:
                job_id = await http.submit(site.file(4_000_000, name, gate=gate, gate_at=2_000_000))
                await site.reached(gate)
                await http.until(job_id, lambda job: job["step"] == "Downloading")
                for worker in system.children("services worker"):
                    worker.terminate()
                await site.release(gate)
                job = await http.ended(job_id)
                history = await asyncio.to_thread(http.history, job_id)
            files = stored(system)

        assert job["status"] == "Completed"
        assert "job.interrupted" in history
        assert "job.attempt_failed" not in history
        assert hashlib.sha256(files[name].read_bytes()).hexdigest() == site.sha256(4_000_000, name)


async def lose_streams(system: System) -> None:
    folder = DataFolder(system.data)
    bus = await buses.open(sure(folder.endpoint()), user="topology", seed=folder.seed("topology"))
    try:
        for stream in STREAMS:
            await bus.api(f"STREAM.DELETE.{stream.name}")
    finally:
        await bus.close()


async def events(system: System, count: int) -> list[str]:
    """The first `count` of the job service's stream, by their ids."""
    folder = DataFolder(system.data)
    bus = await buses.open(sure(folder.endpoint()), user="cli", seed=folder.seed("cli"))
    found: list[str] = []
    try:
        async with asyncio.timeout(30), follow(bus, "EV_JOB") as batches:
            async for batch in batches:
                found += [one.headers["ce-id"] for one in batch]
                if len(found) >= count:
                    return found[:count]
    finally:
        await bus.close()
    return found


async def test_all_that_nats_has_can_be_lost_and_comes_back_from_postgres(tmp_path: Path, data: Path):
    async with SiteProcess.start(tmp_path) as site:
        with running(data, "127.0.0.0/8") as system:
            user = system.user()
            async with user.http() as http:
                first = [await http.submit(site.file(1000, f"{uuid4().hex}.bin")) for _ in range(5)]
                for job_id in first:
                    await http.ended(job_id)
                before = await events(system, 20)
                await lose_streams(system)
                second = await http.submit(site.file(1000, f"{uuid4().hex}.bin"))
                while_running = await http.ended(second)
                after = await events(system, 20)
        shutil.rmtree(data / "nats" / "jetstream")
        with running(data, "127.0.0.0/8") as again:
            user.system = again
            async with user.http() as http:
                third = await http.ended(await http.submit(site.file(1000, f"{uuid4().hex}.bin")))
                known = [(await http.show(job_id))["status"] for job_id in (*first, second)]
            at_last = await events(again, 20)

        assert while_running["status"] == third["status"] == "Completed"
        assert known == ["Completed"] * 6
        assert len(before) == 20
        assert before == after == at_last


async def test_a_terminated_system_is_gone_within_ten_seconds_and_leaves_nothing(data: Path):
    with running(data, "127.0.0.0/8") as system:
        family = everything(system)
        started = asyncio.get_running_loop().time()
        status = await asyncio.to_thread(system.stop)
        elapsed = asyncio.get_running_loop().time() - started

        assert status == 0, system.log()
        assert elapsed < 10  # the promise itself, not a measure of speed
        assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


async def test_what_may_be_many_is_one_job_while_no_worker_can_look_at_it(user, site: SiteProcess):
    link = site.file(1000, f"{uuid4().hex}.xml", type="application/xml")
    async with user.http() as http:
        workers = user.system.children("services worker")
        kill(workers)
        await asyncio.to_thread(psutil.wait_procs, workers, 60)
        job = await http.ended(await http.submit(link))

    assert job["status"] == "Completed", job
