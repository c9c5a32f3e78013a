"""Debrid-Link, interface version 2: the account's key as a bearer, an envelope of success and value or error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar

from msgspec import Meta, Raw, Struct, field

from services.unrestrict_proxy.adapters.answers import Bytes, Reply, ask, by_status, chunks
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
from services.unrestrict_proxy.adapters.tokens import lines, refreshed
from services.unrestrict_proxy.adapters.verdicts import (
    ACCOUNT_FLOOD,
    ADDRESS,
    BANNED,
    EXHAUSTED,
    FAILED,
    HOST_DOWN,
    HOST_LIMIT,
    HOST_SLOTS,
    LOCKED,
    NOT_PREMIUM,
    OFFLINE,
    PASSWORD,
    SESSION_OVER,
    UNSUPPORTED,
    WRONG_LOGIN,
    Verdict,
)

T = TypeVar("T")

API = "https://debrid-link.com/api/v2"
TOKENS = "https://debrid-link.com/api/oauth"
_FLOOD_PAUSE = 3600.0

_CODES: dict[str, Verdict] = {
    "badToken": WRONG_LOGIN,
    "hidedToken": WRONG_LOGIN,
    "expired_token": WRONG_LOGIN,
    "accountLocked": LOCKED,
    "notFreeHost": NOT_PREMIUM,
    "unverifiedEmail": LOCKED,
    "serverNotAllowed": ADDRESS,
    "disabledServerHost": ADDRESS,
    "maxLink": EXHAUSTED,
    "maxData": EXHAUSTED,
    "maxLinkHost": HOST_LIMIT,
    "maxDataHost": HOST_LIMIT,
    "maxSimultaneousFilesHost": HOST_SLOTS,
    "maintenanceHost": HOST_DOWN,
    "disabledHost": HOST_DOWN,
    "noServerHost": HOST_DOWN,
    "freeServerOverload": HOST_DOWN,
    "floodDetected": ACCOUNT_FLOOD,
    "notDebrid": UNSUPPORTED,
    "hostNotValid": UNSUPPORTED,
    "badFileUrl": UNSUPPORTED,
    "infringingFile": BANNED,
    "badFilePassword": PASSWORD,
    "fileNotFound": OFFLINE,
    "fileNotAvailable": OFFLINE,
    "internalError": FAILED,
    "badArguments": FAILED,
    "server_error": FAILED,
    "unknowR": FAILED,
}

_STATUSES = {429: ACCOUNT_FLOOD}


class _Envelope(Struct, frozen=True):
    success: bool
    value: Raw = Raw(b"null")
    error: str | None = None


class _Account(Struct, frozen=True):
    """Seconds."""

    left: Annotated[int, Meta(ge=0, le=10_000_000_000)] = field(name="premiumLeft")


class _Use(Struct, frozen=True):
    current: Bytes = 0
    value: Bytes | None = None


class _Reset(Struct, frozen=True):
    """Seconds."""

    value: Annotated[int, Meta(ge=0, le=10_000_000)] | None = None


class _Part(Struct, frozen=True):
    """What is used of the whole, in percent."""

    current: Annotated[float, Meta(ge=0, le=1000)] = 0.0


class _Limited(Struct, frozen=True):
    name: str
    day: _Use | None = field(default=None, name="daySize")


class _Limits(Struct, frozen=True):
    used: _Part = field(default=_Part(), name="usagePercent")
    reset: _Reset | None = field(default=None, name="nextResetSeconds")
    hosters: tuple[_Limited, ...] = ()


class _Host(Struct, frozen=True):
    """`status` is 1 and more for what works."""

    name: str
    domains: tuple[str, ...]
    status: int = 0


class _Link(Struct, frozen=True):
    url: str = field(name="downloadUrl")
    name: str | None = None
    size: Bytes | None = None
    chunk: int | None = None
    resume: bool = True


class DebridLink:
    platform = "debridlink"
    name = "Debrid-Link"
    domains: tuple[str, ...] = ()
    caps = Caps(max_chunks=8, slots=6, link_seconds=6 * 3600, multihost=True)

    def match(self, url: str) -> HostFile | None:
        return None  # it has no files of its own

    async def login(self, line: Line) -> Session:
        """A secret of two lines is the identity of an application and its refresh token."""
        identity, *refresh = lines(line.credentials)
        if not refresh:
            return Session()  # the key goes with every call
        form = [("client_id", identity), ("refresh_token", refresh[0]), ("grant_type", "refresh_token")]
        return await refreshed(line, line.url(TOKENS, "token"), form)

    async def account(self, line: Line) -> AccountState:
        _, got = await _call(line, "account/infos", None, _Account)
        _, limits = await _call(line, "downloader/limits/all", None, _Limits)
        now = datetime.now(UTC)
        left = {
            one.name: max(0, one.day.value - one.day.current) for one in limits.hosters if one.day and one.day.value
        }
        hosts = await _hosts(line) if left else ()
        resets = None if limits.reset is None or limits.reset.value is None else timedelta(seconds=limits.reset.value)
        return AccountState(
            usable=got.left > 0,
            premium_until=now + timedelta(seconds=got.left) if got.left else None,
            traffic_left=0 if limits.used.current >= 100 else None,
            reset_at=None if resets is None else now + resets,
            per_host={domain: left[one.name] for one in hosts if one.name in left for domain in one.domains},
            reason="" if got.left else NOT_PREMIUM.message,
        )

    async def hosts(self, line: Line) -> tuple[str, ...]:
        return tuple(domain for one in await _hosts(line) if one.status >= 1 for domain in one.domains)

    async def check(self, line: Line, files: Sequence[HostFile]) -> list[FileInfo]:
        """It has no call for it: a link is only known by being made."""
        return [FileInfo(online="unknown") for _ in files]

    async def resolve(self, line: Line, file: HostFile, password: str | None) -> DirectLink | Pending:
        form = {"url": file.url} | ({"password": password} if password else {})
        reply, raw = await _call(line, "downloader/add", form, Raw)
        made = reply.part(raw, tuple[_Link, ...]) if bytes(raw).startswith(b"[") else (reply.part(raw, _Link),)
        if not made:
            raise reply.broken()
        got = made[0]
        return DirectLink(
            url=reply.link(got.url),
            name=got.name,
            size=got.size or None,
            max_chunks=chunks(got.chunk),
            resumable=got.resume,
        )

    async def poll(self, line: Line, pending: Pending) -> DirectLink | Pending:
        raise FAILED.error("nothing_pending")


async def _hosts(line: Line) -> tuple[_Host, ...]:
    _, hosts = await _call(line, "downloader/hosts?keys=name,domains,status", None, tuple[_Host, ...])
    return hosts


async def _call(line: Line, path: str, form: Mapping[str, str] | None, kind: type[T]) -> tuple[Reply, T]:
    reply = await ask(
        line,
        "POST" if form else "GET",
        line.url(API, path),
        form=None if form is None else list(form.items()),
        headers={"Authorization": f"Bearer {line.session.token or line.credentials.secret}"},
    )
    envelope = reply.read(_Envelope)
    if envelope.success and reply.status < 400:
        return reply, reply.part(envelope.value, kind)
    raise _refused(reply, envelope.error, renewable=bool(line.session.token))


def _refused(reply: Reply, error: str | None, *, renewable: bool) -> HostError:
    verdict = _CODES.get(error or "")
    if renewable and verdict is WRONG_LOGIN:
        verdict = SESSION_OVER
    if verdict is not None:
        return reply.refused(verdict, error or "", retry_after=_FLOOD_PAUSE if verdict is ACCOUNT_FLOOD else None)
    return reply.refused(by_status(reply.status, _STATUSES), error or reply.status)
