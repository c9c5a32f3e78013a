"""The processes of the gateway tell each other how many requests of whom they let through, so that a limit holds for
all of them together."""

from __future__ import annotations

import asyncio

import msgspec

from libs.bus import Bus, Message
from libs.message import new_id
from proto.gateway import Asked
from services.gateway.throttle import TELL_SECONDS, Throttle

SUBJECT = "ctl.asked"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Asked).decode


class Sharing:
    def __init__(self, bus: Bus, throttle: Throttle) -> None:
        self._bus = bus
        self._throttle = throttle
        self._me = new_id()

    async def heard(self, message: Message) -> None:
        news = _decode(message.body)
        if news.process != self._me:
            self._throttle.heard(news.counts)

    async def tell(self) -> None:
        """Until cancelled. Raises BusError; what could not be told then is not told."""
        while True:
            await asyncio.sleep(TELL_SECONDS)  # the pace of the news
            if counts := self._throttle.news():
                await self._bus.signal(SUBJECT, _encode(Asked(process=self._me, counts=counts)))
