"""Links and what they cost, on a real Postgres: many at once, and a database that gives way at any step."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest

from libs.eventstore import EventStore
from libs.message import Meta, Refused, new_id
from proto import REGISTRY
from proto.unrestrict_proxy import HostCapReached, TooManyAtOnce, TrafficShort
from services.unrestrict_proxy.links import ledger as ledgers
from services.unrestrict_proxy.links import views
from services.unrestrict_proxy.links.book import Book, Ended, Stored, new_link_id, traffic_stream
from services.unrestrict_proxy.links.ledger import Ledger
from services.unrestrict_proxy.links.views import Link
from tests.conformance.conftest import Installation

QUOTA = 1000


class Desk:
    """One process of the service: its pool, its store, its book."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self.store = EventStore(pool, "unrestrict_proxy", REGISTRY, lambda: None)
        self.book = Book(pool, self.store, QUOTA)
        self.meta = Meta(correlation=new_id(), actor="test")

    def link(self, owner: UUID, size: int | None = 100, **more) -> Link:
        known = {
            "link_id": new_link_id(), "owner": owner, "job_id": new_id(), "platform": "filehost",
            "file_ref": uuid4().hex, "host": "filehost.test", "name": "film.mkv", "size": size, "state": "pending",
            "max_chunks": 4, "resumable": True, "sealed_password": None, "requested_at": self.book.clock(),
        }  # fmt: skip
        return Link(**{**known, **more})

    async def make(self, link: Link) -> Link:
        made, _ = await self.book.make(link, "https://filehost.test/f", self.meta, "external")
        return made

    async def end(self, *ended: Ended) -> None:
        async with self.pool.acquire() as conn, conn.transaction():
            await self.book.end(conn, ended, self.meta)

    async def read(self, link: Link, count: int) -> None:
        lease = new_id()
        async with self.pool.acquire() as conn:
            await views.begin_reading(conn, lease, link.job_id, self.book.clock())
            await views.reading(conn, lease, count, self.book.clock())

    async def found(self, link: Link) -> Link | None:
        async with self.pool.acquire() as conn:
            return await views.link(conn, link.link_id)

    async def kept(self, owner: UUID) -> Ledger | None:
        async with self.pool.acquire() as conn:
            return (await views.ledgers(conn, [owner])).get(owner)

    async def folded(self, owner: UUID) -> Ledger:
        ledger = Ledger(owner=owner)
        for one in await self.store.load(traffic_stream(owner)):
            ledger = ledgers.evolve(ledger, one.event)
        return ledger


@pytest.fixture
async def desk(installation: Installation) -> Desk:
    return Desk(await installation.pool("unrestrict_proxy"))


FILE = Stored(file_id=UUID(int=5), name="film.mkv", size=100, sha256="a3" * 32)


async def test_of_fifty_that_ask_two_processes_at_once_only_as_many_get_a_link_as_the_quota_has_room_for(installation):
    desks = [Desk(await installation.pool("unrestrict_proxy")) for _ in range(2)]
    owner = uuid4()
    answers = await asyncio.gather(
        *(one.make(one.link(owner)) for one in desks for _ in range(25)), return_exceptions=True
    )
    made = [one for one in answers if isinstance(one, Link)]
    refused = [one.refusal for one in answers if isinstance(one, Refused)]

    assert len(made) == QUOTA // 100
    assert len(made) + len(refused) == 50
    assert all(isinstance(one, TrafficShort) for one in refused)
    assert await desks[0].kept(owner) == await desks[1].folded(owner)


async def test_of_many_that_ask_for_one_file_at_once_all_get_the_same_link_and_one_is_charged(installation):
    desks = [Desk(await installation.pool("unrestrict_proxy")) for _ in range(2)]
    owner = uuid4()
    made = await asyncio.gather(*(one.make(one.link(owner, file_ref="the same")) for one in desks for _ in range(10)))

    assert len({one.link_id for one in made}) == 1
    assert (await desks[0].book.traffic(owner)).reserved == 100


async def test_another_users_link_to_the_same_file_is_another_link(desk):
    first = await desk.make(desk.link(uuid4(), file_ref="the same"))
    second = await desk.make(desk.link(uuid4(), file_ref="the same"))

    assert first.link_id != second.link_id


async def test_the_cap_of_a_platform_and_the_number_at_once_are_those_of_the_grant(desk):
    capped, busy = uuid4(), uuid4()
    await desk.book.grant(capped, None, 150, None, desk.meta)
    await desk.book.grant(busy, None, None, 1, desk.meta)
    await desk.make(desk.link(capped))
    await desk.make(desk.link(busy))
    with pytest.raises(Refused) as cap:
        await desk.make(desk.link(capped))
    with pytest.raises(Refused) as many:
        await desk.make(desk.link(busy))

    assert isinstance(cap.value.refusal, HostCapReached)
    assert isinstance(many.value.refusal, TooManyAtOnce)
    assert (await desk.book.traffic(capped)).quota == QUOTA


async def test_a_stored_file_costs_what_was_read_and_its_link_is_found_again(desk):
    owner = uuid4()
    link = await desk.make(desk.link(owner))
    await desk.read(link, 60)
    await desk.read(link, 30)
    await desk.end(Ended(link=link, stored=FILE))
    again = await desk.make(desk.link(owner, file_ref=link.file_ref))
    traffic = await desk.book.traffic(owner)

    assert (again.link_id, again.state, again.file_id) == (link.link_id, "done", FILE.file_id)
    assert (traffic.left, traffic.reserved) == (QUOTA - 90, 0)


