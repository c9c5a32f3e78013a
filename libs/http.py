"""The HTTP server of a process: one address, what is mounted there, and whether all is well."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from granian.constants import Interfaces
from granian.server.embed import Server
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

CHECK_DEADLINE = 2.0

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Check = Callable[[], Awaitable[str | None]]


class NoAddress(Exception):
    """Nobody can listen on this address; the message says why and what to do."""


_ADVICE = {
    errno.EADDRINUSE: "Stop the program that listens there, or choose another port",
    errno.EACCES: "Ports below 1024 are for root; choose another port",
}


def free_address(host: str, port: int) -> str:
    """The address that `host` stands for, on which nobody listens at `port`. Raises NoAddress."""
    # The server binds with SO_REUSEPORT: without this check two installations would share a port in silence.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            advice, setting = _ADVICE.get(error.errno or 0), "PORT"
            if advice is None:
                advice, setting = "Choose an address of this machine", "HOST"
            raise NoAddress(
                f"{where} can not be used: {error.strerror}. {advice} with --{setting.lower()} or "
                f"LONGSHORE_HTTP_{setting}."
            ) from error
        address: str = probe.getsockname()[0]
        return address


@asynccontextmanager
async def listening(host: str, port: int, app: AsgiApp) -> AsyncIterator[None]:
    """From when the first connection is taken."""
    server = Server(app, address=host, port=port, interface=Interfaces.ASGINL, log_enabled=False, backlog=1024)
    server.workers_kill_timeout = 3
    serving = asyncio.create_task(server.serve(), name="http")
    try:
        async with asyncio.timeout(10):
            await _answers(host, port, serving)
        yield
    finally:
        server.stop()  # type: ignore[no-untyped-call]  # granian leaves it untyped
        await asyncio.wait([serving], timeout=5)
        serving.cancel()


async def _answers(host: str, port: int, serving: asyncio.Task[None]) -> None:
    """The server has no signal for "listening", so its own socket is asked."""
    while not serving.done():
        try:
            _, writer = await asyncio.open_connection(host if host not in ("0.0.0.0", "::") else "localhost", port)  # noqa: S104 - compared, not bound
        except OSError:
            await asyncio.sleep(0.005)
        else:
            writer.close()
            return
    serving.result()


def application(mounts: Mapping[str, AsgiApp], checks: Mapping[str, Check]) -> AsgiApp:
    """The app with the longest prefix answers; `/healthz`, `/readyz` and `/metrics` are ours. Checks may be added."""
    prefixes = sorted(mounts, key=len, reverse=True)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if scope["type"] == "http" and path in ("/healthz", "/readyz", "/metrics"):
            await _operations(path, checks, send)
            return
        for prefix in prefixes:
            if path == prefix or path.startswith(prefix.rstrip("/") + "/"):
                await mounts[prefix](scope, receive, send)
                return
        if scope["type"] == "http":
            await _answer(send, 404, b'{"error":"not found"}', b"application/json")
        else:
            await send({"type": "websocket.close", "code": 1000})

    return app


async def _operations(path: str, checks: Mapping[str, Check], send: Send) -> None:
    if path == "/healthz":
        # That the loop came here is the whole of liveness: a lost database must not restart every pod.
        await _answer(send, 200, b'{"status":"ok"}', b"application/json")
    elif path == "/metrics":
        await _answer(send, 200, generate_latest(), CONTENT_TYPE_LATEST.encode())
    else:
        missing = await _missing(checks.items())
        body = msgspec.json.encode({"status": "waiting" if missing else "ready", "missing": missing})
        await _answer(send, 503 if missing else 200, body, b"application/json")


async def _missing(checks: Iterable[tuple[str, Check]]) -> dict[str, str]:
    async def one(name: str, check: Check) -> tuple[str, str | None]:
        try:
            async with asyncio.timeout(CHECK_DEADLINE):
                return name, await check()
        except TimeoutError:
            return name, f"no answer within {CHECK_DEADLINE:g} s"

    return {name: text for name, text in await asyncio.gather(*(one(n, c) for n, c in checks)) if text}


async def _answer(send: Send, status: int, body: bytes, content_type: bytes) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-type", content_type), (b"content-length", str(len(body)).encode())],
        }
    )
    await send({"type": "http.response.body", "body": body})
