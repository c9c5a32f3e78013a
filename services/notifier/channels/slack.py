"""Slack's incoming webhooks: the address is the secret."""

from __future__ import annotations

import asyncio
import re

import asyncpg
import msgspec

from libs.sealing import Sealer
from proto.job import JobCompleted, JobFailed
from proto.notifier import NotifyLevel
from services.notifier import views
from services.notifier.channels.posting import Answered, Poster
from services.notifier.views import Delivery

ADDRESS = re.compile(r"https://hooks\.slack\.com/services/[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")
LONGEST_TEXT = 2000
ASK_SECONDS = 3.0
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
"""All that Slack asks to be escaped; without it a title could name everybody in the channel."""


def masked(url: str) -> str:
    return f"https://hooks.slack.com/services/****{url[-4:]}"


def body(event: JobCompleted | JobFailed, level: NotifyLevel) -> bytes | None:
    """None for an end that is not to be told at this level."""
    if isinstance(event, JobCompleted):
        if level != "all":
            return None
        text = f"Completed: {event.title or event.url}" if event.items_done else f"Nothing new: {event.url}"
    else:
        warning = event.failure.kind == "content"
        if level == ("errors_only" if warning else "warnings_only"):
            return None
        text = f"{'Warning' if warning else 'Failed'}: {event.url}: {event.failure.message}"
    return msgspec.json.encode({"text": text[:LONGEST_TEXT].translate(_ESCAPES)})


async def unknown(poster: Poster, url: str) -> bool:
    """Whether Slack itself says that nothing may be posted there. An object without a text posts nothing: of a good
    address it is 400. Slack that does not answer says nothing of the address."""
    try:
        async with asyncio.timeout(ASK_SECONDS):
            return (await poster.post(url, b"{}", {})).status in (401, 403, 404, 410)
    except TimeoutError:
        return False


class Slack:
    def __init__(self, poster: Poster, pool: asyncpg.Pool, sealer: Sealer) -> None:
        self._poster = poster
        self._pool = pool
        self._sealer = sealer

    async def send(self, one: Delivery) -> Answered:
        """To where the owner wants it now, which may be nowhere any more."""
        async with self._pool.acquire() as conn:
            kept = await views.slack(conn, one.owner)
        if kept is None:
            return Answered(None, "the channel was removed", 0)
        return await self._poster.post(self._sealer.open(kept.sealed, str(one.owner)).decode(), one.body, {})
