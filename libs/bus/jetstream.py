"""The only module that knows NATS.

Streams are read by ephemeral ordered pulls that begin where the reader's own mark says. The reader's mark lives in
Postgres beside its effect, so a second cursor in the server could only disagree with it.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import msgspec
import nats
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from prometheus_client import Counter

from libs.feed import Delivered, Outgoing, SinkGone, Tail, WrongSequence, event_subject
from libs.message import Position

log = structlog.get_logger()

API_SECONDS = 5.0
PULL_BATCH = 500
PULL_EXPIRES = 30.0
HEARTBEAT = 5.0
BATCH_SYNCS = 5
BATCH_SECONDS = 0.005
"""What an atomic batch costs whatever its size: so many single messages, and so long besides; see DECISIONS.md."""
WRONG_SEQUENCE = frozenset({10071, 10070, 10201, 10176, 10174})
"""Wrong last sequence or message, duplicate in a batch, incomplete or abandoned batch: the end is elsewhere."""
STREAM_GONE = 10059

SLOW = Counter("longshore_bus_errors_total", "Asynchronous errors of the connection", ["kind"])


class BusError(Exception):
    """The bus did not carry this message."""


class Unreachable(BusError):
    """Nobody listens on this subject now."""


class TimedOut(BusError):
    """No answer in time; whether it was acted on is unknown."""


class Refusing(BusError):
    """The server understood the request and said no."""


class Message(msgspec.Struct, frozen=True):
    subject: str
    headers: Mapping[str, str]
    body: bytes


Handler = Callable[[Message], Awaitable[bytes | None]]
Listener = Callable[[Message], Awaitable[None]]


class WorkItem(msgspec.Struct, frozen=True):
    """A message of a work queue. `reply` names it to the server; `delivered` counts its deliveries."""

    subject: str
    headers: Mapping[str, str]
    body: bytes
    reply: str
    delivered: int


async def open(url: str, *, user: str, seed: Path | None = None, patience: float = 10.0) -> Bus:  # noqa: A001 - reads as libs.bus.open
    """Connect as `user`, whose nkey seed is in the file `seed`. Raises Unreachable after `patience` seconds.

    Once connected it stays so: after a loss it reconnects for ever, and keeps 2 MiB of what is published meanwhile.
    """
    client = _Client()
    bus = Bus(client)
    options: dict[str, Any] = {"nkeys_seed": str(seed)} if seed is not None else {}
    try:
        async with asyncio.timeout(patience):
            await client.connect(
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
    except (OSError, TimeoutError, nats.errors.Error) as error:
        await client.close()
        raise Unreachable(f"connect to {url}: {type(error).__name__}") from error
    return bus


class _Client(Client):
    """Reads headers three times as fast; every event is read by several followers."""

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        lines = (line.partition(":") for line in raw.decode("utf-8", "replace").split("\r\n"))
        return {name.strip(): value.strip() for name, colon, value in lines if colon}


class Bus:
    """One connection of one user."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._tasks: set[asyncio.Task[None]] = set()
        self._generation = 0
        self._closing = False
        self._inbox = ""
        self._asked: dict[str, asyncio.Future[Msg]] = {}

    @property
    def connected(self) -> bool:
        return self._client.is_connected

    async def close(self) -> None:
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=2)
        try:
            async with asyncio.timeout(2):
                if self._client.is_connected:
                    await self._client.flush()
                await self._client.close()
        except (TimeoutError, nats.errors.Error, OSError) as error:
            await log.ainfo("bus.closed_hard", reason=type(error).__name__)

    # -- request and reply ----------------------------------------------------------------------------------------

    async def ask(
        self, subject: str, body: bytes, headers: Mapping[str, str] | None = None, timeout: float = 5.0
    ) -> Message:
        """Raises Unreachable at once when nobody listens, TimedOut after `timeout` seconds."""
        try:
            reply = await self._request(subject, body, headers, timeout)
        except TimeoutError as error:
            raise TimedOut(f"no answer to {subject} within {timeout:g} s") from error
        except (nats.errors.Error, OSError) as error:
            raise Unreachable(f"{subject}: {type(error).__name__}") from error
        return _answer(reply, subject)

    async def _request(self, subject: str, body: bytes, headers: Mapping[str, str] | None, timeout: float) -> Msg:
        """Not that of the client: it uses `asyncio.wait_for`, which on Python 3.11 loses a cancellation that comes
        together with the answer, and the task that was to end goes on for ever."""
        async with asyncio.timeout(timeout):
            return (await self._requests([(subject, body, headers)]))[0]

    async def _requests(self, requests: Sequence[tuple[str, bytes, Mapping[str, str] | None]]) -> list[Msg]:
        """Sent in order without waiting in between; the answers in the same order."""
        if not self._inbox:
            self._inbox = f"{self._client.new_inbox()}."
            await self._client.subscribe(f"{self._inbox}*", cb=self._answered)
        loop = asyncio.get_running_loop()
        asked = {secrets.token_hex(8): loop.create_future() for _ in requests}
        self._asked.update(asked)
        try:
            for token, (subject, body, headers) in zip(asked, requests, strict=True):
                sent = _sendable(headers) if headers else None
                await self._client.publish(subject, body, reply=self._inbox + token, headers=sent)
            return [await waiting for waiting in asked.values()]
        finally:
            for token in asked:
                del self._asked[token]

    async def _answered(self, raw: Msg) -> None:
        waiting = self._asked.get(raw.subject.rpartition(".")[2])
        if waiting is not None and not waiting.done():
            waiting.set_result(raw)

    async def answer(self, subject: str, queue: str, handler: Handler, concurrency: int = 64) -> None:
        """Share `subject` with all of `queue`; at most `concurrency` answers are worked on at a time. The server knows
        of it when this returns."""
        slots = asyncio.Semaphore(concurrency)

        async def received(raw: Msg) -> None:
            await slots.acquire()
            self._background(self._respond(raw, handler, slots))

        await self._client.subscribe(subject, queue=queue, cb=received)
        await self._client.flush()

    async def _respond(self, raw: Msg, handler: Handler, slots: asyncio.Semaphore) -> None:
        try:
            reply = await handler(Message(raw.subject, raw.headers or {}, raw.data))
            if reply is not None and raw.reply:
                await self._client.publish(raw.reply, reply)
        except (nats.errors.Error, OSError) as error:
            await log.awarning("bus.reply_lost", subject=raw.subject, reason=type(error).__name__)
        finally:
            slots.release()

    async def signal(self, subject: str, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """To whoever listens now; nobody may be, and nobody says so."""
        try:
            await self._client.publish(subject, body, headers=_sendable(headers) if headers else None)
        except (nats.errors.Error, OSError) as error:
            await log.ainfo("bus.signal_lost", subject=subject, reason=type(error).__name__)

    async def listen(self, subject: str, listener: Listener) -> Callable[[], Awaitable[None]]:
        """Every message on `subject`, one after the other. The returned function ends it."""

        async def received(raw: Msg) -> None:
            await listener(Message(raw.subject, raw.headers or {}, raw.data))

        subscription = await self._client.subscribe(subject, cb=received)
        return subscription.unsubscribe

    # -- streams --------------------------------------------------------------------------------------------------

    def stream(self, name: str) -> Stream:
        return Stream(self, self._client, name)

    @asynccontextmanager
    async def follow(
        self, stream: str, after: int = 0, *, new: bool = False, only: Collection[str] = ()
    ) -> AsyncIterator[AsyncIterator[list[Delivered]]]:
        """Batches of everything behind sequence `after`, or of what is `new`, then of what comes: in order, without
        gap, whatever happens to the connection or the server. Waits without end when nothing comes. With `only`, event
        types, the server sends no others."""
        follower = _Follower(self, self._client, stream, after, new, [event_subject(one) for one in sorted(only)])
        try:
            yield follower.batches()
        finally:
            await follower.close()

    def work_queue(self, stream: str, durable: str) -> WorkQueue:
        return WorkQueue(self, self._client, stream, durable)

    async def enqueue(self, subject: str, body: bytes, msg_id: str) -> None:
        """Into a stream, acknowledged by the server. Raises BusError; the same `msg_id` again is taken once."""
        reply = await self.ask(subject, body, {"Nats-Msg-Id": msg_id}, API_SECONDS)
        _check_ack(reply.body)

    async def api(self, verb: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """One call of the JetStream API. Raises SinkGone for a stream that is not there, Refusing for any other no."""
        reply = await self.ask(f"$JS.API.{verb}", json.dumps(body).encode() if body else b"", None, API_SECONDS)
        answer: dict[str, Any] = json.loads(reply.body)
        if error := answer.get("error"):
            text = f"{verb}: {error.get('description')}"
            raise SinkGone(text) if error.get("err_code") == STREAM_GONE else Refusing(text)
        return answer

    # -- of the connection ----------------------------------------------------------------------------------------

    def _background(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _on_error(self, error: Exception) -> None:
        SLOW.labels(type(error).__name__).inc()
        await log.awarning("bus.error", reason=str(error) or type(error).__name__)

    async def _on_disconnect(self) -> None:
        if not self._closing:
            await log.ainfo("bus.disconnected")

    async def _on_reconnect(self) -> None:
        self._generation += 1
        await log.ainfo("bus.reconnected")

    @property
    def generation(self) -> int:
        """Grows with every reconnect: pulls that were under way are void then."""
        return self._generation


def _sendable(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if value}


def _answer(reply: Msg, subject: str) -> Message:
    answered = reply.headers or {}
    if not reply.data and answered.get("Status") == "503":
        raise Unreachable(f"nobody answers {subject}")
    return Message(reply.subject, answered, reply.data)


def _check_ack(body: bytes) -> dict[str, Any]:
    ack: dict[str, Any] = json.loads(body)
    if error := ack.get("error"):
        text = str(error.get("description"))
        if error.get("err_code") in WRONG_SEQUENCE:
            raise WrongSequence(text)
        if error.get("err_code") == STREAM_GONE:
            raise SinkGone(text)
        raise Refusing(text)
    return ack


class Stream:
    """A stream as its one writer sees it (`libs.feed.Sink`)."""

    def __init__(self, bus: Bus, client: Client, name: str) -> None:
        self.name = name
        self._bus = bus
        self._client = client
        self._single = 0.0005
        """Seconds a message takes by itself, smoothed."""

    async def info(self) -> dict[str, Any]:
        try:
            return await self._bus.api(f"STREAM.INFO.{self.name}")
        except (Unreachable, TimedOut) as error:
            raise SinkGone(str(error)) from error

    async def epoch(self) -> str:
        """Changes when the stream is made anew."""
        return str((await self.info())["created"])

    async def last_sequence(self) -> int:
        return int((await self.info())["state"]["last_seq"])

    async def last(self) -> Tail | None:
        sequence = await self.last_sequence()
        if sequence == 0:
            return None
        try:
            reply = await self._bus.ask(f"$JS.API.DIRECT.GET.{self.name}", json.dumps({"seq": sequence}).encode())
        except BusError as error:
            raise SinkGone(str(error)) from error
        if "Pos" not in reply.headers:
            raise SinkGone(f"{self.name} {sequence}: {reply.headers.get('Description', 'no such message')}")
        return Tail(sequence, Position.parse(reply.headers["Pos"]))

    async def publish(self, batch: Sequence[Outgoing], expected_last: int) -> int:
        """Nothing of it, or nothing behind its first missing message, when the sequence is not the expected one.

        Many go as an atomic batch (ADR-50): a few syncs for all of it, and some milliseconds whatever its size. Few are
        cheaper one behind the other, each naming the sequence and the message it must follow; how many that is depends
        on the disk.
        """
        try:
            if len(batch) <= BATCH_SYNCS + BATCH_SECONDS / self._single:
                return await self._one_by_one(batch, expected_last)
            return await self._at_once(batch, expected_last)
        except (nats.errors.Error, TimeoutError, OSError, BusError) as error:
            # Whether the batch is in is unknown: the relay must read the end again.
            raise SinkGone(f"{self.name}: {str(error) or type(error).__name__}") from error

    async def _one_by_one(self, batch: Sequence[Outgoing], expected_last: int) -> int:
        requests = [
            (
                one.subject,
                one.body,
                {
                    **one.headers,
                    "Nats-Msg-Id": one.event_id,
                    "Nats-Expected-Last-Sequence": str(expected_last + index),
                    # Without it, what follows a refused message could fit where the stream is longer than we think.
                    "Nats-Expected-Last-Msg-Id": batch[index - 1].event_id if index else "",
                },
            )
            for index, one in enumerate(batch)
        ]
        started = time.perf_counter()
        async with asyncio.timeout(API_SECONDS):
            replies = await self._bus._requests(requests)  # noqa: SLF001 - the stream is the bus's own half
        self._single += ((time.perf_counter() - started) / len(batch) - self._single) / 8
        answers = [_answer(reply, one.subject) for reply, one in zip(replies, batch, strict=True)]
        return [int(_check_ack(answer.body)["seq"]) for answer in answers][-1]

    async def _at_once(self, batch: Sequence[Outgoing], expected_last: int) -> int:
        batch_id = secrets.token_hex(8)
        for index, one in enumerate(batch[:-1], 1):
            await self._client.publish(one.subject, one.body, headers=_batched(one, batch_id, index, expected_last))
        last = batch[-1]
        headers = {**_batched(last, batch_id, len(batch), expected_last), "Nats-Batch-Commit": "1"}
        reply = await self._bus.ask(last.subject, last.body, headers, API_SECONDS)
        return int(_check_ack(reply.body)["seq"])


def _batched(one: Outgoing, batch_id: str, index: int, expected_last: int) -> dict[str, str]:
    headers = {
        **_sendable(one.headers),
        "Nats-Msg-Id": one.event_id,
        "Nats-Batch-Id": batch_id,
        "Nats-Batch-Sequence": str(index),
    }
    if index == 1:
        headers["Nats-Expected-Last-Sequence"] = str(expected_last)
    return headers


class _Lost(Exception):
    """This pull can not go on; begin a new one."""


class _Pull:
    """An inbox and the open request that fills it."""

    def __init__(self, bus: Bus, client: Client, stream: str, consumer: str) -> None:
        self._bus = bus
        self._client = client
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._subscription: Subscription | None = None
        self._generation = -1
        self.outstanding = 0

    async def open(self) -> None:
        await self.close()
        inbox = self._client.new_inbox()
        self._subscription = await self._client.subscribe(inbox, pending_msgs_limit=-1, pending_bytes_limit=-1)
        self._inbox = inbox
        self._generation = self._bus.generation
        self.outstanding = 0

    async def request(self, batch: int) -> None:
        body = json.dumps({"batch": batch, "expires": int(PULL_EXPIRES * 1e9), "idle_heartbeat": int(HEARTBEAT * 1e9)})
        self.outstanding += batch
        await self._client.publish(self._next, body.encode(), reply=self._inbox)

    async def receive(self, timeout: float) -> list[Msg]:
        """What is there; else waits for the first. Empty after a heartbeat or `timeout`. Raises _Lost."""
        assert self._subscription is not None
        queue: asyncio.Queue[Msg] = self._subscription._pending_queue  # noqa: SLF001 - `next_msg` makes a task and a timer a message, ten times the cost
        messages: list[Msg] = []
        try:
            async with asyncio.timeout(timeout):
                messages = self._sorted(await queue.get(), messages)
        except TimeoutError:
            if self._generation != self._bus.generation or not self._client.is_connected:
                raise _Lost from None
            return []
        while not queue.empty():
            messages = self._sorted(queue.get_nowait(), messages)
        if self._subscription is not None:
            self._subscription._pending_size = 0  # noqa: SLF001 - see above
        return messages

    def _sorted(self, message: Msg, messages: list[Msg]) -> list[Msg]:
        status = (message.headers or {}).get("Status") if not message.data else None
        if status is None:
            self.outstanding -= 1
            messages.append(message)
        elif status == "100":
            pass
        elif status in ("404", "408") or (status == "409" and "Max" in (message.headers or {}).get("Description", "")):
            self.outstanding = 0
        elif messages:
            self.outstanding = -1  # what came before the bad news is good; the news comes again with the next request
        else:
            raise _Lost
        return messages

    async def close(self) -> None:
        if self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            try:
                await subscription.unsubscribe()
            except (nats.errors.Error, OSError) as error:
                await log.adebug("bus.unsubscribe", reason=type(error).__name__)


class _Follower:
    """An ordered consumer: gaps and losses are met by a new one, which begins behind the last event given out."""

    def __init__(self, bus: Bus, client: Client, stream: str, after: int, new: bool, subjects: Sequence[str]) -> None:
        self._bus = bus
        self._client = client
        self._stream = stream
        self._after = after
        self._new = new
        self._subjects = subjects
        self._name = ""
        self._consumed = 0
        self._pull: _Pull | None = None

    async def batches(self) -> AsyncIterator[list[Delivered]]:
        pause = 0.02
        while True:
            try:
                await self._begin()
                async for batch in self._read():
                    pause = 0.02
                    yield batch
            except (_Lost, SinkGone, BusError, nats.errors.Error, OSError, TimeoutError) as error:
                await log.adebug("bus.follow_again", stream=self._stream, reason=str(error) or type(error).__name__)
            await asyncio.sleep(pause)  # back-off while the server or the stream is away
            pause = min(pause * 2, 1.0)

    async def _begin(self) -> None:
        await self.close()
        if self._new:
            self._after = await self._bus.stream(self._stream).last_sequence()
            self._new = False
        self._name = f"f{secrets.token_hex(8)}"
        config: dict[str, object] = {
            "name": self._name,
            "ack_policy": "none",
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._after + 1,
            "inactive_threshold": int(60e9),
            "mem_storage": True,
            "num_replicas": 1,
        }
        if self._subjects:
            config["filter_subjects"] = list(self._subjects)
        await self._bus.api(
            f"CONSUMER.CREATE.{self._stream}.{self._name}",
            {"stream_name": self._stream, "config": config, "action": "create"},
        )
        self._consumed = 0
        self._pull = _Pull(self._bus, self._client, self._stream, self._name)
        await self._pull.open()

    async def _read(self) -> AsyncIterator[list[Delivered]]:
        assert self._pull is not None
        quiet = 0
        while True:
            if self._pull.outstanding <= PULL_BATCH // 2:
                await self._pull.request(PULL_BATCH)
            messages = await self._pull.receive(HEARTBEAT * 2)
            if not messages:
                quiet += 1
                if quiet > 1:
                    raise _Lost  # not even heartbeats
                continue
            quiet = 0
            batch = [self._in_order(message) for message in messages]
            self._after = batch[-1].sequence
            yield batch

    def _in_order(self, message: Msg) -> Delivered:
        tokens = message.reply.split(".")
        sequence, consumed = int(tokens[-4]), int(tokens[-3])
        if consumed != self._consumed + 1:
            raise _Lost
        self._consumed = consumed
        return _delivered(message, sequence)

    async def close(self) -> None:
        pull, self._pull = self._pull, None
        if pull is not None:
            await pull.close()
            if self._client.is_connected:
                try:
                    await self._client.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self._name}", b"")
                except (nats.errors.Error, OSError) as error:
                    await log.adebug("bus.consumer_left", reason=type(error).__name__)


def _delivered(message: Msg, sequence: int) -> Delivered:
    headers = message.headers or {}
    return Delivered(
        sequence=sequence,
        position=Position.parse(headers["Pos"]),
        event_type=headers["ce-type"],
        schema_version=int(headers["ce-dataschema"].rpartition(".v")[2]),
        stream_id=UUID(headers["ce-subject"]),
        version=int(headers["version"]),
        recorded_at=datetime.fromisoformat(headers["ce-time"]),
        headers=headers,
        body=message.data,
    )


class WorkQueue:
    """A durable pull consumer of tickets: explicit acknowledgement, redelivery when a worker falls silent."""

    def __init__(self, bus: Bus, client: Client, stream: str, durable: str) -> None:
        self._bus = bus
        self._client = client
        self._pull = _Pull(bus, client, stream, durable)
        self._open = False

    async def fetch(self, batch: int, timeout: float) -> list[WorkItem]:
        """Up to `batch` tickets, the first as soon as it is there; empty after `timeout` seconds. Raises BusError.

        What is asked for and not yet delivered stays asked for: ask only for what there are hands for.
        """
        try:
            if not self._open:
                await self._pull.open()
                self._open = True
            if self._pull.outstanding < batch:
                await self._pull.request(batch - max(self._pull.outstanding, 0))
            messages = await self._pull.receive(timeout)
        except (_Lost, nats.errors.Error, OSError) as error:
            self._open = False
            raise Unreachable("the work queue is away") from error
        return [WorkItem(m.subject, m.headers or {}, m.data, m.reply, int(m.reply.split(".")[-5])) for m in messages]

    async def ack(self, item: WorkItem) -> None:
        """Returns when the server has it: a ticket that was done must not come again. Raises BusError."""
        await self._bus.ask(item.reply, b"+ACK", None, API_SECONDS)

    async def release(self, item: WorkItem, delay: float = 0.0) -> None:
        """Give it back; another worker may have it after `delay` seconds."""
        await self._bus.signal(
            item.reply, b"-NAK" + (json.dumps({"delay": int(delay * 1e9)}).encode() if delay else b"")
        )

    async def working(self, item: WorkItem) -> None:
        await self._bus.signal(item.reply, b"+WPI")

    async def reject(self, item: WorkItem) -> None:
        """Never again: the server drops it and says so in an advisory."""
        await self._bus.signal(item.reply, b"+TERM")

    async def close(self) -> None:
        if self._open:
            await self._pull.close()


class Spec(Protocol):
    """A stream or a consumer as data: its name, and its configuration in the server's own words."""

    @property
    def name(self) -> str: ...

    @property
    def config(self) -> Mapping[str, object]: ...


class ConsumerOf(Spec, Protocol):
    @property
    def stream(self) -> str: ...


async def ensure_topology(bus: Bus, streams: Iterable[Spec], consumers: Iterable[ConsumerOf]) -> None:
    """Make what is missing and update what differs. Raises Refusing for a difference that needs a decision: the server
    refuses changes that would lose data."""
    for stream in streams:
        body = {**stream.config, "name": stream.name}
        try:
            await bus.api(f"STREAM.UPDATE.{stream.name}", body)
        except SinkGone:
            await bus.api(f"STREAM.CREATE.{stream.name}", body)
    for consumer in consumers:
        await bus.api(
            f"CONSUMER.CREATE.{consumer.stream}.{consumer.name}",
            {
                "stream_name": consumer.stream,
                "config": {**consumer.config, "durable_name": consumer.name, "name": consumer.name},
            },
        )
