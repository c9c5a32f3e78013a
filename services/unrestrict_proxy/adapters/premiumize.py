"""Premiumize: the account's key as a bearer, an envelope of status and a code or at least words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from services.unrestrict_proxy.adapters.answers import Bytes, Moment, Reply, ask, by_status, moment
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
    BANNED,
    EXHAUSTED,
    FAILED,
    HOST_DOWN,
    HOST_LIMIT,
    LATER,
    LOCKED,
    MAINTENANCE,
    NOT_PREMIUM,
    OFFLINE,
    PASSWORD,
    PRIVATE,
    SLOTS,
    UNKNOWN,
    UNSUPPORTED,
    WRONG_LOGIN,
    Verdict,
)

API = "https://www.premiumize.me/api"

_CODES: dict[str, Verdict] = {
    "authentication_failed": WRONG_LOGIN,
    "permission_denied": NOT_PREMIUM,
    "account_limit_reached": EXHAUSTED,
    "service_limit_reached": HOST_LIMIT,
    "rate_limit_reached": ACCOUNT_FLOOD,
    "service_unsupported": UNSUPPORTED,
    "invalid_request": UNSUPPORTED,
    "service_down": HOST_DOWN,
    "link_generation_failed": LATER,
    "transient_error": LATER,
    "not_found": OFFLINE,
    "unknown_error": UNKNOWN,
}
_WORDS: tuple[tuple[str, Verdict], ...] = (
    ("not logged in", WRONG_LOGIN),
    ("invalid api", WRONG_LOGIN),
    ("account locked", LOCKED),
    ("not premium", NOT_PREMIUM),
    ("premium membership", NOT_PREMIUM),
    ("linklimit for this service", HOST_LIMIT),
    ("fair use", EXHAUSTED),
    ("fair-use", EXHAUSTED),
    ("too many active", SLOTS),
    ("ip address", ADDRESS),
    ("too many requests", ACCOUNT_FLOOD),
    ("rate limit", ACCOUNT_FLOOD),
    ("hoster is down", HOST_DOWN),
    ("hoster is currently", HOST_DOWN),
    ("maintenance", MAINTENANCE),
    ("unsupported", UNSUPPORTED),
    ("not supported", UNSUPPORTED),
    ("copyright", BANNED),
    ("dmca", BANNED),
    ("private", PRIVATE),
    ("password", PASSWORD),
    ("try again", LATER),
    ("not in cache", LATER),
    ("not found", OFFLINE),
    ("file is offline", OFFLINE),
)
"""Parts of `message`, in the order in which they are tried, for answers without a code."""

_STATUSES = {429: ACCOUNT_FLOOD}


class _Status(Struct, frozen=True):
    status: str
    message: str | None = None
    code: str | int | None = None


class _Account(Struct, frozen=True):
    """`limit_used` is the part of the fair use that is gone, 0 to 1."""

    premium_until: Moment | Literal[False] | None
    limit_used: Annotated[float, Meta(ge=0)] = 0.0


class _Services(Struct, frozen=True):
    directdl: tuple[str, ...]
    aliases: dict[str, tuple[str, ...]] = {}


class _Cached(Struct, frozen=True):
    response: tuple[bool, ...]
    filename: tuple[str | None, ...] = ()
    filesize: tuple[Bytes | None, ...] = ()


class _Content(Struct, frozen=True):
    link: str
    path: str = ""
    size: Bytes | None = None


class _Direct(Struct, frozen=True):
    content: tuple[_Content, ...]


class Premiumize:
    platform = "premiumize"
    name = "Premiumize"
    domains: tuple[str, ...] = ()
    caps = Caps(max_chunks=8, slots=6, batch=50, link_seconds=6 * 3600, multihost=True)

    def match(self, url: str) -> HostFile | None:
        return None  # it has no files of its own

    async def login(self, line: Line) -> Session:
        return Session()  # the key goes with every call

    async def account(self, line: Line) -> AccountState:
        """Traffic is counted in points of a fair use that has no bytes: only that it is gone can be told."""
        got = (await _call(line, "account/info", [])).read(_Account)
        premium = bool(got.premium_until)
        return AccountState(
            usable=premium,
            premium_until=moment(got.premium_until or None),
            traffic_left=0 if got.limit_used >= 1 else None,
            reason="" if premium else NOT_PREMIUM.message,
        )

    async def hosts(self, line: Line) -> tuple[str, ...]:
        got = (await _call(line, "services/list", [])).read(_Services)
        return tuple(domain for host in got.directdl for domain in got.aliases.get(host, (host,)))

    async def check(self, line: Line, files: Sequence[HostFile]) -> list[FileInfo]:
        """It tells what it has already; of the others nothing is known."""
        if not files:
            return []
        reply = await _call(line, "cache/check", [("items[]", one.url) for one in files])
        got = reply.read(_Cached)
        if len(got.response) != len(files):
            raise reply.broken()
        infos = []
        for index, cached in enumerate(got.response):
            name = got.filename[index] if index < len(got.filename) else None
            size = got.filesize[index] if index < len(got.filesize) else None
            infos.append(FileInfo(online="online", name=name, size=size) if cached else FileInfo(online="unknown"))
        return infos

    async def resolve(self, line: Line, file: HostFile, password: str | None) -> DirectLink | Pending:
        form = [("src", file.url), *([("download_password", password)] if password else [])]
        reply = await _call(line, "transfer/directdl", form)
        content = reply.read(_Direct).content
        if not content:
            raise reply.broken()
        best = max(content, key=lambda one: one.size or 0)
        name = best.path.rpartition("/")[2]
        return DirectLink(url=reply.link(best.link), name=name or None, size=best.size)

    async def poll(self, line: Line, pending: Pending) -> DirectLink | Pending:
        raise FAILED.error("nothing_pending")


async def _call(line: Line, path: str, form: Sequence[tuple[str, str]]) -> Reply:
    reply = await ask(
        line,
        "POST" if form else "GET",
        line.url(API, path),
        form=form or None,
        headers={"Authorization": f"Bearer {line.credentials.secret}"},
    )
    if path == "services/list" and reply.status == 200:
        return reply  # the one answer without an envelope
    said = reply.read(_Status)
    if said.status == "success" and reply.status < 400:
        return reply
    raise _refused(reply, said)


def _refused(reply: Reply, said: _Status) -> HostError:
    if isinstance(said.code, str) and said.code in _CODES:
        return reply.refused(_CODES[said.code], said.code)
    message = (said.message or "").lower()
    for words, verdict in _WORDS:
        if words in message:
            return reply.refused(verdict, words.replace(" ", "_"))
    return reply.refused(by_status(reply.status, _STATUSES), said.code or reply.status)
