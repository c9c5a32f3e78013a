"""yt-dlp, one forked process a job."""

from __future__ import annotations

import array
import asyncio
import json
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import msgspec

from proto.job import EngineName, Failure, FailureKind
from services.job.engines import EngineFailed, Fetch, FetchedFile, Observer, sandbox

START_SECONDS = 30.0
ASK_SECONDS = 15.0
SILENT_SECONDS = 900.0
"""Without a word from a runner. Merging a long film says nothing for minutes."""
LINE_LIMIT = 1 << 20


class _NoZygote(Exception):
    """It ended before it took the request."""


class YtdlpEngine:
    name: EngineName = "ytdlp"

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._zygote: asyncio.subprocess.Process | None = None
        self._control: socket.socket | None = None
        self._lock = asyncio.Lock()
        self._ffmpeg = ""

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._cache.mkdir, parents=True, exist_ok=True)
        self._ffmpeg = str(await asyncio.to_thread(sandbox.ffmpeg, self._cache))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._drop()

    async def suitable(self, url: str) -> bool:
        """Whether a site of its own, not the generic extractor, claims the link."""
        async with self._lock:
            for _ in range(2):
                try:
                    control = await self._running()
                    await self._send(control, {"suitable": url}, None)
                    async with asyncio.timeout(ASK_SECONDS):
                        answer = await asyncio.get_running_loop().sock_recv(control, 4096)
                    if answer:
                        return bool(json.loads(answer)["suitable"])
                    raise _NoZygote
                except (_NoZygote, OSError, TimeoutError):
                    await self._drop()
        return False

    async def fetch(self, fetch: Fetch, observer: Observer) -> None:
        for _ in range(2):
            try:
                await self._run(fetch, observer)
            except _NoZygote:
                continue
            return
        raise _failed("transient", "engine_lost", "the downloader could not be started")

    async def _run(self, fetch: Fetch, observer: Observer) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                async with self._lock:
                    control = await self._running()
                    await self._send(control, self._request(fetch), theirs)
            except (OSError, TimeoutError) as error:
                ours.close()
                await self._drop()
                raise _NoZygote from error
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=LINE_LIMIT)
        pid: list[int] = []
        ended = asyncio.Event()
        try:
            await self._listen(reader, fetch, observer, pid)
            ended.set()
        except asyncio.CancelledError:
            if pid:
                listening = asyncio.create_task(_until_end(reader, ended))
                await sandbox.end_group(pid[0], ended)
                listening.cancel()
            raise
        finally:
            if pid:
                sandbox.kill_group(pid[0], signal.SIGKILL)
            writer.close()

    def _request(self, fetch: Fetch) -> dict[str, Any]:
        return {
            "url": fetch.url,
            "proxy": fetch.proxy,
            "work": str(fetch.work),
            "known": sorted(fetch.known),
            "options": msgspec.to_builtins(fetch.options),
            "ffmpeg": self._ffmpeg,
            "rate": fetch.rate,
        }

    async def _listen(self, reader: asyncio.StreamReader, fetch: Fetch, observer: Observer, pid: list[int]) -> None:
        while True:
            try:
                async with asyncio.timeout(SILENT_SECONDS):
                    line = await reader.readline()
            except TimeoutError as error:
                raise _failed("transient", "stalled", "the downloader fell silent") from error
            if not line:
                if not pid:
                    raise _NoZygote
                raise _failed("transient", "engine_lost", "the downloader ended without a word")
            told: dict[str, Any] = json.loads(line)
            match told.pop("t"):
                case "started":
                    pid.append(told["pid"])
                case "resolved":
                    await observer.resolved(**told)
                case "progress":
                    observer.progress(**told)
                case "processing":
                    await observer.processing()
                case "skipped":
                    await observer.skipped(told["key"])
                case "file":
                    await observer.finished(_file(told, fetch))
                case "failed":
                    raise EngineFailed(msgspec.convert(told, Failure))
                case "done":
                    return

    async def _running(self) -> socket.socket:
        if self._control is not None and self._zygote is not None and self._zygote.returncode is None:
            return self._control
        await self._drop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        root = str(Path(__file__).parents[3])
        with theirs:
            self._zygote = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "services.job.engines.zygote",
                str(theirs.fileno()),
                str(self._cache),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                preexec_fn=sandbox.confine,
                cwd=str(self._cache),
                env=sandbox.environment(self._cache, {"YTDLP_NO_PLUGINS": "1", "PYTHONPATH": root}),
            )
        self._control = ours
        return ours

    async def _send(self, control: socket.socket, request: dict[str, Any], channel: socket.socket | None) -> None:
        handles = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [channel.fileno()]))] if channel else []
        message = json.dumps(request).encode()
        try:
            control.sendmsg([message], handles)
        except BlockingIOError as error:
            raise TimeoutError("the zygote does not take requests") from error

    async def _drop(self) -> None:
        control, self._control = self._control, None
        zygote, self._zygote = self._zygote, None
        if control is not None:
            control.close()
        if zygote is not None:
            with suppress(ProcessLookupError):
                zygote.kill()
            await zygote.wait()


def _file(told: dict[str, Any], fetch: Fetch) -> FetchedFile:
    path = Path(told["path"]).resolve()
    if not path.is_relative_to(fetch.work.resolve()):
        raise _failed("permanent", "outside", "the downloader wrote outside its folder")
    return FetchedFile(key=told["key"], path=path, name=told["name"], size=told["size"], media_type=told["media_type"])


async def _until_end(reader: asyncio.StreamReader, ended: asyncio.Event) -> None:
    while await reader.read(LINE_LIMIT):
        pass
    ended.set()


def _failed(kind: FailureKind, code: str, message: str) -> EngineFailed:
    return EngineFailed(Failure(kind=kind, code=code, message=message))
