"""The archive of a user in Postgres, asked for page by page as a worker does."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from libs.calls import Caller, serve
from proto import REGISTRY
from proto.job import Archive, ArchivePage, ListArchived
from services.job import views
from services.job.domain import Archived
from services.job.handlers import reading

ADA, BOB = UUID(int=1), UUID(int=2)


def entry(owner: UUID, site: str, key: str, *, host: str = "site.test", stored: bool = True, file: int = 9) -> Archived:
    return Archived(owner=owner, site=site, key=key, file_id=UUID(int=file), host=host, stored=stored)


async def served(installation) -> tuple[asyncpg.Pool, Caller]:
    pool = await installation.pool("job")
    await serve(await installation.bus("job"), "job", (reading.list_archived,), {"pool": pool})
    return pool, Caller(await installation.bus("worker"), REGISTRY, "worker")


async def asked(caller: Caller, owner: UUID, host: str, archive: Archive = "stored") -> tuple[list[str], int]:
    """The keys, and how many pages they came on."""
    keys: list[str] = []
    pages, after = 0, None
    while True:
        query = ListArchived(owner=owner, host=host, archive=archive, after=after)
        page = await caller.query(query, result=ArchivePage)
        keys += page.keys
        pages += 1
        after = page.after
        if after is None:
            return keys, pages


async def test_a_long_archive_comes_in_pages_and_nothing_else_with_it(installation) -> None:
    """In order, each key once, of the sites that the link's host led to, and of one owner alone."""
    pool, caller = await served(installation)
    first, second = [f"a{n:06}" for n in range(4000)], [f"b{n:06}" for n in range(1500)]
    async with pool.acquire() as conn, conn.transaction():
        await views.keep_archived(conn, [entry(ADA, "one", key) for key in first])
        await views.keep_archived(conn, [entry(ADA, "two", key) for key in second])
        await views.keep_archived(conn, [entry(ADA, "elsewhere", "c", host="other.test"), entry(BOB, "one", "d")])

    assert await asked(caller, ADA, "www.site.test") == (first + second, 3)
    assert await asked(caller, BOB, "site.test") == (["d"], 1)
    assert await asked(caller, ADA, "nowhere.test") == ([], 1)


async def test_an_item_is_stored_as_long_as_one_of_its_files_is(installation) -> None:
    """And fetched for ever."""
    pool, caller = await served(installation)
    heard = []
    for change in (entry(ADA, "s", "k"), entry(ADA, "s", "k", file=8), entry(ADA, "s", "k", stored=False)):
        async with pool.acquire() as conn:
            await views.keep_archived(conn, [change])
        heard.append((await asked(caller, ADA, "site.test"))[0])
    async with pool.acquire() as conn:
        await views.keep_archived(conn, [entry(ADA, "s", "k", file=8, stored=False)])

    assert heard == [["k"], ["k"], ["k"]]
    assert await asked(caller, ADA, "site.test") == ([], 1)
    assert await asked(caller, ADA, "site.test", "fetched") == (["k"], 1)
