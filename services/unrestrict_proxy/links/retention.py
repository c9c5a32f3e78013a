"""Files that download managers asked for are kept for a while only, when the operator says so.

A file that another dialect's job fetched through a host account is its user's, and stays.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
import structlog

from libs.bus import BusError
from libs.calls import Caller, ServiceFailed
from libs.database import AWAY
from libs.lasting import lasting
from libs.message import Refused
from proto.job import DeleteJobFiles
from services.unrestrict_proxy.links import views

log = structlog.get_logger()

LOOK_SECONDS = 60.0
AT_ONCE = 100


class Retention:
    """Several processes may each have one: a file is deleted once, and who asks for the second time is told so."""

    def __init__(self, pool: asyncpg.Pool, caller: Caller, days: int, most: int) -> None:
        """`most` in bytes; 0 is no limit, for both."""
        self._pool = pool
        self._caller = caller
        self._days = days
        self._most = most

    async def run(self) -> None:
        """At the pace at which files grow old."""
        passing = (*AWAY, BusError, ServiceFailed)
        await lasting("retention.interrupted", self.look, passing, first=LOOK_SECONDS, longest=LOOK_SECONDS)

    async def look(self) -> int:
        """How many files were given up. They go when storage hears of it, and their links with them."""
        before = datetime.now(UTC) - timedelta(days=self._days) if self._days else None
        async with self._pool.acquire() as conn:
            links = await views.overdue(conn, before, self._most or None, AT_ONCE)
        given_up = 0
        for link in links:
            try:
                await self._caller.command(
                    DeleteJobFiles(owner=None, job_id=link.job_id), actor="service:unrestrict_proxy"
                )
                given_up += 1
            except Refused as refused:
                await log.ainfo("retention.gone_already", link=link.link_id, reason=refused.refusal.message)
        return given_up
