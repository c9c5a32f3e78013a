"""Their words for what they want, ours for what there is, and every refusal in their numbers. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote
from uuid import UUID

import msgspec
from msgspec import UNSET

from libs.message import Refusal, tag
from proto.unrestrict_proxy import (
    HostCapReached,
    HostInfo,
    HostLink,
    HostRefused,
    TooManyAtOnce,
    Traffic,
    Unrestricted,
    UnrestrictLink,
)
from services.gateway.dialects.external import wire
from services.gateway.dialects.external.words import TEXTS, Language

LOGIN_CHECK_MILLIS = 30 * 60 * 1000
POLL_SECONDS = 2
POLL_OF_ERRORS_SECONDS = 60
_LINK_ID = re.compile(r"[A-Za-z0-9_-]{22}")

HTTP_STATUS = {
    1: 401, 2: 403, 52: 402, 54: 429, 55: 429, 56: 429, 101: 400, 102: 403, 103: 400, 104: 404, 105: 503, 106: 502,
    107: 429, 900: 400, 999: 500,
}  # fmt: skip
"""Their table; it leaves 106 open."""
RETRY_SECONDS = {54: 3600, 55: 60, 56: 60, 105: 60, 106: 180, 107: 120}
"""For refusals that do not say it themselves: without it clients choose their own, of three minutes or more."""

NUMBER_OF_REFUSAL = {
    "unrestrict_proxy.unsupported_link": 101,
    "unrestrict_proxy.traffic_short": 52,
    "unrestrict_proxy.host_cap_reached": 54,
    "unrestrict_proxy.too_many_at_once": 55,
}
"""`host_refused` has its number itself; an unknown link has none, see `NO_LINK`. Any other is 106."""
STATUS_OF_REFUSAL = {
    **{name: HTTP_STATUS[number] for name, number in NUMBER_OF_REFUSAL.items()},
    "unrestrict_proxy.link_not_found": 404,
}


class Trouble(NamedTuple):
    """`text` is a key of `TEXTS`; `retry` in seconds."""

    http: int
    number: int
    text: int | str
    retry: int | None = None

    def shown(self, language: Language) -> wire.Problem:
        return wire.Problem(
            status=self.number,
            msg=TEXTS[self.text][language],
            retry_in_seconds=UNSET if self.retry is None else self.retry,
        )


class Invalid(ValueError):
    """Nothing that could be asked for."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.text)
        self.trouble = trouble


NO_KEY = Trouble(401, 1, 1)
NO_LINK = Trouble(404, 900, "link")
"""Not 104: a client would take the source file for dead. With 900 it asks for a new link."""
BAD_BODY = Trouble(400, 900, "url")
_OF_HTTP = {
    404: Trouble(404, 900, "path"),
    405: Trouble(405, 900, "method"),
    413: Trouble(413, 900, "size"),
    429: Trouble(503, 105, 105, 1),  # theirs has other meanings, all of them about a file host
    500: Trouble(500, 999, 999),
    503: Trouble(503, 105, 105, 1),
}


def trouble(status: int) -> Trouble:
    """For what no call of theirs answers."""
    return _OF_HTTP.get(status, Trouble(status, 900, 900))


def refusal(refused: Refusal) -> Trouble:
    if tag(refused) == "unrestrict_proxy.link_not_found":
        return NO_LINK
    number = refused.status if isinstance(refused, HostRefused) else NUMBER_OF_REFUSAL.get(tag(refused), 106)
    said = refused.retry_after if isinstance(refused, HostRefused | HostCapReached | TooManyAtOnce) else None
    retry = RETRY_SECONDS.get(number) if said is None else max(1, said)
    return Trouble(HTTP_STATUS[number], number, number, retry)


