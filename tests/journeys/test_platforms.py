"""Files of platforms that are reached in other ways than by their own accounts, through a running system."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from libs.message import new_id
from proto.auth import ReadUser
from proto.auth import User as Known
from proto.unrestrict_proxy import (
    AddHostAccount,
    HostLink,
    ReadLink,
    RemoveHostAccount,
    Unrestricted,
    UnrestrictLink,
)
from tests.site.hosts import Host, Hosts
from tests.support.system import PATIENCE, System, User

SIZE = 300_000


async def kept(system: System, user: User, host: Host, **account: Any) -> HostLink:
    """What becomes of the link to the file of `host`, with one account there in the pool."""
    one = host.accounts[0]
    added = AddHostAccount(
        account_id=new_id(),
        platform=host.platform,
        **({"username": one.username, "secret": one.secret, "base_url": host.base_url} | account),
    )
    async with system.operator() as (_, caller):
        owner = (await caller.query(ReadUser(username=user.name), result=Known)).user_id
        await caller.command(added)
        try:
            asked = UnrestrictLink(owner=owner, url=host.files[0].url)
            first, _ = await caller.command(asked, result=Unrestricted, timeout=PATIENCE)
            query = ReadLink(owner=owner, link_id=first.link.link_id)
            async with asyncio.timeout(PATIENCE):
                while (link := await caller.query(query, result=HostLink)).state not in {"done", "error"}:
                    await asyncio.sleep(0.05)  # the interval of a polling client
        finally:
            await caller.command(RemoveHostAccount(account_id=added.account_id))
    return link


@pytest.mark.parametrize("platform", ["realdebrid", "alldebrid", "torbox"])
async def test_a_multihoster_brings_another_platforms_file_also_when_it_makes_the_link_later(
    system: System, user: User, hosts: Hosts, platform: str
) -> None:
    host = hosts.host(platform)
    host.add_account()
    file = host.add_file("film.mkv", SIZE, polls=1)
    link = await kept(system, user, host)

    assert (link.state, link.sha256) == ("done", file.sha256)
    assert link.platform == "rapidgator"


async def test_a_host_that_the_operator_defines_is_fetched_from_with_its_headers(
    system: System, user: User, hosts: Hosts
) -> None:
    host = hosts.host("generic")
    account = host.add_account(secret="a-key-of-ours")
    file = host.add_file("film.mkv", SIZE)
    secret = f"X-Key: {account.secret}"
    link = await kept(system, user, host, username="", secret=secret, domains=("127.0.0.1",))

    assert (link.state, link.sha256) == ("done", file.sha256)
