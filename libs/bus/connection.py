"""One connection to NATS: requests and answers, signals, the JetStream API."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.protocol.command import hpub_cmd
from prometheus_client import Counter

from libs.bus.replies import ConnectionLost, Message, TimedOut, Unreachable, accepted, answer_of
from libs.lasting import ended

log = structlog.get_logger()

API_SECONDS = 5.0
QUIET_SECONDS = 2.0
"""Of the ten that a clean stop of everything may take."""

ERRORS = Counter("longshore_bus_errors_total", "Asynchronous errors of the connection", ["kind"])

Handler = Callable[[Message], Awaitable[bytes | None]]
Listener = Callable[[Message], Awaitable[None]]


async def open(url: str, *, user: str, seed: Path | None = None, patience: float = 10.0) -> Bus:  # noqa: A001 - reads as libs.bus.open
    """Connect as `user`, whose nkey seed is in the file `seed`. Raises Unreachable after `patience` seconds.

    Once connected it stays so: after a loss it reconnects for ever, and keeps 2 MiB of what is published meanwhile.
    """
    if seed is not None:
        try:
            await asyncio.to_thread(seed.read_bytes)
        except OSError as error:  # the library goes on to close what it never opened
            raise Unreachable(f"read the seed {seed}: {error.strerror}") from error
    client = _Client()
    bus = Bus(client)
    options: dict[str, Any] = {"nkeys_seed": str(seed)} if seed is not None else {}
    connecting = asyncio.create_task(
        client.connect(
            servers=[url],
            name=user,
            inbox_prefix=f"_INBOX_{user}",
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.1,  # type: ignore[arg-type]  # it goes to asyncio.sleep; a whole second is too long for a restart
            connect_timeout=2,
            ping_interval=20,
            max_outstanding_pings=2,
            error_cb=bus._on_error,  # noqa: SLF001 - wiring of its own half
            reconnected_cb=bus._on_reconnect,  # noqa: SLF001 - see above
            disconnected_cb=bus._on_disconnect,  # noqa: SLF001 - wiring of its own half
            skip_subject_validation=True,
            **options,
        )
    )
    try:
        await asyncio.wait({connecting}, timeout=patience)
    finally:
        await ended(connecting)
        if connecting.cancelled() or connecting.exception() is not None:
            await client.close()
    if connecting.cancelled():
        raise Unreachable(f"connect to {url}: no answer within {patience:g} s")
    try:
        connecting.result()
    except (OSError, nats.errors.Error) as error:
        raise Unreachable(f"connect to {url}: {type(error).__name__}") from error
    return bus


class _Client(Client):
    """Reads headers in a third of the library's time and writes them in a tenth: every event and every question has a
    dozen. Values with line breaks in them go the library's way, which takes those out. What is published is written at
    once, where the library wakes a task for it."""

    async def _send_publish(
        self, subject: str, reply: str, payload: bytes, payload_size: int, headers: dict[str, Any] | None
    ) -> None:
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()]) if headers else ""
        if not headers or not lines.count("\r") == lines.count("\n") == len(headers):
            await super()._send_publish(subject, reply, payload, payload_size, headers)
            return
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += payload_size
        await self._send_command(hpub_cmd(subject, reply, f"NATS/1.0\r\n{lines}\r\n".encode(), payload))
        await self._flush_pending()

    async def _flush_pending(self, force_flush: bool = False) -> None:  # noqa: FBT002 - the library's signature
        transport = self._transport
        if force_flush or transport is None or not self.is_connected:
            await super()._flush_pending(force_flush)
            return
        waiting, self._pending, self._pending_data_size = self._pending, [], 0
        if waiting:
            transport.writelines(waiting)
        await transport.drain()  # type: ignore[no-untyped-call]  # the library leaves it untyped

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        lines = (line.partition(":") for line in raw.decode("utf-8", "replace").split("\r\n"))
        return {name.strip(): value.strip() for name, colon, value in lines if colon}


class _Straight(asyncio.Queue[Msg]):
    """In place of a subscription's queue: the library wakes a task for each message, which adds a turn of the loop to
    the way of every question and of every answer."""

    def __init__(self, taken: Callable[[Msg], None]) -> None:
        super().__init__()
        self._taken = taken

    def put_nowait(self, item: Msg) -> None:
        self._taken(item)


class Bus:
    """One connection of one user."""

    def __init__(self, client: Client) -> None:
        self.client = client
        """For this folder alone."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._pulls: set[Callable[[], None]] = set()
        self._answering: list[Subscription] = []
        self._closing = False
        self._inbox = ""
        self._asked: dict[str, asyncio.Future[Msg]] = {}

    @property
    def connected(self) -> bool:
        return self.client.is_connected

    async def close(self) -> None:
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=2)
        try:
            async with asyncio.timeout(2):
                if self.client.is_connected:
                    await self.client.flush()
        except (TimeoutError, nats.errors.Error, OSError) as error:
            await log.ainfo("bus.closed_hard", reason=type(error).__name__)
        if self.client._reconnection_task is not None:  # noqa: SLF001 - it could come back after the close
            await ended(self.client._reconnection_task)  # noqa: SLF001 - see above
        try:
            async with asyncio.timeout(2):
                await self.client.close()
        except (TimeoutError, nats.errors.Error, OSError) as error:
            await log.ainfo("bus.closed_hard", reason=type(error).__name__)

    async def quiet(self) -> None:
        """From now on others of the same queues are asked; what was asked here is answered, if that takes no longer
        than QUIET_SECONDS."""
        subscriptions, self._answering = self._answering, []
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                await asyncio.gather(*(one.drain() for one in subscriptions))  # type: ignore[no-untyped-call]  # the library leaves it untyped
                if self._tasks:
                    await asyncio.wait(list(self._tasks))
        except (TimeoutError, nats.errors.Error, OSError) as error:
            await log.ainfo("bus.unanswered", questions=len(self._tasks), reason=type(error).__name__)

    async def ask(
        self, subject: str, body: bytes, headers: Mapping[str, str] | None = None, timeout: float = 5.0
    ) -> Message:
        """Raises Unreachable at once when nobody listens, ConnectionLost as soon as it is, TimedOut after `timeout`
        seconds."""
        try:
            reply = await self._request(subject, body, headers, timeout)
        except TimeoutError as error:
            raise TimedOut(f"no answer to {subject} within {timeout:g} s") from error
        except (nats.errors.Error, OSError) as error:
            raise Unreachable(f"{subject}: {type(error).__name__}") from error
        return answer_of(reply, subject)

    async def _request(self, subject: str, body: bytes, headers: Mapping[str, str] | None, timeout: float) -> Msg:
        """Not that of the client: it uses `asyncio.wait_for`, which on Python 3.11 loses a cancellation that comes
        together with the answer, and the task that was to end goes on for ever."""
        async with asyncio.timeout(timeout):
            return (await self.ask_all([(subject, body, headers)]))[0]

    async def ask_all(self, requests: Sequence[tuple[str, bytes, Mapping[str, str] | None]]) -> list[Msg]:
        """Sent in order without waiting in between; the answers in the same order. Raises ConnectionLost, and what the
        client raises."""
        if not self._inbox:
            inbox = f"{self.client.new_inbox()}."
            await self._subscribe(f"{inbox}*", self._answered)
            self._inbox = inbox  # not before: whoever is cancelled meanwhile would leave all others without answers
        loop = asyncio.get_running_loop()
        asked = {secrets.token_hex(8): loop.create_future() for _ in requests}
        self._asked.update(asked)
        try:
            for token, (subject, body, headers) in zip(asked, requests, strict=True):
                sent = sendable(headers) if headers else None
                await self.client.publish(subject, body, reply=self._inbox + token, headers=sent)
            return [await waiting for waiting in asked.values()]
        finally:
            for token in asked:
                del self._asked[token]

    async def _subscribe(self, subject: str, taken: Callable[[Msg], None], queue: str = "") -> Subscription:
        subscription = await self.client.subscribe(subject, queue=queue, pending_bytes_limit=-1)
        before, subscription._pending_queue = subscription._pending_queue, _Straight(taken)  # noqa: SLF001 - no door
        while not before.empty():
            taken(before.get_nowait())
        return subscription

    def _answered(self, raw: Msg) -> None:
        waiting = self._asked.get(raw.subject.rpartition(".")[2])
        if waiting is not None and not waiting.done():
            waiting.set_result(raw)

    async def answer(self, subject: str, queue: str, handler: Handler, concurrency: int = 64) -> None:
        """Share `subject` with all of `queue`; at most `concurrency` answers are worked on at a time. The server knows
        of it when this returns."""
        slots = asyncio.Semaphore(concurrency)

        asked = await self._subscribe(subject, lambda raw: self._background(self._respond(raw, handler, slots)), queue)
        self._answering.append(asked)
        await self.client.flush()

    async def _respond(self, raw: Msg, handler: Handler, slots: asyncio.Semaphore) -> None:
        try:
            async with slots:
                reply = await handler(Message(raw.subject, raw.headers or {}, raw.data))
            if reply is not None and raw.reply:
                await self.client.publish(raw.reply, reply)
        except (nats.errors.Error, OSError) as error:
            await log.awarning("bus.reply_lost", subject=raw.subject, reason=type(error).__name__)

    async def signal(self, subject: str, body: bytes) -> None:
        """To whoever listens now; nobody may be, and nobody says so."""
        try:
            await self.client.publish(subject, body)
        except (nats.errors.Error, OSError) as error:
            await log.ainfo("bus.signal_lost", subject=subject, reason=type(error).__name__)

    async def listen(self, subject: str, listener: Listener) -> Callable[[], Awaitable[None]]:
        """Every message on `subject`, one after the other. The returned function ends it."""

        async def received(raw: Msg) -> None:
            await listener(Message(raw.subject, raw.headers or {}, raw.data))

        subscription = await self.client.subscribe(subject, cb=received)
        return subscription.unsubscribe

    async def api(self, verb: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """One call of the JetStream API. Raises SinkGone for a stream that is not there, Refusing for any other no."""
        reply = await self.ask(f"$JS.API.{verb}", json.dumps(body).encode() if body else b"", None, API_SECONDS)
        return accepted(reply.body, f"{verb}: ")

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _on_error(self, error: Exception) -> None:
        ERRORS.labels(type(error).__name__).inc()
        await log.awarning("bus.error", reason=str(error) or type(error).__name__)

    async def _on_disconnect(self) -> None:
        """No answer comes to what was asked: a server lets whom it asked answer once, and forgets that when it ends."""
        for waiting in self._asked.values():
            if not waiting.done():
                waiting.set_exception(ConnectionLost("the connection was lost before the answer came"))
                waiting.exception()  # seen: of several that were asked together only the first is waited for
        if not self._closing:
            await log.ainfo("bus.disconnected")

    async def _on_reconnect(self) -> None:
        for void in tuple(self._pulls):
            void()
        await log.ainfo("bus.reconnected")

    def voided(self, tell: Callable[[], None]) -> Callable[[], None]:
        """`tell` is called after every reconnect: pulls that were under way are void then. The returned function ends
        it."""
        self._pulls.add(tell)
        return lambda: self._pulls.discard(tell)


def sendable(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if value}
