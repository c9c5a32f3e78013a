"""The one way in which links and the traffic they cost change: read, decide and commit under the user's lock.

A ledger is the fold of its events; what is kept beside them saves folding thousands of them for every link.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID, uuid5

import asyncpg
from msgspec import Struct

from libs.database import Connection
from libs.eventstore import EventStore, Exact, Exists, NoStream, Write
from libs.message import Event, Meta, Position, Refusal, Refused
from proto.job import Dialect
from proto.unrestrict_proxy import (
    LinkExpired,
    LinkFailed,
    LinkRequested,
    LinkStored,
    Traffic,
    TrafficEntry,
    TrafficGranted,
    TrafficRefunded,
    TrafficReserved,
    TrafficSettled,
)
from services.unrestrict_proxy.links import ledger as ledgers
from services.unrestrict_proxy.links import views
from services.unrestrict_proxy.links.ledger import Ledger
from services.unrestrict_proxy.links.views import Link

_KINDS: dict[type[Event], Literal["reserved", "settled", "refunded"]] = {
    TrafficReserved: "reserved",
    TrafficSettled: "settled",
    TrafficRefunded: "refunded",
}
Append = Callable[[Sequence[Write]], Awaitable[list[Position]]]


def new_link_id() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode()


def link_stream(link_id: str) -> UUID:
    return UUID(bytes=base64.urlsafe_b64decode(link_id + "=="))


def traffic_stream(owner: UUID) -> UUID:
    """The owner's own id is the stream of the owner's cookies."""
    return uuid5(owner, "traffic")


class Stored(Struct, frozen=True, kw_only=True):
    """What a link led to."""

    file_id: UUID
    name: str
    size: int
    sha256: str


class Ended(Struct, frozen=True, kw_only=True):
    """How an open link ended. Without `stored` it failed with `status`; who gave it up himself pays for what was
    read."""

    link: Link
    stored: Stored | None = None
    status: int = 106
    message: str = ""
    charged: bool = False


class Book:
    def __init__(
        self,
        pool: asyncpg.Pool,
        store: EventStore,
        quota: int,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`quota` in bytes is what a user has to whom nobody granted anything."""
        self.clock = clock
        self._pool = pool
        self._store = store
        self._quota = quota

    async def make(
        self, link: Link, url: str, meta: Meta, dialect: Dialect | None = None
    ) -> tuple[Link, Position | None]:
        """The link and the reservation of what it may cost, in one decision; or, for one that a dialect asked for and
        that has no job yet, the user's link to the same file, when another asker was first. Raises Refused."""
        at = self.clock()
        async with self._store.transaction() as tx:
            await views.lock(tx.conn, [link.owner])
            if dialect is not None:
                known = await views.usable(tx.conn, link.owner, link.platform, link.file_ref)
                if known is not None:
                    return known, None
            change = _Change(await self._ledger(tx.conn, link.owner), {link.link_id: link.name})
            self._begin(change, at)
            change.add(ledgers.reserve(change.ledger, link.link_id, link.platform, link.size, at))
            requested = LinkRequested(
                link_id=link.link_id,
                owner=link.owner,
                job_id=link.job_id,
                url=url,
                platform=link.platform,
                file_ref=link.file_ref,
                host=link.host,
                name=link.name,
                size=link.size,
                max_chunks=link.max_chunks,
                resumable=link.resumable,
                dialect=dialect,
                at=at,
            )
            position = await _commit(tx.conn, tx.append, [change], [_of_link(link, requested, NoStream(), meta)], meta)
            await views.put_link(tx.conn, link)
        return link, position

    async def check(self, owner: UUID, platform: str) -> None:
        """Raises Refused where any link would be, whatever its size: no platform needs to be asked then."""
        at = self.clock()
        async with self._pool.acquire() as conn:
            change = _Change(await self._ledger(conn, owner), {})
        self._begin(change, at)
        change.add(ledgers.reserve(change.ledger, "", platform, None, at))

    async def sized(self, link: Link, size: int, meta: Meta) -> None:
        """Reserves what was not known to be needed, or not to be so much. Raises Refused."""
        async with self._store.transaction() as tx:
            await views.lock(tx.conn, [link.owner])
            change = _Change(await self._ledger(tx.conn, link.owner), {link.link_id: link.name})
            change.add(ledgers.reserve(change.ledger, link.link_id, link.platform, size, self.clock()))
            await _commit(tx.conn, tx.append, [change], [], meta)

    async def grant(
        self, owner: UUID, quota: int | None, host_daily: int | None, concurrent: int | None, meta: Meta
    ) -> tuple[Traffic, Position | None]:
        at = self.clock()
        async with self._store.transaction() as tx:
            await views.lock(tx.conn, [owner])
            change = _Change(await self._ledger(tx.conn, owner), {})
            base = self._quota if not change.ledger.version and quota is None else quota
            change.add(ledgers.grant(change.ledger, at, base, host_daily, concurrent))
            position = await _commit(tx.conn, tx.append, [change], [], meta)
        return change.ledger.reading(at), position

    async def traffic(self, owner: UUID) -> Traffic:
        at = self.clock()
        async with self._pool.acquire() as conn:
            change = _Change(await self._ledger(conn, owner), {})
        self._begin(change, at)
        return change.ledger.reading(at)

    async def end(self, conn: Connection, ended: Collection[Ended], meta: Meta) -> None:
        """In the transaction of who heard that they ended, and its first write."""
        at = self.clock()
        await views.lock(conn, {one.link.owner for one in ended})
        still = await views.open_links(conn, [one.link.job_id for one in ended])
        there = {one.link_id for one in still.values()}
        ended = [one for one in ended if one.link.link_id in there]
        read = await views.read(conn, [one.link.job_id for one in ended])
        changes: dict[UUID, _Change] = {}
        writes = []
        for one in ended:
            link = one.link
            if link.owner not in changes:
                changes[link.owner] = _Change(await self._ledger(conn, link.owner), {})
            change = changes[link.owner]
            change.names[link.link_id] = link.name
            count, _ = read.get(link.job_id, (0, 0))
            if one.stored is not None or one.charged:
                change.add(ledgers.settle(change.ledger, link.link_id, count, at))
            else:
                change.add(ledgers.refund(change.ledger, link.link_id, at))
            writes.append(_of_link(link, _ending(one, at), Exists(), meta))
        if not writes:
            return
        await _commit(conn, lambda every: self._store.append(conn, every), changes.values(), writes, meta)
        for one in ended:
            if one.stored is None:
                await views.ended(conn, one.link.link_id, "error", one.status)
            else:
                kept = one.stored
                await views.stored(conn, one.link.link_id, kept.file_id, kept.name, kept.size, kept.sha256, at)
        await views.forget_reading(conn, [one.link.job_id for one in ended])

    async def expire(self, conn: Connection, links: Sequence[Link], meta: Meta) -> None:
        """Their files are gone. In the transaction of who heard so, and its first write."""
        at = self.clock()
        await self._store.append(
            conn,
            [_of_link(one, LinkExpired(link_id=one.link_id, owner=one.owner, at=at), Exists(), meta) for one in links],
        )
        for one in links:
            await views.ended(conn, one.link_id, "expired", None)

    def _begin(self, change: _Change, at: datetime) -> None:
        """Who was granted nothing yet is granted what everybody has."""
        if not change.ledger.version:
            change.add(ledgers.grant(change.ledger, at, self._quota, None, None))

    async def _ledger(self, conn: Connection, owner: UUID) -> Ledger:
        kept = (await views.ledgers(conn, [owner])).get(owner)
        if kept is not None:
            return kept
        ledger = Ledger(owner=owner)
        for one in await self._store.load(traffic_stream(owner), conn=conn):
            ledger = ledgers.evolve(ledger, one.event)
        return ledger


