"""Two processes of the gateway on a real bus, and one who asks both of them too often."""

from __future__ import annotations

import asyncio

import pytest

from services.gateway.sharing import SUBJECT, Sharing
from services.gateway.throttle import BURST_SECONDS, Throttle, TooMany

RATE = 2


async def test_who_has_spent_what_one_process_allows_has_spent_it_everywhere(installation) -> None:
    throttles = [Throttle(RATE, lambda: 0.0) for _ in range(2)]
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        telling = []
        for one in throttles:
            bus = await installation.bus("gateway")
            sharing = Sharing(bus, one)
            await bus.listen(SUBJECT, sharing.heard)
            telling.append(tasks.create_task(sharing.tell()))
        for _ in range(int(RATE * BURST_SECONDS)):
            throttles[0].count("a")
        while not refused(throttles[1]):
            await asyncio.sleep(0.02)  # what is heard tells nobody
        for task in telling:
            task.cancel()

    throttles[1].count("b")
    with pytest.raises(TooMany):
        throttles[0].count("a")


def refused(throttle: Throttle) -> bool:
    try:
        throttle.spent("a")
    except TooMany:
        return True
    return False
