"""What a file adds up to while it is sent, against what a storage service says of it afterwards."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from typing import IO

_MD5 = re.compile(r"[0-9a-f]{32}(-[0-9]+)?")


class Checksums:
    """Of what was read, and of each part alone: S3 names the whole by the parts' MD5."""

    def __init__(self, source: IO[bytes], part: int) -> None:
        self.size = 0
        self.sha256 = hashlib.sha256()
        self._source = source
        self._part = part
        self._parts: list[bytes] = []

    def read(self) -> bytes:
        """The next part; nothing at the end."""
        data = self._source.read(self._part)
        if data:
            self.size += len(data)
            self.sha256.update(data)
            self._parts.append(hashlib.md5(data, usedforsecurity=False).digest())
        return data

    async def match(self, md5: str | None, etag: str | None) -> bool:
        """Whether the service's own checksum shows that it has what was sent. True as well if it gives none."""
        if md5 is not None:
            return md5 == base64.b64encode(await self._whole()).decode()
        etag = (etag or "").strip('"').lower()
        if not _MD5.fullmatch(etag):
            return True
        if "-" not in etag:
            return etag == (await self._whole()).hex()
        parts = hashlib.md5(b"".join(self._parts), usedforsecurity=False)
        return etag == f"{parts.hexdigest()}-{len(self._parts)}"

    async def _whole(self) -> bytes:
        """Few services name a file in parts so; only then it is worth reading the file once more."""
        if len(self._parts) == 1:
            return self._parts[0]
        digest = hashlib.md5(usedforsecurity=False)
        await asyncio.to_thread(self._source.seek, 0)
        while data := await asyncio.to_thread(self._source.read, self._part):
            await asyncio.to_thread(digest.update, data)
        return digest.digest()
