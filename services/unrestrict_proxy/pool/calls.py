"""Questions to an adapter, as a session carries them."""

from __future__ import annotations

import aiohttp

from services.unrestrict_proxy.adapters.contract import (
    Adapter,
    Credentials,
    DirectLink,
    FileInfo,
    HostFile,
    Pending,
    Session,
)
from services.unrestrict_proxy.pool.sessions import Call


def check(adapter: Adapter, file: HostFile) -> Call[FileInfo]:
    async def call(http: aiohttp.ClientSession, credentials: Credentials, session: Session) -> FileInfo:
        return (await adapter.check(http, credentials, session, [file]))[0]

    return call


def resolve(
    adapter: Adapter, file: HostFile, password: str | None, pending: Pending | None
) -> Call[DirectLink | Pending]:
    async def call(http: aiohttp.ClientSession, credentials: Credentials, session: Session) -> DirectLink | Pending:
        if pending is not None:
            return await adapter.poll(http, credentials, session, pending)
        return await adapter.resolve(http, credentials, session, file, password)

    return call
