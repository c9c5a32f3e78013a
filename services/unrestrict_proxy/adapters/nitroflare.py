"""Nitroflare, interface version 2: user and premium key in every query, an envelope of type and result or message."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, TypeVar

from msgspec import Raw, Struct, field

from proto.unrestrict_proxy import LinkClass
from services.unrestrict_proxy.adapters.answers import Bytes, Reply, ask, by_status, instant
from services.unrestrict_proxy.adapters.contract import (
    AccountState,
    Caps,
    Credentials,
    DirectLink,
    FileInfo,
    HostError,
    HostFile,
    Line,
    Pending,
    Session,
)
from services.unrestrict_proxy.adapters.links import file_id
from services.unrestrict_proxy.adapters.verdicts import (
    ADDRESS,
    BANNED,
    CAPTCHA,
    EXHAUSTED,
    FAILED,
    FLOOD,
    LATER,
    LOCKED,
    MAINTENANCE,
    NOT_PREMIUM,
    OFFLINE,
    PASSWORD,
    PRIVATE,
    SLOTS,
    UNSUPPORTED,
    WRONG_LOGIN,
    Verdict,
)

T = TypeVar("T")

API = "https://nitroflare.com/api/v2"
_FILE = re.compile(r"^/(?:view|watch)/(?P<id>[0-9A-Z]+)(?![0-9A-Za-z])", re.ASCII)
_CAPTCHA_CODE = 12
_CODES = {1: NOT_PREMIUM, 4: OFFLINE, 6: CAPTCHA, 8: WRONG_LOGIN}
"""Of refusals whose words are not known: 1 is what is denied to whoever is not premium."""

_WORDS: tuple[tuple[str, Verdict], ...] = (
    ("premium key", WRONG_LOGIN),
    ("wrong login", WRONG_LOGIN),
    ("account banned", LOCKED),
    ("not premium", NOT_PREMIUM),
    ("bandwidth", EXHAUSTED),
    ("traffic", EXHAUSTED),
    ("simultaneous", SLOTS),
    ("ip address", ADDRESS),
    ("too many requests", FLOOD),
    ("maintenance", MAINTENANCE),
    ("bad input", UNSUPPORTED),
    ("copyright", BANNED),
    ("private", PRIVATE),
    ("password", PASSWORD),
    ("temporarily", LATER),
    ("doesn't exist", OFFLINE),
    ("not found", OFFLINE),
    ("removed", OFFLINE),
)
"""Parts of `message`, in the order in which they are tried: of its codes only that of the captcha is known."""

_STATUSES = {429: FLOOD}


class _Envelope(Struct, frozen=True):
    type: str
    result: Raw = Raw(b"null")
    code: int | None = None
    message: str | None = None


class _Key(Struct, frozen=True):
    """Dates are in words, in UTC as far as is known; traffic in bytes."""

    status: str
    expiry: str | None = field(default=None, name="expiryDate")
    left: Bytes | None = field(default=None, name="trafficLeft")
    total: Bytes | None = field(default=None, name="trafficMax")


class _File(Struct, frozen=True):
    status: str
    name: str | None = None
    size: Bytes | None = None


class _Files(Struct, frozen=True):
    files: dict[str, _File]


class _Link(Struct, frozen=True):
    """Who has no premium is answered with another `linkType`, without a link."""

    kind: Literal["premium", "free"] = field(default="premium", name="linkType")
    url: str | None = None
    name: str | None = None
    size: Bytes | None = None


class Nitroflare:
    platform = "nitroflare"
    name = "Nitroflare"
    domains: tuple[str, ...] = ("nitroflare.com", "nitro.download", "nitroflare.net")
    caps = Caps(max_chunks=8, slots=5, batch=50, link_seconds=3600)

    def match(self, url: str) -> HostFile | None:
        identity = file_id(url, self.domains, _FILE)
        if identity is None:
            return None
        ref = LinkClass(platform=self.platform, file_ref=identity)
        return HostFile(ref=ref, url=f"https://nitroflare.com/view/{identity}")

    async def login(self, line: Line) -> Session:
        return Session()  # user and key go with every call

    async def account(self, line: Line) -> AccountState:
        _, key = await _call(line, "getKeyInfo", _member(line.credentials), _Key)
        active = key.status == "active"
        return AccountState(
            usable=active,
            premium_until=instant(key.expiry),
            traffic_left=key.left,
            traffic_total=key.total,
            reason="" if active else NOT_PREMIUM.message,
        )

    async def hosts(self, line: Line) -> tuple[str, ...]:
        return self.domains

    async def check(self, line: Line, files: Sequence[HostFile]) -> list[FileInfo]:
        if not files:
            return []
        params = [("files", ",".join(one.ref.file_ref for one in files))]
        _, got = await _call(line, "getFileInfo", params, _Files)
        return [_info(got.files.get(one.ref.file_ref)) for one in files]

    async def resolve(self, line: Line, file: HostFile, password: str | None) -> DirectLink | Pending:
        params = [("file", file.ref.file_ref), *_member(line.credentials)]
        reply, got = await _call(line, "getDownloadLink", params, _Link)
        if got.kind != "premium":
            raise reply.refused(NOT_PREMIUM, got.kind)
        return DirectLink(url=reply.link(got.url or ""), name=got.name, size=got.size)

    async def poll(self, line: Line, pending: Pending) -> DirectLink | Pending:
        raise FAILED.error("nothing_pending")


def _member(credentials: Credentials) -> list[tuple[str, str]]:
    return [("user", credentials.username), ("premiumKey", credentials.secret)]


async def _call(line: Line, path: str, params: list[tuple[str, str]], kind: type[T]) -> tuple[Reply, T]:
    url = line.url(API, path)
    reply = await ask(line, "GET", url, params=params)
    envelope = reply.read(_Envelope)
    if envelope.type != "success" or reply.status >= 400:
        raise _refused(reply, envelope)
    return reply, reply.part(envelope.result, kind)


def _refused(reply: Reply, envelope: _Envelope) -> HostError:
    code = reply.status if envelope.code is None else envelope.code
    if envelope.code == _CAPTCHA_CODE:
        return reply.refused(CAPTCHA, code)
    said = (envelope.message or "").lower()
    for words, verdict in _WORDS:
        if words in said:
            return reply.refused(verdict, code)
    return reply.refused(_CODES.get(envelope.code or 0) or by_status(reply.status, _STATUSES), code)


def _info(file: _File | None) -> FileInfo:
    if file is None:
        return FileInfo(online="unknown")
    if file.status != "online":
        return FileInfo(online="offline")
    return FileInfo(online="online", name=file.name, size=file.size)
