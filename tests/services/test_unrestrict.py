"""Platforms, the classification of links, and host accounts."""

from __future__ import annotations

import pytest

from libs.message import Refused, new_id
from proto.unrestrict_proxy import (
    AddHostAccount,
    ClassifyLinks,
    LinkClass,
    ListPlatforms,
    PlatformInfo,
    RemoveHostAccount,
)

LINKS = {
    "https://rapidgator.net/file/0123456789abcdef0123456789abcdef/a.rar.html": (
        "rapidgator",
        "0123456789abcdef0123456789abcdef",
    ),
    "https://rg.to/file/123456": ("rapidgator", "123456"),
    "https://www.k2s.cc/file/0123456789abc/name": ("keep2share", "0123456789abc"),
    "https://1fichier.com/?abcdef12345": ("1fichier", "abcdef12345"),
    "https://nitro.download/view/ABC123DEF/a.zip": ("nitroflare", "ABC123DEF"),
    "https://rapidgator.net.evil.test/file/123456": None,
    "https://notrapidgator.net/file/123456": None,
    "https://rapidgator.net/account": None,
    "https://user:pass@[::bad": None,
    "https://example.com/": None,
}


async def test_a_link_belongs_to_the_platform_of_its_host_and_never_to_a_lookalike(system):
    async with system.operator() as (_, caller):
        found = await caller.query(ClassifyLinks(urls=tuple(LINKS)), result=list[LinkClass | None])

    assert [None if one is None else (one.platform, one.file_ref) for one in found] == list(LINKS.values())


async def accounts_on(caller, platform: str) -> int:
    known = await caller.query(ListPlatforms(), result=list[PlatformInfo])
    return next(one.accounts for one in known if one.platform == platform)


async def test_an_account_is_counted_until_it_is_removed_and_adding_it_twice_is_one(system):
    account = AddHostAccount(account_id=new_id(), platform="rapidgator", username="me", secret="a secret of ours")
    async with system.operator() as (_, caller):
        before = await accounts_on(caller, "rapidgator")
        await caller.command(account)
        await caller.command(account)
        during = await accounts_on(caller, "rapidgator")
        await caller.command(RemoveHostAccount(account_id=account.account_id))
        after = await accounts_on(caller, "rapidgator")
        with pytest.raises(Refused, match="no such account"):
            await caller.command(RemoveHostAccount(account_id=account.account_id))

    assert (during, after) == (before + 1, before)


async def test_a_platform_that_is_not_known_is_refused(system):
    async with system.operator() as (_, caller):
        with pytest.raises(Refused, match="no platform is called"):
            await caller.command(AddHostAccount(account_id=new_id(), platform="nowhere", secret="x"))
