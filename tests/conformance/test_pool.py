"""The pool of host accounts, on a database of its own, with platforms that say whatever a test wants."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from libs.calls import Call
from libs.message import Meta, new_id
from proto.unrestrict_proxy import NotYet, RemoveHostAccount
from services.unrestrict_proxy.adapters.contract import (
    AccountState,
    Caps,
    DirectLink,
    FileInfo,
    HostError,
    HostFile,
    Pending,
)
from services.unrestrict_proxy.pool import Lease, NoSlot, PoolShort
from services.unrestrict_proxy.pool.handlers import remove_account
from services.unrestrict_proxy.pool.pool import Pool
from tests.support.hosts import GIB, Host, Pools, refusal
from tests.support.sure import being, sure

CALL = Call(meta=Meta(correlation=new_id()), command_id=None, actor="", deadline=0.0, body=b"")


async def found(pool: Pool, url: str) -> HostFile:
    return sure(await pool.match(url))


async def opened(pool: Pool, holder: UUID, file: HostFile, password: str | None) -> Lease:
    """Where the link is there at once."""
    return being(Lease, await pool.open(holder, file, password))


async def refused(work) -> HostError:
    with pytest.raises(HostError) as caught:
        await work
    return caught.value


# ---- slots -----------------------------------------------------------------------------------------------------


async def test_a_lease_is_of_the_account_with_most_traffic_left_and_its_slot_the_same_for_the_same_holder(installation):
    host = Host("filehost", "file.test", slots=2)
    host.left = {"poor": GIB, "rich": 5 * GIB}
    pools = Pools(installation, host)
    await pools.add("filehost", "poor")
    rich = await pools.add("filehost", "rich")
    holder = new_id()
    async with pools.pool() as pool:
        file = await found(pool, "https://www.file.test/file/abc")
        first = await opened(pool, holder, file, None)
        again = await opened(pool, holder, file, None)

    assert isinstance(first, Lease)
    assert first.account_id == rich
    assert (again.account_id, again.link) == (rich, first.link)
    assert len(await pools.rows("select from unrestrict_proxy.slots where holder is not null")) == 1
    assert host.asked["resolve"] == 1


async def test_a_holder_that_comes_again_has_its_slot_under_a_new_lease_and_the_old_one_is_over(installation):
    """A worker was killed: the next counts its bytes from zero, which must not hide those of the first."""
    host = Host("filehost", "file.test", slots=1)
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    holder = new_id()
    async with pools.pool() as pool:
        first = await opened(pool, holder, host.file("abc"), None)
        again = await opened(pool, holder, host.file("abc"), None)
        kept = [await pool.keep(one.lease_id) for one in (first, again)]
        await pool.close(first.lease_id, 1000, None, "")

        assert kept == [False, True]
        assert await pool.keep(again.lease_id)


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


async def test_slots_that_an_account_has_no_more_are_given_to_nobody(installation):
    """Its platform allows fewer than when they were made."""
    host = Host("filehost", "file.test", slots=3)
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    async with pools.pool() as pool:
        lease = await opened(pool, new_id(), host.file("abc"), None)
        await pool.close(lease.lease_id, 0, None, "")
        host.caps = Caps(slots=1)
        await opened(pool, new_id(), host.file("abc"), None)
        with pytest.raises(NoSlot):
            await opened(pool, new_id(), host.file("abc"), None)


async def test_one_holder_that_asks_twice_at_once_has_one_slot(installation):
    host = Host("filehost", "file.test", slots=3)
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    holder = new_id()
    async with pools.pool() as one, pools.pool() as two:
        first, second = await asyncio.gather(
            opened(one, holder, host.file("abc"), None), opened(two, holder, host.file("abc"), None)
        )

    rows = await pools.rows("select lease_id from unrestrict_proxy.slots where holder is not null")
    assert [row["lease_id"] in {first.lease_id, second.lease_id} for row in rows] == [True]


async def test_a_lease_that_nobody_keeps_goes_to_the_next_and_is_lost_to_its_holder(installation):
    host = Host("filehost", "file.test", slots=1)
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    async with pools.pool() as one, pools.pool() as two:
        first = await opened(one, new_id(), host.file("abc"), None)
        pools.clock.pass_(29)
        kept = await one.keep(first.lease_id)
        pools.clock.pass_(29)
        with pytest.raises(NoSlot) as full:
            await opened(two, new_id(), host.file("abc"), None)
        pools.clock.pass_(2)
        second = await opened(two, new_id(), host.file("abc"), None)
        lost = await one.keep(first.lease_id)
        await one.close(first.lease_id, 2000, None, "")
        still = await two.keep(second.lease_id)

    assert (kept, lost, still) == (True, False, True)
    assert full.value.retry_after == 1.0


async def test_a_slot_that_went_to_another_while_the_platform_thought_is_given_to_nobody_twice(installation):
    host = Host("filehost", "file.test", slots=1)
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    async with pools.pool() as one, pools.pool() as two:
        await one.check(host.file("abc"))  # a session is there
        gate = host.hold("resolve")
        first = asyncio.create_task(one.open(new_id(), host.file("abc"), None))
        async with asyncio.timeout(60):
            while host.asked["resolve"] < 1:
                await asyncio.sleep(0.01)  # until it is under way
            pools.clock.pass_(31)
            second = asyncio.create_task(two.open(new_id(), host.file("def"), None))
            while host.asked["resolve"] < 2:
                await asyncio.sleep(0.01)  # until it is under way too
        gate.set()
        found = await asyncio.gather(first, second, return_exceptions=True)

    assert [type(one) for one in found] == [NoSlot, Lease]


async def test_who_asks_anew_while_the_platform_thinks_is_the_one_who_has_the_slot(installation):
    host = Host("filehost", "file.test", slots=1)
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    async with pools.pool() as one, pools.pool() as two:
        await one.check(host.file("abc"))  # a session is there
        holder, gate, asks = new_id(), host.hold("resolve"), []
        async with asyncio.timeout(60):
            for number, pool in enumerate((one, two), 1):
                asks.append(asyncio.create_task(pool.open(holder, host.file("abc"), None)))
                while host.asked["resolve"] < number:
                    await asyncio.sleep(0.01)  # until it is under way
        gate.set()
        given_up, lease = await asyncio.gather(*asks, return_exceptions=True)
        kept = await two.keep(being(Lease, lease).lease_id)

    assert type(given_up) is NoSlot
    assert kept


async def test_a_lease_that_ran_out_and_that_nobody_took_goes_on(installation):
    host = Host("filehost", "file.test", slots=1)
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    async with pools.pool() as pool:
        lease = await opened(pool, new_id(), host.file("abc"), None)
        pools.clock.pass_(300)

        assert await pool.keep(lease.lease_id)


async def test_the_slots_of_an_account_that_is_removed_are_nobodys(installation):
    host = Host("filehost", "file.test")
    pools = Pools(installation, host)
    account_id = await pools.add("filehost", "a")
    store = await installation.store("unrestrict_proxy", 1)
    async with pools.pool() as pool:
        file = await found(pool, "https://file.test/file/abc")
        lease = await opened(pool, new_id(), file, None)
        await remove_account(RemoveHostAccount(account_id=account_id), CALL, store, pool)
        kept = await pool.keep(lease.lease_id)
        await pool.close(lease.lease_id, 0, None, "")
        with pytest.raises(PoolShort):
            await opened(pool, new_id(), file, None)
        gone = await pool.match("https://file.test/file/abc")

    assert (kept, gone) == (False, None)


# ---- sessions --------------------------------------------------------------------------------------------------


async def test_many_who_need_a_session_over_two_pools_log_in_once(installation):
    host = Host("filehost", "file.test", slots=20)
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    gate = host.hold("login")
    async with pools.pool() as one, pools.pool() as two, asyncio.TaskGroup() as tasks:
        for number in range(12):
            tasks.create_task((one, two)[number % 2].open(new_id(), host.file(str(number)), None))
        waiting = "select from pg_locks where locktype = 'advisory' and not granted"
        async with asyncio.timeout(60):
            while not await pools.rows(waiting) and host.asked["login"] < 2:
                await asyncio.sleep(0.01)  # until the other pool waits for its turn
        gate.set()

    assert host.asked["login"] == 1
    assert host.asked["resolve"] == 12


async def test_a_login_may_take_longer_than_any_other_transaction_and_so_may_the_wait_for_it(installation):
    host = Host("filehost", "file.test", slots=2)
    pools = Pools(installation, host, transaction_timeout="3s")
    await pools.add("filehost", "a")
    gate = host.hold("login")
    async with pools.pool() as one, pools.pool() as two, asyncio.TaskGroup() as tasks:
        first = tasks.create_task(one.open(new_id(), host.file("1"), None))
        second = tasks.create_task(two.open(new_id(), host.file("2"), None))
        begun = (await pools.rows("select clock_timestamp() as at"))[0]["at"]
        late = "select where clock_timestamp() > $1::timestamptz + interval '4 seconds'"
        async with asyncio.timeout(60):
            while not host.asked["login"] or not await pools.rows(late, begun):
                await asyncio.sleep(0.05)  # until the database's clock says that the time of the others is over
        gate.set()

    assert isinstance(first.result(), Lease)
    assert isinstance(second.result(), Lease)
    assert host.asked["login"] == 1


async def test_a_session_that_is_over_is_renewed_once_and_the_call_made_again(installation):
    host = Host("filehost", "file.test")
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    async with pools.pool() as pool:
        await opened(pool, new_id(), host.file("abc"), None)
        host.sessions.clear()
        lease = await opened(pool, new_id(), host.file("def"), None)

    assert isinstance(lease, Lease)
    assert host.asked["login"] == 2
    assert await pools.events("account_cooled") == []


async def test_a_session_that_is_over_at_once_again_cools_the_account(installation):
    host = Host("filehost", "file.test")
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    over = refusal(code="session_over", renew=True)
    async with pools.pool() as pool:
        host.script("resolve", over, over)
        with pytest.raises(PoolShort) as short:
            await opened(pool, new_id(), host.file("abc"), None)

    assert short.value.retry_after == 120
    assert host.asked["login"] == 2


async def test_a_login_that_is_wrong_is_not_tried_again_until_its_operator_asks(installation):
    host = Host("filehost", "file.test")
    pools = Pools(installation, host)
    account_id = await pools.add("filehost", "a")
    host.script("login", refusal(code="wrong_login"))
    async with pools.pool() as one, pools.pool() as two:
        for pool in (one, two, one):
            with pytest.raises(PoolShort):
                await opened(pool, new_id(), host.file("abc"), None)
            pools.clock.pass_(90_000)
        asked = host.asked["login"]
        account = sure(await one.read(account_id))
        lease = await opened(two, new_id(), host.file("abc"), None)

    assert asked == 1
    assert account.standing.summary(pools.clock())[0] == "usable"
    assert isinstance(lease, Lease)
    assert [one.code for one in await pools.events("account_broken")] == ["wrong_login"]
    assert len(await pools.events("account_usable")) == 1


async def test_what_was_wrong_with_a_secret_that_was_replaced_meanwhile_says_nothing_of_the_new_one(installation):
    host = Host("filehost", "file.test")
    pools = Pools(installation, host)
    account_id = await pools.add("filehost", "a", "the old secret")
    host.script("login", refusal(code="wrong_login"))
    gate = host.hold("login")
    async with pools.pool() as pool:
        reading = asyncio.create_task(pool.read(account_id))
        async with asyncio.timeout(60):
            while not host.asked["login"]:
                await asyncio.sleep(0.02)  # until the old secret is tried
        await pools.add("filehost", "a", "the new secret")
        gate.set()
        account = sure(await reading)
        again = sure(await pool.read(account_id))
        known = await pool.accounts()

    assert account.standing.summary(pools.clock())[0] == "unread"
    assert again.standing.summary(pools.clock())[0] == "usable"
    assert [one.account_id for one in known] == [account_id]
    assert len(await pools.events("account_renewed")) == 1


# ---- accounts that fail ----------------------------------------------------------------------------------------


async def test_an_account_that_fails_is_left_alone_and_the_next_is_asked(installation):
    host = Host("filehost", "file.test")
    host.left = {"a": 9 * GIB, "b": GIB}
    pools = Pools(installation, host)
    first, second = await pools.add("filehost", "a"), await pools.add("filehost", "b")
    async with pools.pool() as pool:
        host.script("resolve", refusal(code="flood", retry_after=600), user="a")
        lease = await opened(pool, new_id(), host.file("abc"), None)
        again = await opened(pool, new_id(), host.file("def"), None)
        pools.clock.pass_(601)
        later = await opened(pool, new_id(), host.file("ghi"), None)

    assert [one.account_id for one in (lease, again, later)] == [second, second, first]
    [cooled] = await pools.events("account_cooled")
    assert (cooled.account_id, cooled.code, cooled.until - cooled.at) == (first, "flood", timedelta(seconds=600))
    assert [one.account_id for one in await pools.events("account_usable")] == [first]


async def test_only_an_empty_pool_is_short_and_says_when_the_first_account_is_back(installation):
    host = Host("filehost", "file.test")
    pools = Pools(installation, host)
    for name in "ab":
        await pools.add("filehost", name)
    host.script("resolve", refusal(code="flood", retry_after=600), user="a")
    host.script("resolve", refusal(code="flood", retry_after=60), user="b")
    async with pools.pool() as pool:
        with pytest.raises(PoolShort) as short:
            await opened(pool, new_id(), host.file("abc"), None)
        with pytest.raises(PoolShort):
            await pool.check(host.file("abc"))

    assert short.value.retry_after == 60
    assert len(await pools.rows("select from unrestrict_proxy.slots where holder is not null")) == 0


async def test_an_exhausted_account_waits_for_its_reset_which_its_state_says(installation):
    host = Host("filehost", "file.test")
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    async with pools.pool() as pool:
        await opened(pool, new_id(), host.file("abc"), None)
        reset = pools.clock() + timedelta(hours=7)
        host.states["a"] = AccountState(usable=True, traffic_left=0, reset_at=reset)
        host.script("resolve", refusal(code="traffic", exhausted=True))
        with pytest.raises(PoolShort):
            await opened(pool, new_id(), host.file("def"), None)
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(pool.run())
            async with asyncio.timeout(60):
                while host.asked["account"] < 2:
                    await asyncio.sleep(0.01)  # it was told to look; there is no signal out of it
                while (await pools.events("account_cooled"))[-1].until != reset:
                    await asyncio.sleep(0.01)
            keeping.cancel()
        with pytest.raises(PoolShort) as short:
            await opened(pool, new_id(), host.file("def"), None)

    assert short.value.retry_after == 7 * 3600


async def test_what_is_wrong_with_the_file_is_said_at_once_and_no_other_account_is_asked(installation):
    host = Host("filehost", "file.test")
    pools = Pools(installation, host)
    for name in "ab":
        await pools.add("filehost", name)
    async with pools.pool() as pool:
        host.script("resolve", refusal("file", 104, "gone"))
        error = await refused(pool.open(new_id(), host.file("abc"), None))
        host.script("check", FileInfo(online="offline"), FileInfo(online="online", password_needed=True))
        offline = await refused(pool.check(host.file("abc")))
        locked = await refused(pool.check(host.file("abc")))

    assert (error.scope, error.status, offline.status, locked.status) == ("file", 104, 104, 103)
    assert (host.asked["resolve"], host.asked["check"]) == (1, 2)
    assert await pools.events("account_cooled") == []
    assert len(await pools.rows("select from unrestrict_proxy.slots where holder is not null")) == 0


async def test_what_is_known_of_a_file_is_asked_with_any_account_and_takes_no_slot(installation):
    host = Host("filehost", "file.test", slots=1)
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    async with pools.pool() as pool:
        await opened(pool, new_id(), host.file("abc"), None)
        info = await pool.check(host.file("def"))

    assert (info.name, info.size) == ("a.bin", 1000)


# ---- platforms that fail ---------------------------------------------------------------------------------------


async def test_a_platform_that_fails_in_a_row_is_left_alone_until_one_has_tried_it(installation):
    host = Host("filehost", "file.test", slots=9)
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    async with pools.pool() as one, pools.pool() as two:
        await opened(one, new_id(), host.file("0"), None)
        host.script("resolve", *(TimeoutError() for _ in range(3)))
        failures = [await refused(pool.open(new_id(), host.file("abc"), None)) for pool in (one, two, one)]
        asked = host.asked["resolve"]
        open_ = await refused(two.open(new_id(), host.file("abc"), None))
        shown = [(await two.hosts())[0].working]
        pools.clock.pass_(sure(open_.retry_after))
        shown.append((await two.hosts())[0].working)

        gate = host.hold("resolve")
        probe = asyncio.create_task(one.open(new_id(), host.file("abc"), None))
        async with asyncio.timeout(60):
            while host.asked["resolve"] == asked:
                await asyncio.sleep(0.01)  # until the probe is under way
        meanwhile = await refused(two.open(new_id(), host.file("def"), None))
        gate.set()
        lease = await probe
        after = await opened(two, new_id(), host.file("def"), None)

    assert [error.code for error in failures] == ["unreachable"] * 3
    assert (open_.code, open_.status, meanwhile.code) == ("breaker_open", 105, "breaker_open")
    assert asked == 4
    assert shown == [False, True]
    assert isinstance(lease, Lease)
    assert isinstance(after, Lease)
    assert [type(event).__name__ for event in await pools.events("breaker_opened", "breaker_closed")] == [
        "BreakerOpened",
        "BreakerClosed",
    ]


async def test_a_platform_that_does_not_answer_is_given_up_at_the_deadline(installation):
    host = Host("filehost", "file.test")
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    host.hold("resolve")
    async with pools.pool(call_seconds=0.05) as pool:
        error = await refused(pool.open(new_id(), host.file("abc"), None))

    assert (error.scope, error.status, error.code) == ("host", 105, "unreachable")


async def test_an_adapter_that_is_at_a_loss_ends_one_call_and_nothing_else(installation):
    host = Host("filehost", "file.test")
    pools = Pools(installation, host)
    account_id = await pools.add("filehost", "a")
    async with pools.pool() as pool:
        host.script("account", KeyError("a secret"))
        account = sure(await pool.read(account_id))
        host.script("resolve", KeyError("a secret"))
        error = await refused(pool.open(new_id(), host.file("abc"), None))
        lease = await opened(pool, new_id(), host.file("abc"), None)

    assert account.standing.state is None
    assert (error.scope, error.status, "secret" in str(error)) == ("request", 106, False)
    assert isinstance(lease, Lease)


async def test_links_that_lead_to_dead_servers_stop_the_platform_though_its_interface_answers(installation):
    host = Host("filehost", "file.test")
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    async with pools.pool() as pool:
        for name in "abc":
            lease = await opened(pool, new_id(), host.file(name), None)
            await pool.close(lease.lease_id, 0, 502, "bad gateway")
        error = await refused(pool.open(new_id(), host.file("d"), None))
        [breaker] = await pools.events("breaker_opened")

    assert error.code == "breaker_open"
    assert (breaker.what, breaker.reason) == ("bytes", "bad gateway")


# ---- links -----------------------------------------------------------------------------------------------------


async def test_a_link_is_used_again_until_it_is_over_and_never_for_another_password(installation):
    host = Host("filehost", "file.test", slots=9, link_seconds=600)
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    async with pools.pool() as one, pools.pool() as two:
        first = await opened(one, new_id(), host.file("abc"), "open sesame")
        second = await opened(two, new_id(), host.file("abc"), "open sesame")
        host.script("resolve", refusal("file", 103, "password"))
        stranger = await refused(two.open(new_id(), host.file("abc"), None))
        pools.clock.pass_(541)
        third = await opened(two, new_id(), host.file("abc"), "open sesame")

    assert first.link == second.link != third.link
    assert stranger.status == 103
    assert host.asked["resolve"] == 3


async def test_a_link_that_the_platform_still_makes_is_asked_for_again_by_the_same_holder(installation):
    host = Host("filehost", "file.test", slots=1)
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    holder = new_id()
    host.script("resolve", Pending(ticket="t1", after=120.0, fraction=0.1))
    host.script("poll", Pending(ticket="t1", after=5.0, fraction=0.9))
    async with pools.pool() as one, pools.pool() as two:
        first = await one.open(holder, host.file("abc"), None)
        pools.clock.pass_(121)
        with pytest.raises(NoSlot):
            await opened(two, new_id(), host.file("def"), None)
        second = await two.open(holder, host.file("abc"), None)
        third = await opened(one, holder, host.file("abc"), None)

    assert (first, second) == (NotYet(after=120.0, fraction=0.1), NotYet(after=5.0, fraction=0.9))
    assert third.link.url == "https://cdn.test/t1"
    assert (host.asked["resolve"], host.asked["poll"]) == (1, 2)


async def test_a_link_that_was_being_made_and_is_refused_is_begun_anew_and_keeps_no_slot(installation):
    host = Host("filehost", "file.test")
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    holder = new_id()
    host.script("resolve", Pending(ticket="t1", after=5.0, fraction=0.1))
    host.script("poll", refusal("file", 104, "gone"))
    async with pools.pool() as pool:
        await pool.open(holder, host.file("abc"), None)
        await refused(pool.open(holder, host.file("abc"), None))
        held = await pools.rows("select from unrestrict_proxy.slots where holder is not null")
        await opened(pool, holder, host.file("abc"), None)

    assert (host.asked["resolve"], host.asked["poll"], held) == (2, 1, [])


async def test_an_upstream_that_says_the_link_is_over_makes_a_new_one(installation):
    host = Host("filehost", "file.test")
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    async with pools.pool() as pool:
        first = await opened(pool, new_id(), host.file("abc"), None)
        await pool.close(first.lease_id, 0, 404, "")
        second = await opened(pool, new_id(), host.file("abc"), None)

    assert first.link != second.link
    assert first.account_id == second.account_id


async def test_an_account_that_is_used_up_half_way_gives_way_to_the_next(installation):
    host = Host("filehost", "file.test")
    host.left = {"a": 9 * GIB, "b": GIB}
    pools = Pools(installation, host)
    first, second = await pools.add("filehost", "a"), await pools.add("filehost", "b")
    holder = new_id()
    async with pools.pool() as pool:
        before = await opened(pool, holder, host.file("abc"), None)
        reset = pools.clock() + timedelta(hours=2)
        host.states["a"] = AccountState(usable=True, traffic_left=0, reset_at=reset)
        await pool.close(before.lease_id, GIB // 2, 403, "")
        after = await opened(pool, holder, host.file("abc"), None)

    assert (before.account_id, after.account_id) == (first, second)
    assert [one.until for one in await pools.events("account_cooled")] == [reset]


async def test_a_refusal_of_bytes_without_a_reason_is_first_the_links_and_then_the_accounts(installation):
    host = Host("filehost", "file.test")
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    async with pools.pool() as pool:
        for name in ("abc", "def"):
            lease = await opened(pool, new_id(), host.file(name), None)
            await pool.close(lease.lease_id, 0, 403, "")
        with pytest.raises(PoolShort) as short:
            await opened(pool, new_id(), host.file("abc"), None)

    assert short.value.retry_after == 240
    assert host.asked["resolve"] == 2


async def test_one_bad_file_that_somebody_keeps_asking_for_takes_no_account_from_the_others(installation):
    host = Host("filehost", "file.test")
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    async with pools.pool() as pool:
        for status in (403, 401, 0, 403):
            lease = await opened(pool, new_id(), host.file("abc"), None)
            await pool.close(lease.lease_id, 0, status, "not_mine")
        good = await opened(pool, new_id(), host.file("good"), None)
        await pool.close(good.lease_id, 5, None, "")

    assert await pools.events("account_cooled") == []


async def test_a_file_that_one_account_was_refused_is_asked_of_the_next(installation):
    host = Host("filehost", "file.test")
    host.left = {"a": 9 * GIB, "b": GIB}
    pools = Pools(installation, host)
    first, second = await pools.add("filehost", "a"), await pools.add("filehost", "b")
    async with pools.pool() as pool:
        before = await opened(pool, new_id(), host.file("abc"), None)
        await pool.close(before.lease_id, 0, 403, "")
        after = await opened(pool, new_id(), host.file("abc"), None)
        other = await opened(pool, new_id(), host.file("other"), None)

    assert [one.account_id for one in (before, after, other)] == [first, second, first]


async def test_an_account_that_is_asked_too_often_for_bytes_is_back_when_the_answer_said(installation):
    host = Host("filehost", "file.test")
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    async with pools.pool() as pool:
        lease = await opened(pool, new_id(), host.file("abc"), None)
        await pool.close(lease.lease_id, 0, 429, "", 17)
        with pytest.raises(PoolShort) as short:
            await opened(pool, new_id(), host.file("abc"), None)

    assert short.value.retry_after == 17


async def test_an_account_that_is_asked_too_often_for_bytes_is_cooled_at_once(installation):
    host = Host("filehost", "file.test")
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    async with pools.pool() as pool:
        lease = await opened(pool, new_id(), host.file("abc"), None)
        await pool.close(lease.lease_id, 0, 429, "")
        with pytest.raises(PoolShort) as short:
            await opened(pool, new_id(), host.file("abc"), None)

    assert short.value.retry_after == 120


# ---- who serves what -------------------------------------------------------------------------------------------


async def test_accounts_of_the_platform_itself_go_before_a_multihost_one_that_serves_it_too(installation):
    host, multi = Host("filehost", "file.test", "file.alias", slots=1), Host("many", multihost=True, slots=1)
    multi.live = ("www.file.alias", "other.test")
    pools = Pools(installation, host, multi)
    over = await pools.add("many", "m")
    own = await pools.add("filehost", "a")
    async with pools.pool() as pool:
        file = await found(pool, "https://file.test/file/abc")
        await pool.read(over)
        leases = [await opened(pool, new_id(), file, None) for _ in range(2)]
        with pytest.raises(NoSlot):
            await opened(pool, new_id(), file, None)

    assert [one.account_id for one in leases] == [own, over]
    assert [one.platform for one in leases] == ["filehost", "many"]


async def test_a_domain_that_only_a_multihost_account_serves_is_a_platform_of_its_own(installation):
    multi = Host("many", multihost=True)
    multi.live = ("other.test",)
    pools = Pools(installation, multi)
    await pools.add("many", "m")
    async with pools.pool() as pool:
        file = await found(pool, "https://www.other.test/x/1?y#z")
        elsewhere = await pool.match("https://another.test/x/1")
        lease = await opened(pool, new_id(), file, None)

    assert (file.ref.platform, file.url) == ("other.test", "https://www.other.test/x/1?y")
    assert elsewhere is None
    assert lease.platform == "many"


async def test_an_account_that_is_limited_to_domains_serves_those_alone(installation):
    multi, plain = Host("many", multihost=True), Host("generic")
    multi.live = ("other.test", "another.test")
    pools = Pools(installation, multi, plain)
    await pools.add("many", "m", domains=("Another.test",))
    await pools.add("generic", "g", domains=("files.example.org",))
    links = ("https://other.test/a", "https://another.test/a", "https://files.example.org/a", "https://example.org/a")
    async with pools.pool() as pool:
        served = [await pool.match(link) for link in links]

    assert [one and one.ref.platform for one in served] == [None, "another.test", "files.example.org", None]


async def test_a_link_is_nobodys_without_an_account_that_serves_it(installation):
    host = Host("filehost", "file.test")
    pools = Pools(installation, host)
    async with pools.pool() as pool:
        before = await pool.match("https://file.test/file/abc")
        await pools.add("filehost", "a")
        after = await pool.match("https://file.test/file/abc")
        no_file = await pool.match("https://file.test/account")
        inside = await pool.match("http://127.0.0.1/file/abc")

    assert (before, no_file, inside) == (None, None, None)
    assert after == host.file("abc")


async def test_a_host_that_a_multihost_account_can_not_reach_leaves_its_other_hosts_alone(installation):
    multi = Host("many", multihost=True, slots=9)
    multi.live = ("one.test", "two.test")
    pools = Pools(installation, multi)
    await pools.add("many", "m")
    async with pools.pool() as pool:
        one, two = await found(pool, "https://one.test/a"), await found(pool, "https://two.test/a")
        multi.script("resolve", *(refusal("host", 105, "down", narrow=True) for _ in range(3)))
        for _ in range(3):
            await refused(pool.open(new_id(), one, None))
        out = await refused(pool.open(new_id(), one, None))
        lease = await opened(pool, new_id(), two, None)
        multi.script("resolve", refusal(code="limit", retry_after=900, narrow=True))
        with pytest.raises(PoolShort) as short:
            await opened(pool, new_id(), await found(pool, "https://two.test/b"), None)
        shown = {host.platform: host.working for host in await pool.hosts()}

    assert out.code == "breaker_open"
    assert isinstance(lease, Lease)
    assert short.value.retry_after == 900
    assert shown == {"one.test": False, "two.test": False}


async def test_a_link_that_one_service_does_not_do_is_tried_with_the_next(installation):
    first, second = Host("many", multihost=True), Host("more", multihost=True)
    first.live = second.live = ("one.test",)
    first.left = {"m": 9 * GIB}
    pools = Pools(installation, first, second)
    await pools.add("many", "m")
    await pools.add("more", "n")
    async with pools.pool() as pool:
        file = await found(pool, "https://one.test/a")
        first.script("resolve", refusal("file", 101, "unsupported"))
        lease = await opened(pool, new_id(), file, None)
        first.script("resolve", refusal("file", 101, "unsupported"))
        second.script("resolve", refusal("file", 101, "unsupported"))
        neither = await refused(pool.open(new_id(), await found(pool, "https://one.test/b"), None))

    assert lease.platform == "more"
    assert neither.status == 101


# ---- what is shown and kept ------------------------------------------------------------------------------------


async def test_hosts_show_sums_over_accounts_and_never_nothing_for_what_is_unknown(installation):
    known, unknown = Host("known", "known.test", "known.alias", max_chunks=8, slots=2), Host("unknown", "unknown.test")
    known.left = {"a": 5 * GIB, "b": 7 * GIB}
    pools = Pools(installation, known, unknown)
    accounts = [await pools.add("known", name) for name in "ab"] + [await pools.add("unknown", "u")]
    async with pools.pool() as pool:
        unread = await pool.hosts()
        for account_id in accounts:
            await pool.read(account_id)
        known.states["b"] = AccountState(usable=True, traffic_left=0, traffic_total=7 * GIB)
        read = await pool.hosts()
        known.states["a"] = AccountState(usable=False, traffic_left=0)
        for account_id in accounts:
            await pool.read(account_id)
        [spent, _] = await pool.hosts()

    assert [(one.traffic_left, one.traffic_total) for one in unread] == [(None, None), (None, None)]
    assert [(one.traffic_left, one.traffic_total) for one in read] == [(12 * GIB, 12 * GIB), (None, None)]
    assert (read[0].domains, read[0].max_chunks, read[0].max_downloads) == (("known.test", "known.alias"), 8, 4)
    assert [one.working for one in read] == [True, True]
    assert (spent.traffic_left, spent.working) == (0, False)


async def test_a_state_is_read_no_more_often_than_the_platform_likes(installation):
    host = Host("filehost", "file.test", slots=20, state_seconds=1800)
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    async with pools.pool() as one, pools.pool() as two:
        await asyncio.gather(*((one, two)[n % 2].open(new_id(), host.file(str(n)), None) for n in range(10)))
        first = host.asked["account"]
        pools.clock.pass_(1799)
        await looked(one)
        second = host.asked["account"]
        pools.clock.pass_(2)
        await asyncio.gather(looked(one), looked(two))

    assert (first, second, host.asked["account"]) == (1, 1, 2)


async def looked(pool) -> None:
    """One round of what `run` does for ever."""
    await pool._readings._looked()


async def test_a_state_that_could_not_be_read_stops_nobody_and_is_not_asked_for_at_once(installation):
    host = Host("filehost", "file.test", slots=9)
    pools = Pools(installation, host)
    await pools.add("filehost", "a")
    host.script("account", TimeoutError())
    async with pools.pool() as pool:
        leases = [await opened(pool, new_id(), host.file(name), None) for name in "ab"]
        asked = host.asked["account"]
        pools.clock.pass_(61)
        await opened(pool, new_id(), host.file("c"), None)

    assert all(isinstance(lease, Lease) for lease in leases)
    assert (asked, host.asked["account"]) == (1, 2)


async def test_no_secret_session_or_link_lies_open_anywhere(installation):
    host = Host("filehost", "file.test")
    pools = Pools(installation, host)
    await pools.add("filehost", "operator@example.test")
    host.script("resolve", DirectLink(url="https://cdn.test/very-secret-link", headers={"X": "secret-header"}))
    async with pools.pool() as pool:
        lease = await opened(pool, new_id(), host.file("abc"), "secret-password")
        await pool.close(lease.lease_id, 10, 500, "broken")
    dump = ""
    for [table] in await pools.rows(
        "select table_name::text from information_schema.tables where table_schema = 'unrestrict_proxy'"
    ):
        for row in await pools.rows(f"select * from unrestrict_proxy.{table}"):
            dump += " ".join(one.decode("latin-1") if isinstance(one, bytes) else str(one) for one in row.values())

    assert "operator@example.test" in dump
    for secret in ("secret of operator", "operator@example.test 1", "very-secret-link", "secret-header", "secret-pass"):
        assert secret not in dump
    assert "secret" not in repr(lease)
