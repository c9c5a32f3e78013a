"""One function per command or query of the unrestrict service; the routing table is at the foot."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import msgspec
import structlog

from libs.calls import Answer, Call
from libs.eventstore import AnyVersion, EventStore, Write
from libs.message import Refused
from libs.sealing import CannotOpen, Sealer
from proto.unrestrict_proxy import (
    BadCookieDomain,
    ClassifyLinks,
    Cookie,
    CookieDomain,
    CookiesFull,
    CookiesPut,
    CookiesRemoved,
    ListCookieDomains,
    ListPlatforms,
    PlatformInfo,
    PutCookies,
    ReadCookies,
    RemoveCookies,
)
from services.unrestrict_proxy import adapters, domain, views
from services.unrestrict_proxy.pool import handlers as accounts
from services.unrestrict_proxy.views import Kept

log = structlog.get_logger()

_encode = msgspec.json.Encoder().encode
_cookies = msgspec.json.Decoder(tuple[Cookie, ...]).decode


async def classify_links(query: ClassifyLinks) -> Answer:
    return Answer([adapters.classify(url) for url in query.urls])


async def list_platforms(query: ListPlatforms, pool: asyncpg.Pool) -> Answer:
    del query  # it has no fields
    async with pool.acquire() as conn:
        accounts = await views.accounts_by_platform(conn)
    return Answer(
        [
            PlatformInfo(
                platform=one.platform, name=one.name, domains=one.domains, accounts=accounts.get(one.platform, 0)
            )
            for one in adapters.PLATFORMS
        ]
    )


async def put_cookies(command: PutCookies, call: Call, store: EventStore, cookie_sealer: Sealer) -> Answer:
    """Writers of one user wait for one another at the append, so that what they keep together is counted rightly."""
    name = domain.host_name(command.domain)
    if name is None:
        raise Refused(BadCookieDomain(message="domain: not the name of a host"))
    at = datetime.now(UTC)
    body = _encode(command.cookies)
    kept = Kept(domain=name, sealed=cookie_sealer.seal(body, _place(command.owner, name)))
    event = CookiesPut(owner=command.owner, domain=name, cookies=len(command.cookies), at=at)
    async with store.transaction() as tx:
        places = await tx.append([_write(command.owner, event, call)])
        await views.put_cookies(
            tx.conn,
            command.owner,
            kept,
            len(body),
            domain.scopes(command.cookies),
            [one.expires for one in command.cookies],
            command.synced_by,
            at,
        )
        domains, size = await views.cookie_usage(tx.conn, command.owner)
        if domains > domain.DOMAINS_MOST:
            limit = domain.DOMAINS_MOST
            raise Refused(CookiesFull(message=f"Cookies of {limit} domains are kept already.", limit=limit))
        if size > domain.BYTES_MOST:
            limit = domain.BYTES_MOST
            raise Refused(CookiesFull(message=f"The cookies would take more than {limit} bytes.", limit=limit))
    return Answer(position=places[-1])


async def remove_cookies(command: RemoveCookies, call: Call, pool: asyncpg.Pool, store: EventStore) -> Answer:
    async with pool.acquire() as conn:
        known = [one.domain for one in await views.cookie_summaries(conn, command.owner)]
    wanted = known if command.domain is None else [one for one in known if one == domain.host_name(command.domain)]
    if not wanted:
        return Answer(False)
    event = CookiesRemoved(owner=command.owner, domains=tuple(wanted), at=datetime.now(UTC))
    async with store.transaction() as tx:
        places = await tx.append([_write(command.owner, event, call)])
        await views.remove_cookies(tx.conn, command.owner, wanted)
    return Answer(True, places[-1])


def _write(owner: UUID, event: CookiesPut | CookiesRemoved, call: Call) -> Write:
    """All cookies of a user are one stream, under the user's own id."""
    return Write(stream_id=owner, kind="cookies", expected=AnyVersion(), events=[event], meta=call.meta, tenant=owner)


def _place(owner: UUID, name: str) -> str:
    return f"{owner}/{name}"


async def list_cookie_domains(query: ListCookieDomains, pool: asyncpg.Pool) -> Answer:
    async with pool.acquire() as conn:
        found = await views.cookie_summaries(conn, query.owner)
    now = datetime.now(UTC).timestamp()
    return Answer([_described(one, now) for one in found])


def _described(one: views.Summary, now: float) -> CookieDomain:
    good = [expires for expires in one.expiries if not domain.expired(expires, now)]
    return CookieDomain(
        domain=one.domain,
        cookies=len(one.expiries),
        expired=len(one.expiries) - len(good),
        earliest_expiry=min((expires for expires in good if expires is not None), default=None),
        synced_by=one.synced_by,
        updated_at=one.updated_at,
    )


async def read_cookies(query: ReadCookies, pool: asyncpg.Pool, cookie_sealer: Sealer) -> Answer:
    """What another installation's key has sealed is as if it were not there."""
    host = domain.host_name(query.host)
    if host is None:
        return Answer([])
    async with pool.acquire() as conn:
        kept = await views.cookies_for(conn, query.owner, domain.family(host))
    opened = []
    for one in kept:
        try:
            opened.append((one.domain, _cookies(cookie_sealer.open(one.sealed, _place(query.owner, one.domain)))))
        except CannotOpen:
            await log.awarning("cookies.sealed_by_another_key", owner=str(query.owner), domain=one.domain)
    return Answer(domain.usable(opened, host, datetime.now(UTC).timestamp()))


HANDLERS = (
    *accounts.HANDLERS,
    classify_links,
    list_platforms,
    put_cookies,
    remove_cookies,
    list_cookie_domains,
    read_cookies,
)
