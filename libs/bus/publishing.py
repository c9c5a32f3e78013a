"""Writing to a stream: its one writer names the sequence that must be the last."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Sequence
from typing import Any

import nats.errors

from libs.bus.connection import API_SECONDS, Bus, sendable
from libs.bus.replies import BusError, ConnectionLost, TimedOut, Unreachable, accepted, answer_of
from libs.feed import Outgoing, SinkGone, Tail
from libs.message import Position

BATCH_SYNCS = 5
BATCH_SECONDS = 0.005
"""What an atomic batch costs whatever its size: so many single messages, and so long besides; see DECISIONS.md, 12."""


class Stream:
    """A stream as its one writer sees it (`libs.feed.Sink`)."""

    def __init__(self, bus: Bus, name: str) -> None:
        self.name = name
        self._bus = bus
        self._single = 0.0005
        """Seconds a message takes by itself, smoothed."""

    async def info(self) -> dict[str, Any]:
        try:
            return await self._bus.api(f"STREAM.INFO.{self.name}")
        except (Unreachable, ConnectionLost, TimedOut) as error:
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
        """See `Sink.publish`.

        Many messages go as an atomic batch (NATS ADR-50): a few syncs and some milliseconds whatever its size, and all
        or nothing. Few are cheaper one behind the other, each naming the sequence and the message it must follow, so
        that a refused one lets none behind it in. How many are few depends on the disk, whose speed is measured.
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
            replies = await self._bus.ask_all(requests)
        self._single += ((time.perf_counter() - started) / len(batch) - self._single) / 8
        answers = [answer_of(reply, one.subject) for reply, one in zip(replies, batch, strict=True)]
        return [int(accepted(answer.body)["seq"]) for answer in answers][-1]

    async def _at_once(self, batch: Sequence[Outgoing], expected_last: int) -> int:
        batch_id = secrets.token_hex(8)
        for index, one in enumerate(batch[:-1], 1):
            await self._bus.client.publish(one.subject, one.body, headers=_batched(one, batch_id, index, expected_last))
        last = batch[-1]
        headers = {**_batched(last, batch_id, len(batch), expected_last), "Nats-Batch-Commit": "1"}
        reply = await self._bus.ask(last.subject, last.body, headers, API_SECONDS)
        return int(accepted(reply.body)["seq"])


def _batched(one: Outgoing, batch_id: str, index: int, expected_last: int) -> dict[str, str]:
    headers = {
        **sendable(one.headers),
        "Nats-Msg-Id": one.event_id,
        "Nats-Batch-Id": batch_id,
        "Nats-Batch-Sequence": str(index),
    }
    if index == 1:
        headers["Nats-Expected-Last-Sequence"] = str(expected_last)
    return headers
