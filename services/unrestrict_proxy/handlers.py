"""One function per command or query of the unrestrict service; the routing table is at the foot."""

from __future__ import annotations

from datetime import UTC, datetime

import asyncpg

from libs.calls import Answer, Call
from libs.eventstore import Any as AnyVersion
from libs.eventstore import EventStore, NoStream, Write, WrongVersion
from libs.message import Refused
from libs.sealing import Sealer
from proto.unrestrict_proxy import (
    AccountNotFound,
    AddHostAccount,
    ClassifyLinks,
    HostAccountAdded,
    HostAccountRemoved,
    ListPlatforms,
    PlatformInfo,
    RemoveHostAccount,
    UnknownPlatform,
)
from services.unrestrict_proxy import adapters, views


async def add_account(command: AddHostAccount, call: Call, store: EventStore, sealer: Sealer) -> Answer:
    """Adding the same account again is answered as the first time; its secret is not replaced."""
    if adapters.find(command.platform) is None:
        raise Refused(UnknownPlatform(message=f"no platform is called {command.platform}", platform=command.platform))
    at = datetime.now(UTC)
    sealed = sealer.seal(command.secret.encode(), str(command.account_id))
    event = HostAccountAdded(account_id=command.account_id, platform=command.platform, username=command.username, at=at)
    try:
        async with store.transaction() as tx:
            places = await tx.append(
                [
                    Write(
                        stream_id=command.account_id,
                        kind="account",
                        expected=NoStream(),
                        events=[event],
                        meta=call.meta,
                    )
                ]
            )
            await views.add_account(tx.conn, command.account_id, command.platform, command.username, sealed, at)
    except WrongVersion:
        return Answer()
    return Answer(position=places[-1])


async def remove_account(command: RemoveHostAccount, call: Call, pool: asyncpg.Pool, store: EventStore) -> Answer:
    async with pool.acquire() as conn:
        platform = await views.platform_of(conn, command.account_id)
    if platform is None:
        raise Refused(AccountNotFound(message="no such account", account_id=command.account_id))
    event = HostAccountRemoved(account_id=command.account_id, platform=platform, at=datetime.now(UTC))
    async with store.transaction() as tx:
        places = await tx.append(
            [Write(stream_id=command.account_id, kind="account", expected=AnyVersion(), events=[event], meta=call.meta)]
        )
        await views.remove_account(tx.conn, command.account_id)
    return Answer(position=places[-1])


async def classify_links(query: ClassifyLinks) -> Answer:
    return Answer([adapters.classify(url) for url in query.urls])


async def list_platforms(query: ListPlatforms, pool: asyncpg.Pool) -> Answer:
    del query  # it has no fields
    async with pool.acquire() as conn:
        accounts = await views.accounts_by_platform(conn)
    return Answer(
        [
            PlatformInfo(
                platform=one.platform, name=one.name, domains=one.domains, accounts=accounts.get(one.platform, 0)
            )
            for one in adapters.PLATFORMS
        ]
    )


HANDLERS = (add_account, remove_account, classify_links, list_platforms)
