"""The pool with real adapters, against servers that speak their platforms' protocols."""

from __future__ import annotations

import asyncio
import hashlib

import aiohttp
import pytest

from libs.message import new_id
from proto.unrestrict_proxy import NotYet
from services.unrestrict_proxy import adapters
from services.unrestrict_proxy.adapters.contract import HostError
from services.unrestrict_proxy.pool import Lease, PoolShort
from tests.site.hosts import SPEECHES, Hosts
from tests.support.hosts import GIB, Pools
from tests.support.sure import being, sure

INSIDE = "127.0.0.0/8"


async def rapidgator(installation, hosts: Hosts, **accounts: int):
    """Accounts by name with their traffic, most first."""
    host = hosts.host("rapidgator")
    pools = Pools(installation, adapters.find("rapidgator"))
    ids = {}
    for name, left in accounts.items():
        host.add_account(name, f"secret of {name}", traffic_left=left)
        ids[name] = await pools.add("rapidgator", name, base_url=host.base_url)
    return host, pools, ids


async def test_the_bytes_behind_a_lease_are_the_file(installation, hosts):
    host, pools, _ = await rapidgator(installation, hosts, a=GIB)
    file = host.add_file("film.bin", 50_000)
    async with pools.pool(allow=INSIDE) as pool, aiohttp.ClientSession() as http:
        found = await pool.match(file.url.replace("rapidgator.net", "rg.to"))
        info = await pool.check(found)
        lease = await pool.open(new_id(), found, None)
        async with http.get(lease.link.url) as answer:
            body = await answer.read()

    assert (info.name, info.size) == ("film.bin", 50_000)
    assert hashlib.sha256(body).hexdigest() == file.sha256
    assert (host.count("login"), host.count("account"), host.count("resolve")) == (1, 1, 1)


@pytest.mark.parametrize("platform", SPEECHES)
async def test_every_platform_gives_its_files_through_the_pool(installation, hosts, platform):
    host = hosts.host(platform)
    account = host.add_account()
    pools = Pools(installation, *adapters.PLATFORMS)
    account_id = await pools.add(
        platform,
        account.username,
        secret=account.secret,
        base_url=host.base_url,
        domains=("127.0.0.1",) if platform == "generic" else (),
        max_chunks=2,
    )
    file, holder = host.add_file("film.bin", 50_000, polls=2), new_id()
    async with pools.pool(allow=INSIDE) as pool:
        found = sure(await pool.match(file.url))
        info = await pool.check(found)
        while isinstance(lease := await pool.open(holder, found, None), NotYet):
            pools.clock.pass_(lease.after)
        async with (
            aiohttp.ClientSession() as http,
            http.get(lease.link.url, headers=lease.link.headers) as answer,
        ):
            body = await answer.read()
        shown = {one.platform: one for one in await pool.hosts()}[found.ref.platform]

    assert info.online in {"online", "unknown"}
    assert (lease.account_id, lease.platform) == (account_id, platform)
    assert (lease.link.max_chunks or 2, lease.caps.max_chunks) == (2, 2)
    assert hashlib.sha256(body).hexdigest() == file.sha256
    assert shown.working


async def test_sessions_that_are_over_are_renewed_once_for_all_who_notice(installation, hosts):
    host, pools, _ = await rapidgator(installation, hosts, a=GIB)
    files = [host.add_file(f"{n}.bin", 1000) for n in range(3)]
    async with pools.pool(allow=INSIDE) as one, pools.pool(allow=INSIDE) as two:
        found = [await one.match(file.url) for file in files]
        await one.check(found[0])
        host.expire_sessions()
        leases = await asyncio.gather(
            *((one, two)[n % 2].open(new_id(), wanted, None) for n, wanted in enumerate(found))
        )

    assert all(isinstance(lease, Lease) for lease in leases)
    assert host.count("login") == 2


@pytest.mark.parametrize(
    ("fault", "standing"),
    [("exhausted", "cooling"), ("slots", "cooling"), ("not_premium", "cooling"), ("frozen", "broken")],
)
async def test_an_account_that_the_platform_refuses_gives_way_to_the_next(installation, hosts, fault, standing):
    host, pools, ids = await rapidgator(installation, hosts, a=9 * GIB, b=GIB)
    file = host.add_file()
    host.script(fault, on="resolve")
    async with pools.pool(allow=INSIDE) as pool:
        lease = await pool.open(new_id(), await pool.match(file.url), None)
        refused = await pool.account(ids["a"])

    assert lease.account_id == ids["b"]
    assert refused.standing.summary(pools.clock())[0] == standing


