"""dramatiq on a JetStream work queue.

A message is asked for only when a thread is free to take it: what waits, waits where every worker reaches it. While it
is worked on the queue hears so; when this process dies the queue gives the message to another. Retries and delays
are not here: whether and when a job runs again is its owner's decision, in SQL.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

import dramatiq
import structlog
from dramatiq.broker import Broker, Consumer, MessageProxy
from dramatiq.errors import BrokerConnectionError
from dramatiq.middleware import Middleware

from libs.bus import BusError, WorkItem, WorkQueue

log = structlog.get_logger()
R = TypeVar("R")

WORKING_SECONDS = 10.0
"""A third of the queue's ack_wait: two heartbeats may be lost before a message is given to somebody else."""
GIVE_BACK_SECONDS = 0.5

Decode = Callable[[WorkItem], dramatiq.Message[Any]]


class _FailsOnError(Middleware):
    """An actor that raises has not done its work: without this dramatiq would acknowledge the message. What an actor is
    known to raise (`throws`) is no error, and none is logged."""

    @property
    def actor_options(self) -> set[str]:
        return {"throws"}

    def after_process_message(
        self, broker: Broker, message: Any, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        del broker, result
        if exception is not None:
            message.fail()


class JetStreamBroker(Broker):
    """Bridges dramatiq's threads to the event loop that owns the bus. `open_queue` gives a queue by its name; `decode`
    turns a message of it into dramatiq's. `slots` is the number of worker threads."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, open_queue: Callable[[str], WorkQueue], decode: Decode, slots: int
    ) -> None:
        super().__init__(middleware=[_FailsOnError()])
        self._loop = loop
        self._open_queue = open_queue
        self._decode = decode
        self._slots = slots
        self._hands: dict[str, Hands] = {}

    def declare_queue(self, queue_name: str) -> None:
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = None
            self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        """Raises TypeError: work enters the queue when its owner admits it, never from a worker."""
        del delay
        raise TypeError(f"{message.actor_name} is sent by the service that owns the work")

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 30_000) -> Consumer:
        del prefetch  # dramatiq's is twice the threads; a message that waits here could run elsewhere
        hands = self._hands.setdefault(queue_name, Hands(self._slots))
        return JetStreamConsumer(self._loop, self._open_queue(queue_name), self._decode, hands, timeout / 1000)

    def flush(self, queue_name: str) -> None:
        del queue_name

    def flush_all(self) -> None:
        pass


class Hands:
    """What the threads of a queue hold, and how many are free. It outlives a consumer that lost its connection: what
    runs goes on running, and must not be given to anybody else meanwhile."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.held: dict[str, tuple[WorkItem, asyncio.Task[None]]] = {}
        self.ready: list[MessageProxy] = []
        """Held, and not handed to a thread yet."""
        self.free = threading.Semaphore(slots)


class JetStreamConsumer(Consumer):
    """Its methods are called from several threads; what the hands hold is touched in the loop alone."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, queue: WorkQueue, decode: Decode, hands: Hands, timeout: float
    ) -> None:
        self._loop = loop
        self._queue = queue
        self._decode = decode
        self._hands = hands
        self._timeout = timeout
        self._lost = False

    def __next__(self) -> MessageProxy | None:
        if not self._hands.free.acquire(timeout=self._timeout):
            return None
        message: MessageProxy | None = None
        try:
            message = self._call(self._next(), self._timeout + 10)
        except BrokerConnectionError:
            self._lost = True
            raise
        finally:
            if message is None:
                self._hands.free.release()
        return message

    async def _next(self) -> MessageProxy | None:
        hands = self._hands
        if not hands.ready:
            for item in await self._queue.fetch(hands.slots - len(hands.held), self._timeout):
                message = self._decode(item)
                hands.held[message.message_id] = (item, asyncio.create_task(self._keep(item)))
                hands.ready.append(MessageProxy(message))
        return hands.ready.pop(0) if hands.ready else None

    async def _keep(self, item: WorkItem) -> None:
        while True:
            await asyncio.sleep(WORKING_SECONDS)  # the pace of the heartbeat
            await self._queue.working(item)

    def ack(self, message: MessageProxy) -> None:
        """A lost acknowledgement is no harm: the message comes again and its attempt is found to be over."""
        self._call(self._settle(message, self._acknowledge), 30)
        self._hands.free.release()

    async def _acknowledge(self, item: WorkItem) -> None:
        try:
            await self._queue.ack(item)
        except BusError as error:
            await log.awarning("work.ack_lost", reason=str(error))

    def nack(self, message: MessageProxy) -> None:
        """Back to the queue, for another worker or a better moment."""
        self._call(self._settle(message, lambda item: self._queue.release(item, GIVE_BACK_SECONDS)), 30)
        self._hands.free.release()

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        for message in messages:
            self._call(self._settle(message, self._queue.release), 10)

    def close(self) -> None:
        self._call(self._close(), 10)

    async def _close(self) -> None:
        """After a loss of the connection the next consumer takes over what is held; at the end it is given back."""
        if not self._lost:
            self._hands.ready.clear()
            while self._hands.held:  # a thread that was not waited for may settle what it holds meanwhile
                _, (item, keeping) = self._hands.held.popitem()
                keeping.cancel()
                await self._queue.release(item)
        await self._queue.close()

    async def _settle(self, message: MessageProxy, how: Callable[[WorkItem], Coroutine[Any, Any, None]]) -> None:
        item, keeping = self._hands.held.pop(message.message_id, (None, None))
        if item is not None and keeping is not None:
            keeping.cancel()
            await how(item)

    def _call(self, work: Coroutine[Any, Any, R], patience: float) -> R:
        """Dramatiq restarts a consumer only for its own kind of connection error; any other would end the queue's
        thread in silence."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result(patience)
        except (BusError, TimeoutError, RuntimeError, asyncio.CancelledError) as error:
            lost = str(error) or type(error).__name__
            raise BrokerConnectionError(lost) from error  # type: ignore[no-untyped-call]  # dramatiq has none
