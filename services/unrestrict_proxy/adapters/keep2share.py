"""Keep2Share and its sisters FileBoom and TezFiles, interface version 2: JSON in and out, a token in every body.

The three speak the same, each at its own address, and an account's token is good at all of them; their files are not
known to be the same under one id, so a sister's are kept apart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar

from msgspec import Struct, field

from proto.unrestrict_proxy import LinkClass
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
from services.unrestrict_proxy.adapters.links import domain_of, file_id, split
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
    PRIVATE,
    SESSION_OVER,
    SLOTS,
    UNKNOWN,
    UNSUPPORTED,
    WRONG_LOGIN,
    Verdict,
)

T = TypeVar("T")

_SISTERS = {
    "keep2share.cc": ("keep2share.cc", "k2s.cc", "k2share.cc", "keep2s.cc"),
    "fboom.me": ("fboom.me", "fileboom.me"),
    "tezfiles.com": ("tezfiles.com",),
}
_HOME = "keep2share.cc"
_SITE = {domain: site for site, domains in _SISTERS.items() for domain in domains}
_FILE = re.compile(r"^/(?:file/(?:info/)?)?(?P<id>[0-9a-f]{13,})(?![0-9a-z])", re.ASCII)

_CAPTCHA_OF_GUESTS = 30
_NOT_AVAILABLE = 21
_NO_DOWNLOAD = 42
_CODES: dict[int, Verdict] = {
    10: SESSION_OVER,
    11: SESSION_OVER,
    20: OFFLINE,
    22: BANNED,
    23: UNSUPPORTED,
    _CAPTCHA_OF_GUESTS: CAPTCHA,
    31: CAPTCHA,
    33: CAPTCHA,
    43: NOT_PREMIUM,
    70: WRONG_LOGIN,
    71: CAPTCHA,
    72: LOCKED,
    73: ADDRESS,
    74: FAILED,
    75: SESSION_OVER,
    76: LOCKED,
    77: ADDRESS,
}
_NO_DOWNLOAD_CODES: dict[int, Verdict] = {
    1: SLOTS,
    2: EXHAUSTED,
    3: NOT_PREMIUM,
    4: PRIVATE,
    5: SLOTS,
    6: SLOTS,
    7: NOT_PREMIUM,
    8: PRIVATE,
    9: PRIVATE,
}
"""Of `errors` below codes 42 and 21."""
_STATUSES = {400: FAILED, 401: SESSION_OVER, 403: SESSION_OVER, 404: OFFLINE, 429: FLOOD, 503: MAINTENANCE}


class _Reason(Struct, frozen=True):
    code: int | None = None
    time_remaining: float | None = field(default=None, name="timeRemaining")


class _Status(Struct, frozen=True):
    """Of every answer. `code` repeats HTTP's status."""

    status: str
    code: int
    error_code: int | None = field(default=None, name="errorCode")
    errors: tuple[_Reason, ...] | None = None


class _Token(Struct, frozen=True):
    auth_token: str


class _Account(Struct, frozen=True):
    """`account_expires` is false for who is not premium."""

    available_traffic: Bytes
    account_expires: Moment | Literal[False] | None = None


class _File(Struct, frozen=True):
    id: str
    is_available: bool
    name: str | None = None
    size: Bytes | None = None
    md5: str | None = None


class _Files(Struct, frozen=True):
    files: tuple[_File, ...]


class _Link(Struct, frozen=True):
    url: str


