"""Questions to an adapter, as a session carries them."""

from __future__ import annotations

from services.unrestrict_proxy.adapters.contract import (
    Adapter,
    DirectLink,
    FileInfo,
    HostFile,
    Line,
    Pending,
)
from services.unrestrict_proxy.pool.sessions import Call


def check(adapter: Adapter, file: HostFile) -> Call[FileInfo]:
    async def call(line: Line) -> FileInfo:
        return (await adapter.check(line, [file]))[0]

    return call


def resolve(
    adapter: Adapter, file: HostFile, password: str | None, pending: Pending | None
) -> Call[DirectLink | Pending]:
    async def call(line: Line) -> DirectLink | Pending:
        if pending is not None:
            return await adapter.poll(line, pending)
        return await adapter.resolve(line, file, password)

    return call
