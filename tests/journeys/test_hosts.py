"""From a file host's link to a kept file: through an account of the pool, charged to the user who asked."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from libs.message import Refused
from proto.auth import ReadUser
from proto.auth import User as Known
from proto.job import DeleteJobFiles
from proto.unrestrict_proxy import (
    HostLink,
    HostRefused,
    LinkNotFound,
    ReadLink,
    ReadTraffic,
    SetTraffic,
    Traffic,
    TrafficShort,
    Unrestricted,
    UnrestrictLink,
    UnsupportedLink,
)
from tests.support.accounts import pooled
from tests.support.system import PATIENCE, running, stored

SIZE = 300_000


class Asking:
    """One user's view of the links, over the bus."""

    def __init__(self, caller, owner) -> None:
        self.caller = caller
        self.owner = owner

    async def unrestrict(self, url: str, password: str | None = None) -> Unrestricted:
        command = UnrestrictLink(owner=self.owner, url=url, password=password)
        answer, _ = await self.caller.command(command, result=Unrestricted, timeout=PATIENCE)
        return answer

    async def link(self, link_id: str) -> HostLink:
        return await self.caller.query(ReadLink(owner=self.owner, link_id=link_id), result=HostLink)

    async def until(self, link: HostLink, *states: str) -> HostLink:
        async with asyncio.timeout(PATIENCE):
            while (now := await self.link(link.link_id)).state not in states:
                await asyncio.sleep(0.05)  # the interval of a polling client
        return now

    async def traffic(self) -> Traffic:
        return await self.caller.query(ReadTraffic(owner=self.owner), result=Traffic)


@pytest.fixture
def gator(hosts):
    return hosts.host("rapidgator")


@asynccontextmanager
async def asking(system, user):
    async with system.operator() as (_, caller):
        owner = (await caller.query(ReadUser(username=user.name), result=Known)).user_id
        yield Asking(caller, owner)


async def test_a_link_becomes_a_kept_file_and_costs_its_size_once(system, user, gator):
    file = gator.add_file(f"{uuid4().hex}.mkv", SIZE)
    async with asking(system, user) as one, pooled(one.caller, gator):
        before = await one.traffic()
        first = await one.unrestrict(file.url)
        done = await one.until(first.link, "done", "error")
        again = await one.unrestrict(file.url)
        after = await one.traffic()
    kept = stored(system)[file.name]

    assert first.reused is False
    assert (first.link.name, first.link.size, first.link.platform) == (file.name, SIZE, "rapidgator")
    assert (done.state, done.sha256) == ("done", file.sha256)
    assert (again.reused, again.link.link_id) == (True, first.link.link_id)
    assert (before.left - after.left, after.reserved) == (SIZE, 0)
    assert kept.stat().st_size == SIZE


async def test_what_another_user_asked_for_is_absent(system, user, other, gator):
    file = gator.add_file("film.mkv", SIZE)
    async with asking(system, user) as one, asking(system, other) as two, pooled(one.caller, gator):
        mine = await one.unrestrict(file.url)
        with pytest.raises(Refused) as caught:
            await two.link(mine.link.link_id)
        await one.until(mine.link, "done")

    assert isinstance(caught.value.refusal, LinkNotFound)


async def test_a_link_that_no_account_serves_is_refused(system, user, gator):
    async with asking(system, user) as one, pooled(one.caller, gator):
        with pytest.raises(Refused) as caught:
            await one.unrestrict("https://example.com/file/1")

    assert isinstance(caught.value.refusal, UnsupportedLink)


async def test_a_dead_file_is_refused_and_nothing_is_charged(system, user, gator):
    file = gator.add_file("film.mkv", SIZE)
    gator.script("offline", times=None)
    async with asking(system, user) as one, pooled(one.caller, gator):
        with pytest.raises(Refused) as caught:
            await one.unrestrict(file.url)
        traffic = await one.traffic()

    assert isinstance(caught.value.refusal, HostRefused)
    assert caught.value.refusal.status == 104
    assert traffic.left == traffic.quota


async def test_more_than_the_user_has_left_is_refused_before_the_host_is_asked_for_the_file(system, user, gator):
    file = gator.add_file("film.mkv", SIZE)
    async with asking(system, user) as one, pooled(one.caller, gator):
        await one.caller.command(SetTraffic(owner=one.owner, quota=SIZE - 1))
        with pytest.raises(Refused) as caught:
            await one.unrestrict(file.url)

    assert isinstance(caught.value.refusal, TrafficShort)
    assert gator.count("download") == 0


async def test_who_may_fetch_nothing_at_all_costs_the_platform_no_call(system, user, gator):
    file = gator.add_file("film.mkv", SIZE)
    async with asking(system, user) as one, pooled(one.caller, gator):
        await one.caller.command(SetTraffic(owner=one.owner, quota=0))
        with pytest.raises(Refused) as caught:
            await one.unrestrict(file.url)

    assert isinstance(caught.value.refusal, TrafficShort)
    assert gator.count("check") == 0


