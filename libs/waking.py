"""Waking a leader that may be in another process.

While another process leads, what would have woken the leader here goes there by the bus. What is lost on its way costs
the time until the leader's next look.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable


async def pass_on(wake: asyncio.Event, tell: Callable[[], Awaitable[None]], seconds: float) -> None:
    """For who does not lead, `seconds` long: calls `tell` whenever `wake` is set here."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                await wake.wait()
                wake.clear()
                await tell()
