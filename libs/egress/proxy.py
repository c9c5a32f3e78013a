"""A forward proxy that connects only where the policy lets it: the only way out for engines that are not ours.

It resolves a name once, judges every address, and connects to what it judged, so neither a redirect nor a name that
changes its answer leads inside. Each job has its own password, for as long as it runs.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from typing import Self
from urllib.parse import urlsplit

import structlog

from libs.egress.policy import EgressPolicy, EgressRefused, Endpoint

log = structlog.get_logger()

HEAD_LIMIT = 64 * 1024
HEAD_SECONDS = 15.0
CONNECT_SECONDS = 15.0
IDLE_SECONDS = 300.0
CHUNK = 256 * 1024

_HOP_BY_HOP = frozenset({"proxy-authorization", "proxy-connection", "connection", "keep-alive", "te", "trailer",
                         "upgrade"})


class _Bad(Exception):
    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class EgressProxy:
    """Listens on loopback while entered."""

    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy
        self._passwords: dict[str, str] = {}
        self._server: asyncio.Server | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD_LIMIT)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    def grant(self, user: str) -> str:
        """The proxy's URL for one job; it holds a secret. Granting again gives the same."""
        password = self._passwords.setdefault(user, secrets.token_urlsafe(18))
        return f"http://{user}:{password}@127.0.0.1:{self._port}"

    def revoke(self, user: str) -> None:
        self._passwords.pop(user, None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._handle(reader, writer)
        except _Bad as bad:
            await _refuse(writer, bad.status, str(bad))
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            await log.adebug("proxy.ended", reason=type(error).__name__)
        finally:
            writer.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_SECONDS):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request, *lines = head[:-4].split("\r\n")
        headers = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        parts = request.split(" ")
        if len(parts) != 3:
            raise _Bad("400 Bad Request", "malformed request")
        method, target, _ = parts
        self._authenticate(headers)
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            if not port.isdecimal():
                raise _Bad("400 Bad Request", "malformed target")
            upstream = await self._connect(host.strip("[]"), int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            url = urlsplit(target)
            if url.scheme != "http" or not url.hostname:
                raise _Bad("400 Bad Request", "only absolute http targets")
            upstream = await self._connect(url.hostname, url.port or 80)
            path = (url.path or "/") + (f"?{url.query}" if url.query else "")
            kept = [f"{name}: {value}" for name, value in headers if name.lower() not in _HOP_BY_HOP]
            # One request a connection: what follows it could be for another host.
            upstream[1].write("\r\n".join([f"{method} {path} HTTP/1.1", *kept, "Connection: close", "", ""])
                              .encode("latin-1"))
        await _splice(reader, writer, *upstream)

    def _authenticate(self, headers: list[tuple[str, str]]) -> None:
        for name, value in headers:
            if name.lower() == "proxy-authorization":
                kind, _, token = value.partition(" ")
                try:
                    user, _, password = base64.b64decode(token).decode().partition(":")
                except ValueError:
                    break
                known = self._passwords.get(user)
                if kind.lower() == "basic" and known is not None and secrets.compare_digest(known, password):
                    return
        raise _Bad("407 Proxy Authentication Required", "unknown job")

    async def _connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            endpoints = await self._policy.resolve(host, port)
        except EgressRefused as refused:
            await log.awarning("proxy.refused", host=host, port=port, reason=str(refused))
            raise _Bad("403 Forbidden", f"egress refused: {refused}") from refused
        except (OSError, TimeoutError) as error:
            raise _Bad("502 Bad Gateway", "the host's name has no address") from error
        for endpoint in endpoints:
            try:
                return await _open(endpoint)
            except (OSError, TimeoutError) as error:
                await log.adebug("proxy.unreachable", address=endpoint.address, reason=type(error).__name__)
        raise _Bad("502 Bad Gateway", "the host does not answer")


async def _open(endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(CONNECT_SECONDS):
        return await asyncio.open_connection(endpoint.address, endpoint.port, limit=CHUNK)


async def _splice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
                  up_reader: asyncio.StreamReader, up_writer: asyncio.StreamWriter) -> None:
    """Both directions until both end. The upstream's end is passed on at once, so a client never waits for more."""
    try:
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(_pump(reader, up_writer, half_close=True))
            await _pump(up_reader, writer, half_close=False)
            sending.cancel()
    except* (OSError, TimeoutError) as errors:
        await log.adebug("proxy.cut", reason=str(errors.exceptions[0]))
    finally:
        up_writer.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, half_close: bool) -> None:
    while True:
        async with asyncio.timeout(IDLE_SECONDS):
            chunk = await source.read(CHUNK)
        if not chunk:
            break
        sink.write(chunk)
        async with asyncio.timeout(IDLE_SECONDS):
            await sink.drain()
    if half_close and sink.can_write_eof():
        sink.write_eof()


async def _refuse(writer: asyncio.StreamWriter, status: str, reason: str) -> None:
    body = reason.encode()
    extra = 'Proxy-Authenticate: Basic realm="longshore"\r\n' if status.startswith("407") else ""
    writer.write(f"HTTP/1.1 {status}\r\nX-Longshore-Egress: refused\r\nContent-Type: text/plain\r\n{extra}"
                 f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
    try:
        async with asyncio.timeout(5):
            await writer.drain()
    except (OSError, TimeoutError) as error:
        await log.adebug("proxy.gone", reason=type(error).__name__)
