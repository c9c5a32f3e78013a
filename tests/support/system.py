"""A whole installation, started as a user starts it, and clients of its public APIs."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import aiohttp
import psutil

from libs.bus import Bus
from libs.calls import Caller
from proto.auth import CreateUser, IssuedKey, IssueKey
from proto.job import HistoryEntry, ReadHistory
from services.operate import connect
from tests.support.ports import own_port
from tests.support.sure import sure

R = TypeVar("R")

ROOT = Path(__file__).parents[2]
PASSWORD = "a-password-for-tests"
ENDED = ("Completed", "Skipped", "Warning", "Failed")
PATIENCE = 60.0


def longshore(*words: str, data: Path, stdin: str = "", **settings: str) -> str:
    """What the command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "services", *words, "--data", str(data)],
        cwd=ROOT, env={**os.environ, **settings}, input=stdin, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class System:
    """`data` survives a restart; everything else is of one run. `process` None when there are many."""

    def __init__(self, process: subprocess.Popen[str] | None, data: Path, port: int) -> None:
        self._process = process
        self.data = data
        self.url = f"http://127.0.0.1:{port}"

    def user(self) -> User:
        """A new one, so that tests that share a system share nothing else. The commands that people type for it have
        tests of their own; four programs for each test take too long."""
        return User(self, *self.operated(_new_user))

    def operated(self, ask: Callable[[Caller], Awaitable[R]]) -> R:
        """What `ask` gets as the operator, over the bus. From a thread: the caller may be in a loop."""

        async def asked() -> R:
            async with self.operator() as (_, caller):
                return await ask(caller)

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, asked()).result(PATIENCE)

    @property
    def process(self) -> subprocess.Popen[str]:
        return sure(self._process)

    def children(self, name: str) -> list[psutil.Process]:
        """By a part of the command line."""
        return [
            one for one in psutil.Process(self.process.pid).children(recursive=True) if name in " ".join(one.cmdline())
        ]

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[tuple[Bus, Caller]]:
        """The bus as whoever owns the data folder is on it."""
        async with connect(argparse.Namespace(data=self.data), {}) as (bus, caller):
            yield bus, caller

    def log(self) -> str:
        """What the installation said last."""
        return (self.data.parent / f"{self.data.name}.log").read_text()[-4000:]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


async def _new_user(caller: Caller) -> tuple[str, dict[str, str]]:
    name = f"u{uuid4().hex[:12]}"
    keys = {}
    await caller.command(CreateUser(username=name, password=PASSWORD))
    for dialect in ("jobs", "gdluxx", "external"):
        issued, _ = await caller.command(IssueKey(dialect=dialect, username=name, name=dialect), result=IssuedKey)
        keys[dialect] = issued.key
    return name, keys


async def _history(caller: Caller, job_id: UUID) -> list[str]:
    entries = await caller.query(ReadHistory(owner=None, job_id=job_id), result=list[HistoryEntry])
    return [one.type for one in entries]


@contextmanager
def running(data: Path, allow: str, *, port: int | None = None, cwd: Path = ROOT, **settings: str) -> Iterator[System]:
    """Everything on `data`, ready. Whatever is left of it afterwards is ended."""
    port = port or own_port()
    ours = {"LONGSHORE_EGRESS_ALLOW": allow, "LONGSHORE_ADMIN_PASSWORD": PASSWORD, "PYTHONPATH": str(ROOT)}
    log = (data.parent / f"{data.name}.log").open("a")
    process = subprocess.Popen(
        # As the installed command: what lies in the folder where it is started is no part of it.
        [sys.executable, "-P", "-m", "services", "up", "--data", str(data), "--port", str(port)],
        cwd=cwd, env={**os.environ, **ours, **settings},
        stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
    )  # fmt: skip
    family: list[psutil.Process] = []
    system = System(process, data, port)
    try:
        if "runs at" not in sure(process.stdout).readline():
            raise AssertionError(f"did not start: {system.log()}")
        yield system
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for one in family:
            if one.is_running() and one.status() != psutil.STATUS_ZOMBIE:
                one.kill()
        sure(process.stdout).close()
        log.close()