class Keep2Share:
    platform = "keep2share"
    name = "Keep2Share"
    domains: tuple[str, ...] = tuple(_SITE)
    caps = Caps(max_chunks=16, slots=5, batch=100, link_seconds=3600)

    def match(self, url: str) -> HostFile | None:
        identity, parts = file_id(url, self.domains, _FILE), split(url)
        domain = None if parts is None else domain_of(parts, self.domains)
        if identity is None or domain is None:
            return None
        site = _SITE[domain]
        ref = identity if site == _HOME else f"{site}/{identity}"
        return HostFile(ref=LinkClass(platform=self.platform, file_ref=ref), url=f"https://{site}/file/{identity}")

    async def login(self, line: Line) -> Session:
        """Without a user name the secret is a permanent access token of the site."""
        if not line.credentials.username:
            return Session()
        body = {"username": line.credentials.username, "password": line.credentials.secret}
        reply = await _call(line, _HOME, "login", body, at_login=True)
        return Session(token=reply.read(_Token).auth_token)

    async def account(self, line: Line) -> AccountState:
        got = (await _call(line, _HOME, "accountInfo", {})).read(_Account)
        premium = bool(got.account_expires)
        return AccountState(
            usable=premium,
            premium_until=moment(got.account_expires or None),
            traffic_left=got.available_traffic,
            reset_at=None if got.available_traffic else _midnight(datetime.now(UTC)),
            reason="" if premium else NOT_PREMIUM.message,
        )

    async def hosts(self, line: Line) -> tuple[str, ...]:
        return self.domains

    async def check(self, line: Line, files: Sequence[HostFile]) -> list[FileInfo]:
        found: dict[str, _File] = {}
        for site in sorted({_site(one) for one in files}):
            identities = [_identity(one) for one in files if _site(one) == site]
            body = {"ids": identities, "extended_info": True}
            got = (await _call(line, site, "getFilesInfo", body)).read(_Files)
            found |= {f"{site}/{one.id}": one for one in got.files}
        return [_info(found.get(f"{_site(one)}/{_identity(one)}")) for one in files]

    async def resolve(self, line: Line, file: HostFile, password: str | None) -> DirectLink | Pending:
        try:
            reply = await _call(line, _site(file), "getUrl", {"file_id": _identity(file)})
        except HostError as error:
            if error.code == str(_NOT_AVAILABLE):
                raise await self._not_available(line, file, error) from None
            raise
        return DirectLink(url=reply.link(reply.read(_Link).url))

    async def _not_available(self, line: Line, file: HostFile, error: HostError) -> HostError:
        """Code 21 is said of files that are gone and of accounts whose traffic is used up."""
        left = (await self.account(line)).traffic_left
        (info,) = await self.check(line, [file])
        if left == 0 or (info.online == "online" and left is not None and left < (info.size or 0)):
            pause = (_midnight(datetime.now(UTC)) - datetime.now(UTC)).total_seconds()
            return EXHAUSTED.error(error.code, retry_after=pause, detail=error.detail)
        return (LATER if info.online == "online" else OFFLINE).error(error.code, detail=error.detail)

    async def poll(self, line: Line, pending: Pending) -> DirectLink | Pending:
        raise FAILED.error("nothing_pending")


async def _call(line: Line, site: str, path: str, body: dict[str, Any], *, at_login: bool = False) -> Reply:
    if not at_login:
        token = line.session.token
        body = body | ({"auth_token": token} if token else {"access_token": line.credentials.secret})
    url = line.url(f"https://{site}/api/v2", path)
    reply = await ask(line, "POST", url, json=body)
    said = reply.read(_Status)
    if said.status == "success" and reply.status < 400:
        return reply
    raise _refused(reply, said, renewable=bool(line.session.token))


def _refused(reply: Reply, said: _Status, *, renewable: bool) -> HostError:
    reason = next(iter(said.errors or ()), _Reason())
    pause = None if reason.time_remaining is None else min(max(reason.time_remaining, 1.0), 86400.0)
    if said.error_code == _NO_DOWNLOAD:
        verdict = _NO_DOWNLOAD_CODES.get(reason.code or 0, LATER if pause else UNKNOWN)
        return reply.refused(verdict, f"{_NO_DOWNLOAD}/{reason.code}", retry_after=pause)
    if said.error_code == _NOT_AVAILABLE:
        if reason.code in _NO_DOWNLOAD_CODES:
            return reply.refused(_NO_DOWNLOAD_CODES[reason.code], f"{_NOT_AVAILABLE}/{reason.code}", retry_after=pause)
        return reply.refused(OFFLINE, _NOT_AVAILABLE)
    status = reply.status if reply.status >= 400 else said.code
    verdict = by_status(status, _STATUSES) if said.error_code is None else _CODES.get(said.error_code, UNKNOWN)
    if verdict is SESSION_OVER and not renewable:
        verdict = WRONG_LOGIN
    if said.error_code == _CAPTCHA_OF_GUESTS and renewable:
        verdict = SESSION_OVER  # a token that is none any more is answered as nobody is
    return reply.refused(verdict, status if said.error_code is None else said.error_code, retry_after=pause)


def _site(file: HostFile) -> str:
    return file.ref.file_ref.rpartition("/")[0] or _HOME


def _identity(file: HostFile) -> str:
    return file.ref.file_ref.rpartition("/")[2]


def _info(file: _File | None) -> FileInfo:
    if file is None:
        return FileInfo(online="unknown")
    if not file.is_available:
        return FileInfo(online="offline")
    return FileInfo(online="online", name=file.name, size=file.size, digest=("md5", file.md5) if file.md5 else None)


def _midnight(now: datetime) -> datetime:
    """Traffic is given anew at about 00:00 UTC."""
    return (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
