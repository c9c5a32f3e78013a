"""One function per command or query about links and traffic; the routing table is at the foot."""

from __future__ import annotations

import asyncio
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit
from uuid import UUID

import asyncpg

from libs.calls import Answer, Call
from libs.message import Refused, new_id
from libs.sealing import CannotOpen, Sealer
from proto.unrestrict_proxy import (
    CloseLease,
    HostRefused,
    KeepLease,
    LinkNotFound,
    NotYet,
    Opened,
    OpenLink,
    ReadLink,
    ReadTraffic,
    ReadTrafficHistory,
    SetTraffic,
    Unrestricted,
    UnrestrictLink,
    UnsupportedLink,
)
from services.unrestrict_proxy.adapters.contract import FileInfo, HostError, HostFile
from services.unrestrict_proxy.links import views
from services.unrestrict_proxy.links.book import Book, new_link_id
from services.unrestrict_proxy.links.views import Link
from services.unrestrict_proxy.pool import KEEP_SECONDS, Lease, NoSlot, Pool, PoolShort

CHECK_SECONDS = 10.0
"""How long name and size are waited for; a link without them is charged when they are known."""
SLOT_SECONDS = 2.0
"""After which a worker asks again for a slot."""

UNKNOWN = FileInfo(online="unknown")


async def unrestrict(
    command: UnrestrictLink,
    call: Call,
    pool: asyncpg.Pool,
    book: Book,
    host_pool: Pool,
    password_sealer: Sealer,
    early: bool,
) -> Answer:
    file = await _matched(host_pool, command.url)
    async with pool.acquire() as conn:
        known = await views.usable(conn, command.owner, file.ref.platform, file.ref.file_ref)
        read = await views.read(conn, [known.job_id]) if known is not None else {}
    if known is not None:
        return Answer(Unrestricted(link=known.shown(*read.get(known.job_id, (0, 0)), early=early), reused=True))
    await book.check(command.owner, file.ref.platform)
    asked = await _asked(host_pool, file, command, new_id(), password_sealer, book)
    link, position = await book.make(asked, command.url, call.meta, command.dialect)
    return Answer(Unrestricted(link=link.shown(), reused=position is None), position)


async def open_link(
    command: OpenLink,
    call: Call,
    pool: asyncpg.Pool,
    book: Book,
    host_pool: Pool,
    password_sealer: Sealer,
    early: bool,
) -> Answer:
    file = await _matched(host_pool, command.url)
    async with pool.acquire() as conn:
        link = (await views.open_links(conn, [command.job_id])).get(command.job_id)
    if link is None:
        asked = await _asked(host_pool, file, command, command.job_id, password_sealer, book)
        link, _ = await book.make(asked, command.url, call.meta)
    lease = await _leased(host_pool, file, link, password_sealer)
    if isinstance(lease, NotYet):
        return Answer(lease)
    direct = lease.link
    size = direct.size or link.size
    try:
        if size is not None and size > (link.size or 0):
            await book.sized(link, size, call.meta)
    except Refused:
        await host_pool.close(lease.lease_id, 0, None, "")
        raise
    chunks = direct.max_chunks or lease.caps.max_chunks
    async with pool.acquire() as conn:
        await views.make_up(conn, new_id(), link.job_id, command.have, book.clock())
        await views.begin_reading(conn, lease.lease_id, link.job_id, book.clock())
        await views.downloading(conn, link.link_id, direct.name or link.name, size, chunks)
    return Answer(
        Opened(
            lease_id=lease.lease_id,
            url=direct.url,
            headers=dict(direct.headers),
            name=direct.name or link.name,
            size=size,
            max_chunks=chunks,
            resumable=direct.resumable and lease.caps.resumable,
            keep_every=KEEP_SECONDS,
            early=early,
        )
    )


async def keep_lease(command: KeepLease, pool: asyncpg.Pool, book: Book, host_pool: Pool) -> Answer:
    await _read(pool, book, command.lease_id, command.read)
    return Answer(await host_pool.keep(command.lease_id))


async def close_lease(command: CloseLease, pool: asyncpg.Pool, book: Book, host_pool: Pool) -> Answer:
    await _read(pool, book, command.lease_id, command.read)
    await host_pool.close(command.lease_id, command.read, command.status, command.reason, command.retry_after)
    return Answer()