async def test_a_captcha_at_login_leaves_the_account_alone_and_says_why(installation, hosts):
    host, pools, ids = await rapidgator(installation, hosts, a=GIB)
    host.accounts[0].captcha = True
    async with pools.pool(allow=INSIDE) as pool:
        with pytest.raises(PoolShort):
            await pool.check(await pool.match(host.add_file().url))
        account = await pool.account(ids["a"])
        with pytest.raises(PoolShort):
            await pool.check(await pool.match(host.add_file().url))

    assert account.standing.summary(pools.clock())[2] == "The platform wants a person to sign in on its site."
    assert host.count("login") == 1


async def test_a_captcha_that_was_solved_is_over_when_the_operator_has_the_account_checked(installation, hosts):
    host, pools, ids = await rapidgator(installation, hosts, a=GIB)
    async with pools.pool(allow=INSIDE) as pool:
        await pool.check(await pool.match(host.add_file().url))
        host.expire_sessions()
        host.accounts[0].captcha = True
        with pytest.raises(PoolShort):
            await pool.check(await pool.match(host.add_file().url))
        still = await pool.read(ids["a"])
        host.accounts[0].captcha = False
        solved = await pool.read(ids["a"])
        await pool.check(await pool.match(host.add_file().url))

    assert [one.standing.summary(pools.clock())[0] for one in (still, solved)] == ["cooling", "usable"]


@pytest.mark.parametrize(("fault", "status"), [("offline", 104), ("banned", 102), ("private", 103), ("unknown", 106)])
async def test_what_the_platform_says_of_the_file_reaches_who_asked_for_it(installation, hosts, fault, status):
    host, pools, _ = await rapidgator(installation, hosts, a=9 * GIB, b=GIB)
    file = host.add_file()
    host.script(fault, on="resolve")
    async with pools.pool(allow=INSIDE) as pool:
        with pytest.raises(HostError) as refused:
            await pool.open(new_id(), await pool.match(file.url), None)

    assert refused.value.status == status
    assert host.count("resolve") == 1


async def test_maintenance_opens_the_breaker_for_as_long_as_the_platform_says(installation, hosts):
    host, pools, _ = await rapidgator(installation, hosts, a=GIB)
    file = host.add_file()
    async with pools.pool(allow=INSIDE) as pool:
        found = await pool.match(file.url)
        await pool.check(found)
        host.script("maintenance", on="resolve", times=3)
        for _ in range(3):
            with pytest.raises(HostError, match="maintenance"):
                await pool.open(new_id(), found, None)
        with pytest.raises(HostError) as out:
            await pool.open(new_id(), found, None)
        pools.clock.pass_(out.value.retry_after)
        lease = await pool.open(new_id(), found, None)

    assert (out.value.status, out.value.retry_after) == (105, 600)
    assert isinstance(lease, Lease)


async def test_a_multihost_account_serves_what_its_live_list_names(installation, hosts):
    host = hosts.host("realdebrid")
    account = host.add_account()
    pools = Pools(installation, adapters.find("rapidgator"), adapters.find("realdebrid"))
    await pools.add("realdebrid", "", secret=account.secret, base_url=host.base_url)
    file = host.add_file("film.bin", 50_000)
    async with pools.pool(allow=INSIDE) as pool:
        found = sure(await pool.match(file.url))
        lease = being(Lease, await pool.open(new_id(), found, None))
        shown = [one.platform for one in await pool.hosts()]

    assert lease.platform == "realdebrid"
    assert found.ref.platform in shown


async def test_a_platform_inside_is_not_reached_unless_the_operator_opened_it(installation, hosts):
    host, pools, _ = await rapidgator(installation, hosts, a=GIB)
    async with pools.pool() as pool:
        with pytest.raises(HostError, match="not on the public internet") as refused:
            await pool.open(new_id(), await pool.match(host.add_file().url), None)

    assert refused.value.code == "unreachable"
    assert host.asked == []