class Installed:
    """A data folder that has had its first start, to begin from: a copy takes a tenth of the time of a first start."""

    def __init__(self, folder: Path) -> None:
        """`folder` may be shared by several processes: whoever comes first makes it."""
        folder.mkdir(exist_ok=True)
        self._made = folder / "data"
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._made.exists():
                with running(folder / "new", "") as system:
                    assert system.stop() == 0, system.log()
                (folder / "new").rename(self._made)

    def at(self, data: Path) -> Path:
        subprocess.run(["cp", "-a", str(self._made), str(data)], check=True)
        return data


class User:
    def __init__(self, system: System, name: str, keys: dict[str, str]) -> None:
        self.system = system
        self.name = name
        self.keys = keys

    @asynccontextmanager
    async def http(self) -> AsyncIterator[Http]:
        async with aiohttp.ClientSession() as session:
            yield Http(self, session)


class Http:
    """One user's programs."""

    def __init__(self, user: User, session: aiohttp.ClientSession) -> None:
        self.user = user
        self.session = session
        self.url = user.system.url

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        text = body if isinstance(body, str) or body is None else json.dumps(body)
        data = None if text is None else io.BytesIO(text.encode())
        async with self.session.request(
            method, self.url + path, data=data, headers={name.replace("_", "-"): text for name, text in headers.items()}
        ) as answer:
            raw = await answer.read()
            return answer.status, json.loads(raw) if raw else None

    async def jobs(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        return await self.call(method, path, body, x_api_key=self.user.keys["jobs"], **headers)

    async def gdluxx(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        bearer = f"Bearer {self.user.keys['gdluxx']}"
        return await self.call(method, f"/api/extension{path}", body, authorization=bearer)

    async def external(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        bearer = f"Bearer {self.user.keys['external']}"
        return await self.call(method, f"/api/external/v1{path}", body, authorization=bearer)

    async def unrestricted(self, url: str) -> dict[str, Any]:
        """When its file is ready, as a download manager waits: by asking again."""
        async with asyncio.timeout(PATIENCE):
            status, answer = await self.external("POST", "/unrestrict", {"url": url})
            while status == 200 and answer["data"]["remote_status"] in ("pending", "downloading"):
                await asyncio.sleep(0.05)  # the interval of a polling client
                status, answer = await self.external("GET", f"/link/{answer['data']['linkId']}")
        assert status == 200, answer
        assert answer["data"]["download_ready"], answer
        return dict(answer["data"])

    async def submit(self, url: str, **options: Any) -> str:
        status, answer = await self.jobs("POST", "/jobs", {"url": url, **options})
        assert status == 201, answer
        return str(answer["job_id"])

    async def show(self, job_id: str) -> dict[str, Any]:
        status, answer = await self.jobs("GET", f"/jobs/{job_id}")
        assert status == 200, answer
        return dict(answer)

    async def appeared(self, job_id: str) -> None:
        """Of a job that was submitted behind the gateway's back, which hears of it a moment later."""
        async with asyncio.timeout(PATIENCE):
            while (await self.jobs("GET", f"/jobs/{job_id}"))[0] == 404:
                await asyncio.sleep(0.02)  # the interval of a polling client

    async def ended(self, job_id: str) -> dict[str, Any]:
        """As a client of the jobs API waits: by asking again."""
        return await self.until(job_id, lambda job: job["status"] in ENDED)

    async def until(self, job_id: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            while not wanted(job := await self.show(job_id)):
                await asyncio.sleep(0.05)  # the interval of a polling client
        return job

    async def token(self) -> str:
        status, answer = await self.call(
            "POST", "/api/v1/auth/login", {"username": self.user.name, "password": PASSWORD}
        )
        assert status == 200, answer
        return str(answer["access_token"])

    @asynccontextmanager
    async def socket(self, since: str | None = None) -> AsyncIterator[Socket]:
        query = f"?token={await self.token()}" + (f"&since={since}" if since else "")
        async with self.session.ws_connect(f"{self.url}/ws/downloads{query}") as one:
            yield Socket(one)

    def history(self, job_id: str) -> list[str]:
        """What happened to a job, in one word each."""
        return self.user.system.operated(lambda caller: _history(caller, UUID(job_id)))


class Socket:
    def __init__(self, one: aiohttp.ClientWebSocketResponse) -> None:
        self._one = one
        self.frames: list[dict[str, Any]] = []

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            while True:
                frame = await self._one.receive_json()
                self.frames.append(frame)
                if wanted(frame):
                    return frame


def stored(system: System) -> dict[str, Path]:
    """Every stored file by its name."""
    return {path.name: path for path in (system.data / "files").rglob("*") if path.is_file()}
