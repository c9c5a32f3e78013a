"""LinkSnappy: a session by cookie, an envelope of status and return or error, refusals in words alone."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from services.unrestrict_proxy.adapters.answers import LAST_MOMENT, Reply, ask, by_status, moment
from services.unrestrict_proxy.adapters.contract import (
    AccountState,
    Caps,
    DirectLink,
    FileInfo,
    HostError,
    HostFile,
    Line,
    Pending,
    Session,
)
from services.unrestrict_proxy.adapters.verdicts import (
    ACCOUNT_FLOOD,
    ADDRESS,
    BAD_ANSWER,
    BANNED,
    CAPTCHA,
    EXHAUSTED,
    HOST_DOWN,
    HOST_LIMIT,
    HOST_SLOTS,
    LATER,
    LOCKED,
    MAINTENANCE,
    NOT_PREMIUM,
    OFFLINE,
    PASSWORD,
    PRIVATE,
    SESSION_OVER,
    SLOTS,
    UNSUPPORTED,
    WRONG_LOGIN,
    Verdict,
)

API = "https://linksnappy.com/api"
_KILOBYTE = 1024
_MOST_KILOBYTES = 1 << 52
_DIGITS = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_POLL_SECONDS = 5.0

_WORDS: tuple[tuple[str, Verdict], ...] = (
    ("session", SESSION_OVER),
    ("not logged in", SESSION_OVER),
    ("incorrect username", WRONG_LOGIN),
    ("invalid username", WRONG_LOGIN),
    ("invalid password", WRONG_LOGIN),
    ("captcha", CAPTCHA),
    ("two-factor", CAPTCHA),
    ("suspended", LOCKED),
    ("banned account", LOCKED),
    ("account has expired", NOT_PREMIUM),
    ("premium", NOT_PREMIUM),
    ("elite membership", NOT_PREMIUM),
    ("daily quota of this host", HOST_LIMIT),
    ("quota", EXHAUSTED),
    ("max download limit", EXHAUSTED),
    ("bandwidth", EXHAUSTED),
    ("max download request", HOST_SLOTS),
    ("simultaneous", SLOTS),
    ("ip address", ADDRESS),
    ("too many requests", ACCOUNT_FLOOD),
    ("filehost is down", HOST_DOWN),
    ("no server available", HOST_DOWN),
    ("host is currently", HOST_DOWN),
    ("maintenance", MAINTENANCE),
    ("not supported", UNSUPPORTED),
    ("invalid file url", UNSUPPORTED),
    ("copyright", BANNED),
    ("private", PRIVATE),
    ("password", PASSWORD),
    ("try again", LATER),
    ("not found", OFFLINE),
    ("file deleted", OFFLINE),
    ("dead", OFFLINE),
)
"""Parts of `error`, in the order in which they are tried."""
_CODE = re.compile(r"[^a-z0-9]+")

_STATUSES = {429: ACCOUNT_FLOOD}


class _Status(Struct, frozen=True):
    """`error` is false or in words."""

    status: str
    error: str | bool | None = None


class _User(Struct, frozen=True):
    """`expire` in unix seconds or in words, `left` in kilobytes or in words. Numbers come as text, too."""

    expire: int | str
    left: int | str | None = field(default=None, name="trafficleft")
    total: int | str | None = field(default=None, name="maxtraffic")


class _Details(Struct, frozen=True):
    user: _User = field(name="return")


class _Host(Struct, frozen=True):
    status: str | int = field(name="Status")


class _Hosts(Struct, frozen=True):
    hosts: dict[str, _Host] = field(name="return")


class _Link(Struct, frozen=True):
    status: str
    generated: str | Literal[False] = ""
    filename: str | None = None
    hash: str | None = None
    caching: bool | None = field(default=None, name="cacheDL")
    error: str | bool | None = None


class _Generated(Struct, frozen=True):
    """Whose session is over is answered without `links`."""

    links: tuple[_Link, ...] = ()
    status: str = ""
    error: str | bool | None = None


class _Percent(Struct, frozen=True):
    percent: Annotated[float, Meta(ge=0, le=100)]


class _Progress(Struct, frozen=True):
    cache: _Percent = field(name="return")


class _Ticket(Struct, frozen=True, array_like=True):
    hash: str
    url: str
    name: str | None


class LinkSnappy:
    platform = "linksnappy"
    name = "LinkSnappy"
    domains: tuple[str, ...] = ()
    caps = Caps(max_chunks=8, slots=4, link_seconds=3600, multihost=True)

    def match(self, url: str) -> HostFile | None:
        return None  # it has no files of its own

    async def login(self, line: Line) -> Session:
        params = [("username", line.credentials.username), ("password", line.credentials.secret)]
        reply = await _call(line, "AUTHENTICATE", params)
        _well(reply, at_login=True)
        if not reply.cookies:
            raise reply.broken()
        return Session(cookies=reply.cookies)

    async def account(self, line: Line) -> AccountState:
        reply = await _call(line, "USERDETAILS", [])
        _well(reply)
        user = reply.read(_Details).user
        until = _number(user.expire, LAST_MOMENT)
        premium = user.expire != "expired" if until is None else until > time.time()
        left, total = (_number(said, _MOST_KILOBYTES) for said in (user.left, user.total))
        return AccountState(
            usable=premium,
            premium_until=moment(until),
            traffic_left=None if left is None else left * _KILOBYTE,
            traffic_total=None if total is None else total * _KILOBYTE,
            reason="" if premium else NOT_PREMIUM.message,
        )

    async def hosts(self, line: Line) -> tuple[str, ...]:
        reply = await _call(line, "FILEHOSTS", [])
        _well(reply)
        return tuple(name for name, host in reply.read(_Hosts).hosts.items() if str(host.status) == "1")

    async def check(self, line: Line, files: Sequence[HostFile]) -> list[FileInfo]:
        """It has no call for it: a link is only known by being made."""
        return [FileInfo(online="unknown") for _ in files]

    async def resolve(self, line: Line, file: HostFile, password: str | None) -> DirectLink | Pending:
        wanted = {"link": file.url} | ({"linkpass": password} if password else {})
        params = [("genLinks", msgspec.json.encode(wanted).decode())]
        reply = await _call(line, "linkgen", params, hidden=password or "")
        got = reply.read(_Generated)
        if not got.links:
            raise reply.broken() if got.status in {"", "OK"} else _refused(reply, got.error)
        link = got.links[0]
        if link.status != "OK":
            raise _refused(reply, link.error)
        url = reply.link(link.generated or "")
        if link.caching and link.hash:
            ticket = msgspec.json.encode(_Ticket(link.hash, url, link.filename)).decode()
            return Pending(ticket=ticket, name=link.filename)
        return DirectLink(url=url, name=link.filename)

    async def poll(self, line: Line, pending: Pending) -> DirectLink | Pending:
        """The link was given at first, and is good when the platform has fetched the file."""
        try:
            ticket = msgspec.json.decode(pending.ticket, type=_Ticket)
        except msgspec.DecodeError:
            raise BAD_ANSWER.error("bad_ticket") from None
        reply = await _call(line, "CACHEDLSTATUS", [("id", ticket.hash)])
        _well(reply)
        percent = reply.read(_Progress).cache.percent
        if percent < 100:
            return Pending(ticket=pending.ticket, after=_POLL_SECONDS, fraction=percent / 100, name=ticket.name)
        return DirectLink(url=ticket.url, name=ticket.name)


def _number(said: int | str | None, most: int) -> int | None:
    """None for words. Who has used more than there was has less than nothing left."""
    if isinstance(said, str):
        said = int(said) if _DIGITS.fullmatch(said) else None
    return None if said is None else min(max(said, 0), most)


async def _call(line: Line, path: str, params: Sequence[tuple[str, str]], hidden: str = "") -> Reply:
    return await ask(
        line,
        "GET",
        line.url(API, path),
        hidden=(hidden,),
        params=params,
        cookies=line.session.cookies,
    )


def _well(reply: Reply, *, at_login: bool = False) -> None:
    """Raises HostError when it was refused."""
    said = reply.read(_Status)
    if said.status != "OK" or reply.status >= 400:
        raise _refused(reply, said.error, at_login=at_login)


def _refused(reply: Reply, error: str | bool | None, *, at_login: bool = False) -> HostError:
    message = error.lower() if isinstance(error, str) else ""
    for words, verdict in _WORDS:
        if words in message:
            said = WRONG_LOGIN if at_login and verdict is SESSION_OVER else verdict
            return reply.refused(said, _CODE.sub("_", words))
    return reply.refused(by_status(reply.status, _STATUSES), reply.status)
