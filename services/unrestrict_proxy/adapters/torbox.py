"""TorBox, interface version 1: it fetches a link to its own servers first, and gives a link of its own then."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

from msgspec import Raw, Struct

from services.unrestrict_proxy.adapters.answers import Bytes, Reply, ask, by_status, instant
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
    BAD_ANSWER,
    BANNED,
    EXHAUSTED,
    FAILED,
    HOST_DOWN,
    LATER,
    LOCKED,
    MAINTENANCE,
    NOT_PREMIUM,
    OFFLINE,
    PASSWORD,
    SLOTS,
    UNKNOWN,
    UNSUPPORTED,
    WRONG_LOGIN,
    Verdict,
)

T = TypeVar("T")

API = "https://api.torbox.app/v1/api"
_DONE = {"completed", "cached"}
_FAILED = re.compile(r"(?i)fail|error|stalled|expired|missing")
_POLL_SECONDS = 5.0

_SERVER_ERROR = "DOWNLOAD_SERVER_ERROR"
TOO_LARGE = Verdict(
    scope="account", status=107, message="The file is larger than the account's plan allows.", retry_after=3600,
    narrow=True,
)  # fmt: skip

_CODES: dict[str, Verdict] = {
    "NO_AUTH": WRONG_LOGIN,
    "BAD_TOKEN": WRONG_LOGIN,
    "AUTH_ERROR": WRONG_LOGIN,
    "ACCOUNT_BANNED": LOCKED,
    "PLAN_RESTRICTED_FEATURE": NOT_PREMIUM,
    "MONTHLY_LIMIT": EXHAUSTED,
    "COOLDOWN_LIMIT": EXHAUSTED,
    "DOWNLOAD_LIMIT_REACHED": EXHAUSTED,
    "ACTIVE_LIMIT": SLOTS,
    "TOO_MANY_REQUESTS": ACCOUNT_FLOOD,
    _SERVER_ERROR: LATER,
    "SERVER_ERROR": LATER,
    "DATABASE_ERROR": LATER,
    "NO_SERVERS_AVAILABLE_ERROR": LATER,
    "DOWNLOAD_TOO_LARGE": TOO_LARGE,
    "TOO_MUCH_DATA": EXHAUSTED,
    "VENDOR_DISABLED": HOST_DOWN,
    "MAINTENANCE": MAINTENANCE,
    "UNSUPPORTED_SITE": UNSUPPORTED,
    "INVALID_LINK": UNSUPPORTED,
    "BOZO_LINK": UNSUPPORTED,
    "DMCA": BANNED,
    "LINK_OFFLINE": OFFLINE,
    "ITEM_NOT_FOUND": OFFLINE,
    "WRONG_PASSWORD": PASSWORD,
    "MISSING_REQUIRED_OPTION": FAILED,
    "UNKNOWN_ERROR": UNKNOWN,
}
_WORDS: tuple[tuple[str, Verdict], ...] = (
    ("dmca", BANNED),
    ("offline", OFFLINE),
    ("unsupported", UNSUPPORTED),
    ("password", PASSWORD),
)
"""Parts of `detail` where the code is none of those."""

_STATUSES = {429: ACCOUNT_FLOOD}


class _Envelope(Struct, frozen=True):
    success: bool
    error: str | bool | None = None
    detail: str | None = None
    data: Raw = Raw(b"null")


class _User(Struct, frozen=True):
    plan: int
    premium_expires_at: str | None = None
    cooldown_until: str | None = None


class _Host(Struct, frozen=True):
    domains: tuple[str, ...] | None
    status: bool


class _Created(Struct, frozen=True):
    webdownload_id: int


class _Part(Struct, frozen=True):
    id: int
    size: Bytes | None = None
    name: str | None = None
    short_name: str | None = None


class _Download(Struct, frozen=True):
    """`progress` from 0 to 1; which words `download_state` may be is not written down."""

    download_state: str
    name: str | None = None
    size: Bytes | None = None
    progress: float | None = None
    download_finished: bool | None = None
    files: tuple[_Part, ...] | None = None


class _Cached(Struct, frozen=True):
    name: str | None = None
    size: Bytes | None = None


class TorBox:
    platform = "torbox"
    name = "TorBox"
    domains: tuple[str, ...] = ()
    caps = Caps(max_chunks=8, slots=3, batch=50, link_seconds=3600, multihost=True)

    def match(self, url: str) -> HostFile | None:
        return None  # it has no files of its own

    async def login(self, line: Line) -> Session:
        return Session()  # the key goes with every call

    async def account(self, line: Line) -> AccountState:
        _, user = await _call(line, "GET", "user/me", [], _User)
        until, cooling = instant(user.premium_expires_at), instant(user.cooldown_until)
        now = datetime.now(UTC)
        premium = user.plan > 0 and (until is None or until > now)
        return AccountState(
            usable=premium,
            premium_until=until,
            traffic_left=0 if cooling is not None and cooling > now else None,
            reset_at=cooling if cooling is not None and cooling > now else None,
            reason="" if premium else NOT_PREMIUM.message,
        )

    async def hosts(self, line: Line) -> tuple[str, ...]:
        _, got = await _call(line, "GET", "webdl/hosters", [], tuple[_Host, ...])
        return tuple(domain for host in got if host.status for domain in host.domains or ())

    async def check(self, line: Line, files: Sequence[HostFile]) -> list[FileInfo]:
        """It tells what it has already; of the others nothing is known."""
        if not files:
            return []
        hashes = [hashlib.md5(one.url.encode(), usedforsecurity=False).hexdigest() for one in files]
        params = [("hash", one) for one in hashes] + [("format", "object")]
        reply, raw = await _call(line, "GET", "webdl/checkcached", params, Raw)
        nothing = bytes(raw) in {b"null", b"[]"}
        found: dict[str, _Cached] = {} if nothing else reply.part(raw, dict[str, _Cached])
        return [_info(found.get(one)) for one in hashes]

    async def resolve(self, line: Line, file: HostFile, password: str | None) -> DirectLink | Pending:
        form = [("link", file.url), *([("password", password)] if password else [])]
        try:
            _, got = await _call(line, "POST", "webdl/createwebdownload", form, _Created)
        except HostError as error:
            raise await self._cooling(line, error) from None
        return Pending(ticket=str(got.webdownload_id), after=1.0)

    async def _cooling(self, line: Line, error: HostError) -> HostError:
        """An account that must cool down is answered as if a server had failed."""
        if error.code != _SERVER_ERROR:
            return error
        until = (await self.account(line)).reset_at
        if until is None:
            return error
        seconds = (until - datetime.now(UTC)).total_seconds()
        return EXHAUSTED.error(error.code, retry_after=max(seconds, 1.0), detail=error.detail)

    async def poll(self, line: Line, pending: Pending) -> DirectLink | Pending:
        params = [("id", pending.ticket), ("bypass_cache", "true")]
        reply, got = await _call(line, "GET", "webdl/mylist", params, _Download)
        if not got.download_finished and got.download_state not in _DONE:
            if _FAILED.search(got.download_state):
                raise reply.refused(LATER, got.download_state)
            fraction = None if got.progress is None else min(max(got.progress, 0.0), 1.0)
            return Pending(ticket=pending.ticket, after=_POLL_SECONDS, fraction=fraction, name=got.name, size=got.size)
        if not got.files:
            raise reply.broken()
        best = max(got.files, key=lambda one: one.size or 0)
        params = [("token", line.credentials.secret), ("web_id", pending.ticket), ("file_id", str(best.id))]
        reply, link = await _call(line, "GET", "webdl/requestdl", params, str)
        if line.credentials.secret in link:
            raise reply.refused(BAD_ANSWER, "key_in_link")
        return DirectLink(url=reply.link(link), name=best.short_name or best.name or got.name, size=best.size or None)


async def _call(
    line: Line, method: str, path: str, fields: Sequence[tuple[str, str]], kind: type[T]
) -> tuple[Reply, T]:
    reply = await ask(
        line,
        method,
        line.url(API, path),
        params=fields if method == "GET" else (),
        form=fields if method == "POST" else None,
        headers={"Authorization": f"Bearer {line.credentials.secret}"},
    )
    envelope = reply.read(_Envelope)
    if envelope.success and reply.status < 400:
        return reply, reply.part(envelope.data, kind)
    raise _refused(reply, envelope)


def _refused(reply: Reply, said: _Envelope) -> HostError:
    """Refusals may come with HTTP's 200."""
    code = said.error if isinstance(said.error, str) else ""
    detail = (said.detail or "").lower()
    verdict = _CODES.get(code) or next((one for words, one in _WORDS if words in detail), None)
    if verdict is None:
        verdict = by_status(reply.status, _STATUSES)
    return reply.refused(verdict, code or reply.status)


def _info(cached: _Cached | None) -> FileInfo:
    return (
        FileInfo(online="unknown") if cached is None else FileInfo(online="online", name=cached.name, size=cached.size)
    )
