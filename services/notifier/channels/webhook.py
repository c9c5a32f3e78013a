"""Signed webhooks of the user's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID

from services.notifier import domain
from services.notifier.channels.posting import Answered, Poster
from services.notifier.views import Delivery

SIGNATURE = "X-Tornado-Signature"
"""The header that receivers of the jobs API verify."""


class Webhook:
    def __init__(self, poster: Poster, secret_of: Callable[[UUID], Awaitable[str]]) -> None:
        self._poster = poster
        self._secret_of = secret_of

    async def send(self, one: Delivery) -> Answered:
        """Signed anew each time, so that receivers may refuse what is old."""
        signature = domain.signature(await self._secret_of(one.owner), one.body, datetime.now(UTC))
        return await self._poster.post(one.url, one.body, {SIGNATURE: signature})
