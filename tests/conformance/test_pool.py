"""The pool of host accounts, on a database of its own, with platforms that say whatever a test wants."""

from __future__ import annotations

import asyncio

from libs.message import new_id
from services.unrestrict_proxy.pool import Lease, NoSlot
from tests.support.hosts import GIB, Host, Pools


async def test_a_lease_is_of_the_account_with_most_traffic_left_and_the_same_for_the_same_holder(installation):
    host = Host("filehost", "file.test", slots=2)
    host.left = {"poor": GIB, "rich": 5 * GIB}
    pools = Pools(installation, host)
    await pools.add("filehost", "poor")
    rich = await pools.add("filehost", "rich")
    holder = new_id()
    async with pools.pool() as pool:
        file = await pool.match("https://www.file.test/file/abc")
        first = await pool.open(holder, file, None)
        again = await pool.open(holder, file, None)

    assert isinstance(first, Lease)
    assert first.account_id == rich
    assert again == first
    assert host.asked["resolve"] == 1


async def test_fifty_takers_over_two_pools_never_have_more_than_all_slots(installation):
    host = Host("filehost", "file.test", slots=3)
    pools = Pools(installation, host)
    for name in "abcde":
        await pools.add("filehost", name)
    async with pools.pool() as one, pools.pool() as two:
        file = host.file("abc")
        taken = await asyncio.gather(
            *((one, two)[number % 2].open(new_id(), file, None) for number in range(50)), return_exceptions=True
        )

    leases = [found for found in taken if isinstance(found, Lease)]
    assert {type(found) for found in taken} == {Lease, NoSlot}
    assert len(leases) == len({lease.lease_id for lease in leases}) == 15
    rows = await pools.rows("select account_id, slot from unrestrict_proxy.slots where holder is not null")
    assert len({tuple(row) for row in rows}) == 15
    assert all(row["slot"] <= 3 for row in rows)
