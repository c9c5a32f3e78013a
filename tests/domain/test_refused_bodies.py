"""What becomes of a body that is too much, before it is said so."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

from services.gateway.app import Body


def body(*parts: bytes) -> tuple[Body, list[bytes]]:
    """Of a client that sends them and is silent then; and those that nobody has read yet."""
    left = [*parts]

    async def receive() -> MutableMapping[str, Any]:
        if not left:
            await asyncio.get_running_loop().create_future()
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    return Body(receive), left


async def test_what_a_client_has_left_to_send_is_read_first():
    """It would see a broken pipe in place of the answer."""
    one, left = body(b"a", b"b", b"c")
    await one()
    await one.discard()

    assert left == []


async def test_the_answer_to_a_body_that_was_read_whole_waits_for_nothing():
    one, _ = body(b"a", b"b")
    await one()
    await one()
    discarding = asyncio.create_task(one.discard())
    await asyncio.sleep(0)

    assert discarding.done()
