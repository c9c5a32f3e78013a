"""Premium accounts on scripted hosts, in the pool of a running system for as long as a test needs them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.message import new_id
from proto.unrestrict_proxy import AddHostAccount, RemoveHostAccount
from tests.site.hosts import Host


@asynccontextmanager
async def pooled(caller, host: Host, *accounts, platform: str | None = None) -> AsyncIterator[None]:
    """`accounts` of `host` (one is made when there is none), known to the system until the block is left."""
    made = [
        AddHostAccount(
            account_id=new_id(),
            platform=platform or host.platform,
            username=one.username,
            secret=one.secret,
            base_url=host.base_url,
        )
        for one in accounts or (host.add_account(),)
    ]
    for one in made:
        await caller.command(one)
    try:
        yield
    finally:
        for one in made:
            await caller.command(RemoveHostAccount(account_id=one.account_id))