async def read_link(query: ReadLink, pool: asyncpg.Pool, early: bool) -> Answer:
    async with pool.acquire() as conn:
        link = await views.link(conn, query.link_id)
        if link is None or link.owner != query.owner:
            raise Refused(LinkNotFound(message="no such link", link_id=query.link_id))
        read = await views.read(conn, [link.job_id]) if link.open else {}
    return Answer(link.shown(*read.get(link.job_id, (0, 0)), early=early))


async def read_traffic(query: ReadTraffic, book: Book) -> Answer:
    return Answer(await book.traffic(query.owner))


async def set_traffic(command: SetTraffic, call: Call, book: Book) -> Answer:
    traffic, position = await book.grant(
        command.owner, command.quota, command.host_daily, command.concurrent, call.meta
    )
    return Answer(traffic, position)


async def read_history(query: ReadTrafficHistory, pool: asyncpg.Pool) -> Answer:
    async with pool.acquire() as conn:
        return Answer(await views.entries(conn, query.owner, query.before, query.limit))


async def _matched(host_pool: Pool, url: str) -> HostFile:
    """Raises Refused."""
    file = await host_pool.match(url)
    if file is None:
        raise Refused(UnsupportedLink(message="this is no link to a file of a supported host"))
    return file


async def _asked(
    host_pool: Pool, file: HostFile, command: UnrestrictLink | OpenLink, job_id: UUID, sealer: Sealer, book: Book
) -> Link:
    """A new link with what its platform says of the file. Raises Refused."""
    password = command.password if isinstance(command, UnrestrictLink) else None
    parts = urlsplit(command.url)
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            info = await host_pool.check(file, password)
    except TimeoutError:
        info = UNKNOWN
    except (HostError, PoolShort) as error:
        raise _refused(error) from error
    if info.online == "offline":
        raise Refused(HostRefused(message="the file is not there any more", status=104))
    if info.password_needed and not password:
        raise Refused(HostRefused(message="the file needs a password", status=103))
    link_id = new_link_id()
    host = next((one for one in await host_pool.hosts() if one.platform == file.ref.platform), None)
    return Link(
        link_id=link_id,
        owner=command.owner,
        job_id=job_id,
        platform=file.ref.platform,
        file_ref=file.ref.file_ref,
        host=(parts.hostname or "").removeprefix("www."),
        name=info.name or PurePosixPath(unquote(parts.path)).name or file.ref.file_ref,
        size=info.size,
        state="pending",
        max_chunks=host.max_chunks if host is not None else 1,
        resumable=host is not None and host.resumable,
        sealed_password=sealer.seal(password.encode(), link_id) if password else None,
        requested_at=book.clock(),
        dialect=command.dialect if isinstance(command, UnrestrictLink) else None,
    )


async def _leased(host_pool: Pool, file: HostFile, link: Link, sealer: Sealer) -> Lease | NotYet:
    """Raises Refused."""
    try:
        password = sealer.open(link.sealed_password, link.link_id).decode() if link.sealed_password else None
    except CannotOpen:
        password = None  # sealed by another installation's key: as if none had been given
    try:
        return await host_pool.open(link.job_id, file, password)
    except NoSlot as busy:
        return NotYet(after=min(busy.retry_after, SLOT_SECONDS))
    except (HostError, PoolShort) as error:
        raise _refused(error) from error


def _refused(error: HostError | PoolShort) -> Refused:
    if isinstance(error, PoolShort):
        wait = max(1, round(error.retry_after))
        return Refused(HostRefused(message="no account can fetch this now", status=107, retry_after=wait))
    if error.status == 101:
        return Refused(UnsupportedLink(message=error.message))
    retry = None if error.retry_after is None else max(1, round(error.retry_after))
    return Refused(HostRefused(message=error.message, status=error.status, retry_after=retry))


async def _read(pool: asyncpg.Pool, book: Book, lease_id: UUID, count: int) -> None:
    async with pool.acquire() as conn:
        await views.reading(conn, lease_id, count, book.clock())


HANDLERS = (
    unrestrict,
    open_link,
    keep_lease,
    close_lease,
    read_link,
    read_traffic,
    set_traffic,
    read_history,
)
