"""A queue of work: a message is one worker's until it says that it is done, or falls silent."""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec
import nats.errors

from libs.bus.connection import API_SECONDS, Bus
from libs.bus.pulling import Lost, Pull
from libs.bus.replies import Unreachable, accepted


async def enqueue(bus: Bus, subject: str, body: bytes, msg_id: str) -> None:
    """Acknowledged by the server. Raises BusError; the same `msg_id` again is taken once."""
    reply = await bus.ask(subject, body, {"Nats-Msg-Id": msg_id}, API_SECONDS)
    accepted(reply.body)


class WorkItem(msgspec.Struct, frozen=True):
    """A message of a work queue. `reply` names it to the server; `delivered` counts its deliveries."""

    subject: str
    headers: Mapping[str, str]
    body: bytes
    reply: str
    delivered: int


class WorkQueue:
    """A durable pull consumer of tickets: explicit acknowledgement, redelivery when a worker falls silent."""

    def __init__(self, bus: Bus, stream: str, durable: str) -> None:
        self._bus = bus
        self._pull = Pull(bus, stream, durable)
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
        except (Lost, nats.errors.Error, OSError) as error:
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

    async def close(self) -> None:
        if self._open:
            await self._pull.close()