def command(owner: UUID, body: bytes) -> UnrestrictLink:
    """Raises Invalid."""
    try:
        wanted = msgspec.json.decode(body, type=wire.Unrestrict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(BAD_BODY) from error
    url = wanted.url.strip()
    if not url:
        raise Invalid(BAD_BODY)
    return UnrestrictLink(owner=owner, url=url, password=wanted.password or None, dialect="external")


def link_id(text: str) -> str:
    """Raises Invalid for what can be none of ours."""
    if _LINK_ID.fullmatch(text) is None:
        raise Invalid(NO_LINK)
    return text


def account(traffic: Traffic) -> wire.Account:
    """Who has no cap of a host is told the whole quota: 0 would be taken for used up."""
    return wire.Account(
        account_type="premium" if traffic.quota > 0 else "free",
        trafficleft=traffic.left,
        trafficmax=traffic.quota,
        trafficmax_daily=traffic.host_daily or traffic.quota,
        timeleft=None,
        login_check_interval=LOGIN_CHECK_MILLIS,
    )


def hosts(known: Sequence[HostInfo], chunks: int, now: datetime) -> wire.Hosts:
    """A row for every domain. `chunks` and ranges are those of our own server, which is whom clients fetch from."""
    rows = [
        wire.Host(
            host=domain,
            max_chunks=chunks,
            max_downloads=one.max_downloads,
            resumable=True,
            currently_working=one.working,
            trafficleft=_left(one),
            trafficmax_daily=one.traffic_total or 0,
        )
        for one in known
        for domain in one.domains
    ]
    return wire.Hosts(supportedhosts=rows, updated_at=_updated(known, now))


def grouped(known: Sequence[HostInfo], chunks: int, now: datetime) -> wire.Hosts:
    rows = [
        wire.GroupedHost(
            platform=one.name,
            host=one.domains[0],
            domains=sorted(one.domains),
            max_chunks=chunks,
            max_downloads=one.max_downloads,
            resumable=True,
            currently_working=one.working,
            trafficleft=_left(one),
            trafficmax_daily=one.traffic_total or 0,
        )
        for one in known
        if one.domains
    ]
    return wire.Hosts(supportedhosts=rows, updated_at=_updated(known, now))


def _left(one: HostInfo) -> int | msgspec.UnsetType:
    return UNSET if one.traffic_left is None else one.traffic_left


def _updated(known: Sequence[HostInfo], now: datetime) -> int:
    return int(max((one.updated_at for one in known), default=now).timestamp() * 1000)


class Address(NamedTuple):
    """Where our server has files, and the right to a link's that ends."""

    base_url: str
    token: str


def unrestricted(made: Unrestricted, chunks: int, at: Address) -> wire.Link:
    shown = link(made.link, chunks, at)
    return msgspec.structs.replace(shown, host_domain=made.link.host, reused_existing=made.reused)


def link(one: HostLink, chunks: int, at: Address) -> wire.Link:
    """What is kept no more is an error to them: they stop asking, and get a new link when they want one. While
    a file is served early, more connections to us than the host allows would wait for one another."""
    status = "error" if one.state == "expired" else one.state
    moving = status == "downloading"
    early = moving and one.ready
    return wire.Link(
        link_id=one.link_id,
        download_ready=one.ready,
        remote_status=status,
        link=f"{at.base_url}/download/{one.link_id}.{at.token}/{quote(one.name, safe='')}" if one.ready else None,
        filename=one.name,
        filesize=str(one.size or 0),
        maxchunks=min(chunks, max(1, one.max_chunks)) if early else chunks,
        resumable=True,
        poll_after_seconds=POLL_OF_ERRORS_SECONDS if status == "error" else POLL_SECONDS,
        progress_percent=one.progress if moving and one.progress is not None else UNSET,
        eta_seconds=one.eta if moving and one.eta is not None else UNSET,
    )


def expiry(now: float, seconds: int) -> int:
    """Unix seconds: at least `seconds` from now and at most twice as many, and the same for a while, so that a link
    that is asked for again is the same link."""
    return (int(now // seconds) + 2) * seconds
