"""Reading a stream: ephemeral ordered pulls that begin where the reader's own mark says.

The reader's mark lives in Postgres beside its effect, so a second cursor in the server could only disagree with it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import nats.errors
import structlog
from nats.aio.msg import Msg

from libs.bus.connection import Bus
from libs.bus.publishing import Stream
from libs.bus.pulling import HEARTBEAT, Lost, Pull
from libs.bus.replies import BusError
from libs.feed import Delivered, SinkGone, event_subject
from libs.message import Position

log = structlog.get_logger()

PULL_BATCH = 500


@asynccontextmanager
async def follow(
    bus: Bus, stream: str, after: int = 0, *, new: bool = False, only: Collection[str] = ()
) -> AsyncIterator[AsyncIterator[list[Delivered]]]:
    """Batches of everything behind sequence `after`, or of what is `new`, then of what comes: in order, without gap,
    whatever happens to the connection or the server. Waits without end when nothing comes. With `only`, event types,
    the server sends no others."""
    follower = _Follower(bus, stream, after, new, [event_subject(one) for one in sorted(only)])
    try:
        yield follower.batches()
    finally:
        await follower.close()


class _Follower:
    """An ordered consumer: gaps and losses are met by a new one, which begins behind the last event given out."""

    def __init__(self, bus: Bus, stream: str, after: int, new: bool, subjects: Sequence[str]) -> None:
        self._bus = bus
        self._stream = stream
        self._after = after
        self._new = new
        self._subjects = subjects
        self._name = ""
        self._consumed = 0
        self._pull: Pull | None = None

    async def batches(self) -> AsyncIterator[list[Delivered]]:
        pause = 0.02
        while True:
            try:
                await self._begin()
                async for batch in self._read():
                    pause = 0.02
                    yield batch
            except (Lost, SinkGone, BusError, nats.errors.Error, OSError, TimeoutError) as error:
                await log.adebug("bus.follow_again", stream=self._stream, reason=str(error) or type(error).__name__)
            await asyncio.sleep(pause)  # back-off while the server or the stream is away
            pause = min(pause * 2, 1.0)

    async def _begin(self) -> None:
        await self.close()
        if self._new:
            self._after = await Stream(self._bus, self._stream).last_sequence()
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
        self._pull = Pull(self._bus, self._stream, self._name)
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
                    raise Lost  # not even heartbeats
                continue
            quiet = 0
            batch = [self._in_order(message) for message in messages]
            self._after = batch[-1].sequence
            yield batch

    def _in_order(self, message: Msg) -> Delivered:
        tokens = message.reply.split(".")
        sequence, consumed = int(tokens[-4]), int(tokens[-3])
        if consumed != self._consumed + 1:
            raise Lost
        self._consumed = consumed
        return _delivered(message, sequence, int(tokens[-1]))

    async def close(self) -> None:
        pull, self._pull = self._pull, None
        if pull is not None:
            await pull.close()
            if self._bus.client.is_connected:
                try:
                    await self._bus.client.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self._name}", b"")
                except (nats.errors.Error, OSError) as error:
                    await log.adebug("bus.consumer_left", reason=type(error).__name__)


def _delivered(message: Msg, sequence: int, pending: int) -> Delivered:
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
        pending=pending,
    )