async def test_a_file_that_is_larger_than_was_said_at_first_costs_what_it_is(system, user, hosts):
    debrid = hosts.host("realdebrid")
    file = debrid.add_file(f"{uuid4().hex}.mkv", SIZE)
    debrid.script(lambda said: said.replace(str(SIZE).encode(), b"1000"), on="check")
    async with asking(system, user) as one, pooled(one.caller, debrid):
        first = (await one.unrestrict(file.url)).link
        done = await one.until(first, "done", "error")
        traffic = await one.traffic()

    assert (first.size, done.state, done.size) == (1000, "done", SIZE)
    assert (traffic.quota - traffic.left, traffic.reserved) == (SIZE, 0)


async def test_a_file_that_turns_out_larger_than_the_user_has_left_is_not_fetched(system, user, hosts):
    debrid = hosts.host("realdebrid")
    account = debrid.add_account()
    file = debrid.add_file(f"{uuid4().hex}.mkv", SIZE)
    debrid.script(lambda said: said.replace(str(SIZE).encode(), b"1000"), on="check")
    async with asking(system, user) as one, pooled(one.caller, debrid, account):
        await one.caller.command(SetTraffic(owner=one.owner, quota=SIZE - 1))
        first = (await one.unrestrict(file.url)).link
        ended = await one.until(first, "done", "error")
        traffic = await one.traffic()

    assert (ended.state, ended.status) == ("error", 52)
    assert (traffic.left, traffic.reserved, account.served) == (SIZE - 1, 0, 0)


async def test_the_next_account_goes_on_when_one_is_used_up_half_way(system, user, gator):
    spent = gator.add_account(traffic_left=50 << 30, knobs={"cut": 100_000, "then": 403})
    fresh = gator.add_account(traffic_left=10 << 30)
    file = gator.add_file("film.mkv", SIZE)
    async with asking(system, user) as one, pooled(one.caller, gator, spent, fresh):
        link = (await one.unrestrict(file.url)).link
        done = await one.until(link, "done", "error")

    assert (done.state, done.sha256) == ("done", file.sha256)
    assert spent.served + fresh.served >= SIZE  # what a reset lost on its way was sent twice
    assert min(spent.served, fresh.served) > 0


async def test_a_job_of_another_dialect_with_such_a_link_goes_through_the_pool_and_is_charged(system, user, gator):
    file = gator.add_file("film.mkv", SIZE)
    async with asking(system, user) as one, pooled(one.caller, gator), user.http() as http:
        job = await http.ended(await http.submit(file.url))
        traffic = await one.traffic()

    assert (job["status"], job["file_size"]) == ("Completed", SIZE)
    assert traffic.quota - traffic.left == SIZE


async def test_who_cancels_pays_for_what_was_read_and_the_account_is_free_again(system, user, hosts, gator):
    gate = uuid4().hex
    file = gator.add_file("film.mkv", 12_000_000, knobs={"gate": gate, "gate_at": 6_000_000})
    async with asking(system, user) as one, pooled(one.caller, gator), user.http() as http:
        link = (await one.unrestrict(file.url)).link
        await one.until(link, "downloading")
        await http.jobs("DELETE", f"/jobs/{link.job_id}")
        ended = await one.until(link, "error")
        traffic = await one.traffic()
        again = await one.unrestrict(file.url)
        await http.jobs("DELETE", f"/jobs/{again.link.job_id}")
        hosts.release(gate)

    assert ended.status == 106
    assert traffic.reserved == 0
    assert again.link.link_id != link.link_id


async def test_a_file_that_was_given_up_is_gone_and_asking_for_it_fetches_and_charges_it_again(system, user, gator):
    file = gator.add_file(f"{uuid4().hex}.mkv", SIZE)
    async with asking(system, user) as one, pooled(one.caller, gator):
        first = (await one.unrestrict(file.url)).link
        await one.until(first, "done")
        await one.caller.command(DeleteJobFiles(owner=None, job_id=first.job_id))
        await one.until(first, "expired")
        gone = file.name not in {path.name for path in stored(system).values()}
        second = await one.unrestrict(file.url)
        await one.until(second.link, "done")
        traffic = await one.traffic()

    assert gone
    assert (second.reused, second.link.link_id != first.link_id) == (False, True)
    assert traffic.quota - traffic.left == 2 * SIZE


async def test_where_the_operator_wants_so_a_file_is_served_while_it_is_fetched(data, site, hosts):
    gator = hosts.host("rapidgator")
    account = gator.add_account(knobs={"gate": "half", "gate_at": 4_000_000})
    file = gator.add_file("film.mkv", 12_000_000)
    with running(data, site.egress_allow + ",127.0.0.0/8", LONGSHORE_DOWNLOAD_EARLY="true") as early:
        one = early.user()
        async with early.operator() as (_, caller), pooled(caller, gator, account), one.http() as http:
            _, said = await http.external("POST", "/unrestrict", {"url": file.url})
            async with asyncio.timeout(PATIENCE):
                while not (link := said["data"])["download_ready"]:
                    await asyncio.sleep(0.05)  # the interval of a polling client
                    _, said = await http.external("GET", f"/link/{link['linkId']}")
                answer = await http.session.get(link["link"])
                first = await answer.content.readexactly(1_000_000)
                ahead = await http.session.get(link["link"], headers={"Range": "bytes=10000000-"})
                end = await ahead.content.read()
                hosts.release("half")
                rest = await answer.content.read()

    assert link["remote_status"] == "downloading"
    assert (first + rest)[10_000_000:] == end
    assert hashlib.sha256(first + rest).hexdigest() == file.sha256
