"""A file behind an HTTP address that answers ranges, such as a presigned one of object storage."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import aiohttp

from libs.serving.ranges import Span
from libs.serving.sending import PIECE

READ_SECONDS = 60.0


class RemoteFile:
    """`http` is under the egress policy: the address comes from settings of a user's."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    async def pieces(self, span: Span) -> AsyncGenerator[bytes, None]:
        left = span.length
        try:
            async with self._http.get(
                self._url,
                headers={"Range": f"bytes={span.first}-{span.last}", "Accept-Encoding": "identity"},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=READ_SECONDS, sock_read=READ_SECONDS),
            ) as response:
                if response.status != 206:
                    raise ConnectionAbortedError(f"the storage answered {response.status}")
                async for piece in response.content.iter_chunked(PIECE):
                    left -= len(piece)
                    if left < 0:
                        break
                    yield piece
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ConnectionAbortedError(f"the storage broke off: {type(error).__name__}") from error
        if left:
            raise ConnectionAbortedError("the storage sent something else than what was asked for")
