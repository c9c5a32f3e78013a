"""A forward proxy that connects only where the policy lets it: the only way out for engines that are not ours.

It resolves a name once, judges every address, and connects to what it judged, so neither a redirect nor a name that
changes its answer leads inside. Each job has its own password, for as long as it runs.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
from typing import Self

import structlog
from msgspec import Struct

from libs.egress.heads import Asked, BadHead, Field, answer_head, read_fields, read_request
from libs.egress.policy import EgressPolicy, EgressRefused
from libs.egress.rate import Rate
from libs.egress.tunnel import Meter, Side, Tunnel

log = structlog.get_logger()

HEAD_SECONDS = 15.0
ANSWER_SECONDS = 300.0
CONNECT_SECONDS = 15.0
CONNECTIONS = 128
"""Open at once for one job; an engine with four fragments under way uses a handful."""
INTERIM = 8
"""1xx answers that are passed on before the one that counts."""


class Usage(Struct, frozen=True, kw_only=True):
    """What a job did through the proxy; `refusal` is why it was last refused by the policy."""

    received: int
    sent: int
    refusal: str | None


class _Job:
    def __init__(self, rate: Rate | None) -> None:
        self.password = secrets.token_urlsafe(18)
        self.meter = Meter(rate)
        self.refusal: str | None = None
        self.open: set[asyncio.Task[None]] = set()


class _Answered(Exception):
    """The client gets this answer of the proxy's own, and no more."""

    def __init__(self, status: str, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class EgressProxy:
    """Listens on loopback while entered."""

    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy
        self._jobs: dict[str, _Job] = {}
        self._open: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Client(self), "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(self._open)

    def grant(self, user: str, rate: Rate | None = None) -> str:
        """The proxy's URL for one job; it holds a secret. Granting again gives the same. `rate` is for what
        comes in over all its connections together."""
        if user not in self._jobs:
            self._jobs[user] = _Job(rate)
        return f"http://{user}:{self._jobs[user].password}@127.0.0.1:{self._port}"

    def usage(self, user: str) -> Usage | None:
        job = self._jobs.get(user)
        if job is None:
            return None
        return Usage(received=job.meter.received, sent=job.meter.sent, refusal=job.refusal)

    def revoke(self, user: str) -> Usage | None:
        """The password is void at once, and what is still open under it is cut."""
        usage = self.usage(user)
        job = self._jobs.pop(user, None)
        for task in job.open if job else ():
            task.cancel()
        return usage

    def accepted(self, client: Side) -> None:
        """A task of its own each: what one connection does must not end another."""
        task = asyncio.get_running_loop().create_task(self._serve(client), name="egress proxy connection")
        self._open.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._open.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("proxy.failed", exc_info=error)

    async def _serve(self, client: Side) -> None:
        try:
            await self._handle(client)
        except _Answered as answered:
            client.transport.write(_answer(answered))
        except (BadHead, TimeoutError, OSError) as error:
            log.debug("proxy.ended", reason=type(error).__name__)
        except asyncio.CancelledError:
            client.reset()
            raise
        finally:
            client.transport.close()

    async def _handle(self, client: Side) -> None:
        async with asyncio.timeout(HEAD_SECONDS):
            head = await client.head()
        try:
            first, fields = read_fields(head)
            job = self._authenticated(fields)
            asked = read_request(first, fields)
        except BadHead as error:
            raise _Answered("400 Bad Request", "bad_request", str(error)) from error
        if len(job.open) >= CONNECTIONS:
            raise _Answered("429 Too Many Requests", "too_many", "too many connections of one job")
        task = asyncio.current_task()
        assert task is not None
        job.open.add(task)
        task.add_done_callback(job.open.discard)
        upstream = await self._connect(asked, job)
        try:
            await _exchange(client, upstream, asked, job.meter)
        except asyncio.CancelledError:
            upstream.reset()
            raise
        finally:
            upstream.transport.close()

    def _authenticated(self, fields: list[Field]) -> _Job:
        for name, value in fields:
            kind, _, token = value.partition(" ")
            if name.lower() != "proxy-authorization" or kind.lower() != "basic":
                continue
            try:
                user, _, password = base64.b64decode(token).partition(b":")
            except binascii.Error:
                break
            job = self._jobs.get(user.decode("latin-1"))
            if job is not None and secrets.compare_digest(job.password.encode(), password):
                return job
        raise _Answered("407 Proxy Authentication Required", "unknown_job", "unknown job")

    async def _connect(self, asked: Asked, job: _Job) -> Side:
        loop = asyncio.get_running_loop()
        try:
            endpoints = await self._policy.resolve(asked.host, asked.port)
        except EgressRefused as refused:
            job.refusal = refused.reason
            log.warning("proxy.refused", host=asked.host, port=asked.port, reason=refused.reason)
            raise _Answered("403 Forbidden", refused.reason, f"egress refused: {refused}") from refused
        except OSError as error:
            raise _Answered("502 Bad Gateway", "no_address", "the host's name has no address") from error
        for endpoint in endpoints:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return (await loop.create_connection(Side, endpoint.address, endpoint.port))[1]
            except OSError as error:
                log.debug("proxy.unreachable", address=endpoint.address, reason=type(error).__name__)
        raise _Answered("502 Bad Gateway", "unreachable", "the host does not answer")


class _Client(Side):
    def __init__(self, proxy: EgressProxy) -> None:
        super().__init__()
        self._proxy = proxy

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._proxy.accepted(self)


async def _exchange(client: Side, upstream: Side, asked: Asked, meter: Meter) -> None:
    if asked.head is None:
        client.transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await Tunnel(client, upstream, meter).run()
        return
    client.left = asked.body
    tunnel = Tunnel(client, upstream, meter)
    upstream.transport.write(asked.head)
    client.join(tunnel)
    async with asyncio.timeout(ANSWER_SECONDS):
        await _pass_answer(client, upstream)
    await tunnel.run()


async def _pass_answer(client: Side, upstream: Side) -> None:
    """The head of the answer, and those of interim answers before it."""
    for _ in range(INTERIM):
        try:
            status, head = answer_head(await upstream.head())
        except (BadHead, ConnectionError) as error:
            raise _Answered("502 Bad Gateway", "bad_answer", "the host does not answer in HTTP") from error
        if status == 101:
            break
        client.transport.write(head)
        if status >= 200:
            return
    raise _Answered("502 Bad Gateway", "bad_answer", "the host does not answer in HTTP")


def _answer(answered: _Answered) -> bytes:
    body = str(answered).encode()
    extra = 'Proxy-Authenticate: Basic realm="longshore"\r\n' if answered.status.startswith("407") else ""
    return (
        f"HTTP/1.1 {answered.status}\r\nX-Longshore-Egress: {answered.code}\r\nContent-Type: text/plain\r\n{extra}"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode() + body
