"""Answers from outside, which may be of any length and come in any pieces."""

from __future__ import annotations

import aiohttp


async def bounded(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """The first `most` bytes. One `read(most)` would give what has come so far, which may be a part of a short body."""
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) >= most:
            break
    return bytes(body[:most])
