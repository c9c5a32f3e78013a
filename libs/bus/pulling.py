"""Pulling from a consumer: many messages for one request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from libs.bus.connection import Bus

log = structlog.get_logger()

PULL_EXPIRES = 30.0
HEARTBEAT = 5.0
RECONNECTED = "reconnected"
"""Beside the statuses of the server: what was asked for on the last connection does not come on this one."""


class Lost(Exception):
    """This pull can not go on; begin a new one."""


class Pull:
    """An inbox and the open request that fills it."""

    def __init__(self, bus: Bus, stream: str, consumer: str) -> None:
        self._bus = bus
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._subscription: Subscription | None = None
        self._forget: Callable[[], None] | None = None
        self.outstanding = 0

    async def open(self) -> None:
        await self.close()
        inbox = self._bus.client.new_inbox()
        subscription = await self._bus.client.subscribe(inbox, pending_msgs_limit=-1, pending_bytes_limit=-1)
        self._forget = self._bus.voided(lambda: _queue(subscription).put_nowait(None))
        self._subscription = subscription
        self._inbox = inbox
        self.outstanding = 0

    async def request(self, batch: int) -> None:
        body = json.dumps({"batch": batch, "expires": int(PULL_EXPIRES * 1e9), "idle_heartbeat": int(HEARTBEAT * 1e9)})
        self.outstanding += batch
        await self._bus.client.publish(self._next, body.encode(), reply=self._inbox)

    async def receive(self, timeout: float) -> list[Msg]:
        """What is there; else waits for the first. Empty after a heartbeat or `timeout`. Raises Lost."""
        assert self._subscription is not None
        queue = _queue(self._subscription)
        messages: list[Msg] = []
        try:
            async with asyncio.timeout(timeout):
                messages = self._sorted(await queue.get(), messages)
        except TimeoutError:
            if not self._bus.client.is_connected:
                raise Lost from None
            return []
        while not queue.empty():
            messages = self._sorted(queue.get_nowait(), messages)
        if self._subscription is not None:
            self._subscription._pending_size = 0  # noqa: SLF001 - see below
        return messages

    def _sorted(self, message: Msg | None, messages: list[Msg]) -> list[Msg]:
        status, description = _told(message)
        if message is not None and status is None:
            self.outstanding -= 1
            messages.append(message)
        elif status == "100":
            pass
        elif status in ("404", "408") or (status == "409" and "Max" in description):
            self.outstanding = 0
        elif messages:
            self.outstanding = -1  # what came before the bad news is good; the news comes again with the next request
        else:
            raise Lost
        return messages

    async def close(self) -> None:
        if self._forget is not None:
            self._forget()
        if self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            try:
                await subscription.unsubscribe()
            except (nats.errors.Error, OSError) as error:
                await log.adebug("bus.unsubscribe", reason=type(error).__name__)


def _queue(subscription: Subscription) -> asyncio.Queue[Any]:
    """What came; None after a reconnect. Not `next_msg`: it makes a task and a timer a message, ten times the cost."""
    return subscription._pending_queue  # noqa: SLF001 - see above


def _told(message: Msg | None) -> tuple[str | None, str]:
    """Status and description; no status is news of the stream."""
    if message is None:
        return RECONNECTED, ""
    headers = message.headers or {}
    return (None if message.data else headers.get("Status")), headers.get("Description", "")