class _Change:
    """What becomes of one ledger in one transaction."""

    def __init__(self, ledger: Ledger, names: dict[str, str]) -> None:
        self.ledger = ledger
        self.names = names
        self.before = ledger.version
        self.events: list[Event] = []

    def add(self, decision: list[Event] | Refusal) -> None:
        """Raises Refused."""
        if isinstance(decision, Refusal):
            raise Refused(decision)
        for event in decision:
            self.ledger = ledgers.evolve(self.ledger, event)
        self.events += decision

    def write(self, meta: Meta) -> Write:
        return Write(
            stream_id=traffic_stream(self.ledger.owner),
            kind="traffic",
            expected=Exact(self.before) if self.before else NoStream(),
            events=self.events,
            meta=meta,
            tenant=self.ledger.owner,
        )

    def entries(self, positions: Sequence[Position]) -> list[TrafficEntry]:
        return [_entry(event, at, self.names) for event, at in zip(self.events, positions, strict=True)]


async def _commit(
    conn: Connection, append: Append, changes: Collection[_Change], others: Sequence[Write], meta: Meta
) -> Position | None:
    """The place of the last event, None when nothing changed."""
    changed = [one for one in changes if one.events]
    writes = [*others, *(one.write(meta) for one in changed)]
    if not writes:
        return None
    positions = await append(writes)
    at = sum(len(one.events) for one in others)
    for one in changed:
        await views.put_ledger(conn, one.ledger)
        await views.add_entries(conn, one.ledger.owner, one.entries(positions[at : at + len(one.events)]))
        at += len(one.events)
    return positions[-1]


def _of_link(link: Link, event: Event, expected: NoStream | Exists, meta: Meta) -> Write:
    return Write(
        stream_id=link_stream(link.link_id),
        kind="link",
        expected=expected,
        events=[event],
        meta=meta,
        tenant=link.owner,
    )


def _ending(one: Ended, at: datetime) -> LinkStored | LinkFailed:
    link, kept = one.link, one.stored
    if kept is None:
        return LinkFailed(link_id=link.link_id, owner=link.owner, status=one.status, message=one.message, at=at)
    return LinkStored(
        link_id=link.link_id,
        owner=link.owner,
        job_id=link.job_id,
        file_id=kept.file_id,
        name=kept.name,
        size=kept.size,
        sha256=kept.sha256,
        at=at,
    )


def _entry(event: Event, position: Position, names: dict[str, str]) -> TrafficEntry:
    if isinstance(event, TrafficGranted):
        return TrafficEntry(position=position.number, at=event.at, kind="granted", bytes=event.quota)
    assert isinstance(event, TrafficReserved | TrafficSettled | TrafficRefunded)
    return TrafficEntry(
        position=position.number,
        at=event.at,
        kind=_KINDS[type(event)],
        bytes=event.bytes,
        link_id=event.link_id,
        platform=event.platform,
        name=names.get(event.link_id),
    )