async def test_what_a_killed_worker_had_on_the_disk_and_told_nobody_of_is_charged(desk):
    link = await desk.make(desk.link(uuid4()))
    await desk.read(link, 30)
    async with desk.pool.acquire() as conn:
        for have in (70, 70, 50):
            await views.make_up(conn, new_id(), link.job_id, have, desk.book.clock())
    await desk.read(link, 20)
    await desk.end(Ended(link=link, stored=FILE))

    assert (await desk.book.traffic(link.owner)).left == QUOTA - 90


async def test_a_failed_file_costs_nothing_and_is_asked_for_anew(desk):
    owner = uuid4()
    link = await desk.make(desk.link(owner))
    await desk.read(link, 60)
    await desk.end(Ended(link=link, status=104, message="gone"))
    again = await desk.make(desk.link(owner, file_ref=link.file_ref))

    assert again.link_id != link.link_id
    assert (await desk.book.traffic(owner)).left == QUOTA - 100  # the second reservation alone
    assert ((await desk.found(link)).state, (await desk.found(link)).status) == ("error", 104)


async def test_who_gives_up_pays_for_what_was_read(desk):
    link = await desk.make(desk.link(uuid4()))
    await desk.read(link, 60)
    await desk.end(Ended(link=link, message="cancelled", charged=True))

    assert (await desk.book.traffic(link.owner)).left == QUOTA - 60


async def test_an_end_that_is_heard_twice_is_counted_once(desk):
    link = await desk.make(desk.link(uuid4()))
    await desk.read(link, 60)
    await desk.end(Ended(link=link, stored=FILE))
    await desk.end(Ended(link=link, stored=FILE))
    await desk.end(Ended(link=link, status=106))

    assert (await desk.book.traffic(link.owner)).left == QUOTA - 60


async def test_ends_of_several_users_and_several_links_of_one_are_one_transaction(desk):
    one, two = uuid4(), uuid4()
    links = [await desk.make(desk.link(owner)) for owner in (one, two, one)]
    for link in links:
        await desk.read(link, 10)
    await desk.end(*(Ended(link=link, stored=FILE) for link in links))

    assert [(await desk.book.traffic(owner)).left for owner in (one, two)] == [QUOTA - 20, QUOTA - 10]


async def test_a_size_that_is_learnt_later_is_reserved_then_or_refused(desk):
    link = await desk.make(desk.link(uuid4(), size=None))
    await desk.book.sized(link, 400, desk.meta)
    with pytest.raises(Refused):
        await desk.book.sized(link, QUOTA + 1, desk.meta)

    assert (await desk.book.traffic(link.owner)).reserved == 400


async def test_a_snapshot_that_was_thrown_away_is_folded_anew(desk):
    link = await desk.make(desk.link(uuid4()))
    before = await desk.book.traffic(link.owner)
    await desk.pool.execute("delete from unrestrict_proxy.ledgers")
    after = await desk.book.traffic(link.owner)
    await desk.make(desk.link(link.owner))

    assert after == before
    assert await desk.kept(link.owner) == await desk.folded(link.owner)


@pytest.mark.parametrize("table", ["links", "ledgers", "traffic"])
@pytest.mark.parametrize("act", ["make", "end"])
async def test_what_breaks_off_at_any_step_leaves_nothing_behind(installation, desk, table, act):
    """The events and all that is kept beside them are one transaction."""
    owner = uuid4()
    first = await desk.make(desk.link(owner))
    await desk.read(first, 40)
    before = await desk.book.traffic(owner)
    async with desk.pool.acquire() as conn:
        await conn.execute(
            "create function unrestrict_proxy.broken() returns trigger language plpgsql as"
            " $$ begin raise exception 'the disk is gone'; end $$;"
            f"create trigger broken before insert or update on unrestrict_proxy.{table}"
            " for each row execute function unrestrict_proxy.broken()"
        )
    with pytest.raises(asyncpg.RaiseError):
        if act == "make":
            await desk.make(desk.link(owner))
        else:
            await desk.end(Ended(link=first, stored=FILE))
    async with desk.pool.acquire() as conn:
        await conn.execute("drop function unrestrict_proxy.broken() cascade")

    assert await desk.book.traffic(owner) == before
    assert await desk.kept(owner) == await desk.folded(owner)
    await desk.end(Ended(link=first, stored=FILE))
    assert (await desk.book.traffic(owner)).left == QUOTA - 40


async def test_the_history_says_what_traffic_went_to(desk):
    link = await desk.make(desk.link(uuid4()))
    await desk.read(link, 60)
    await desk.end(Ended(link=link, stored=FILE))
    async with desk.pool.acquire() as conn:
        entries = await views.entries(conn, link.owner, None, 10)
        older = await views.entries(conn, link.owner, entries[0].position, 1)

    assert [(one.kind, one.bytes, one.name) for one in entries] == [
        ("settled", 60, "film.mkv"),
        ("reserved", 100, "film.mkv"),
        ("granted", QUOTA, None),
    ]
    assert older == entries[1:2]


async def overdue(desk: Desk, **what) -> list[str]:
    async with desk.pool.acquire() as conn:
        return [one.link_id for one in await views.overdue(conn, what.get("before"), what.get("most"), 10)]


async def test_the_oldest_kept_files_of_download_managers_are_given_up_by_age_and_by_space(desk):
    made = [await desk.make(desk.link(uuid4(), dialect="external")) for _ in range(3)]
    found = await desk.make(desk.link(uuid4(), dialect=None))
    for link in (found, *made):
        await desk.end(Ended(link=link, stored=FILE))
    old = await desk.found(made[1])
    ids = [one.link_id for one in made]

    assert await overdue(desk) == []
    assert await overdue(desk, before=old.stored_at) == ids[:1]
    assert await overdue(desk, most=200) == ids[:1]
    assert await overdue(desk, most=99) == ids
    assert await overdue(desk, most=300) == []
