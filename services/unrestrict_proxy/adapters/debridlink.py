"""Debrid-Link, interface version 2: the account's key as a bearer, an envelope of success and value or error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar

import aiohttp
from msgspec import Meta, Raw, Struct, field

from services.unrestrict_proxy.adapters.answers import Bytes, Reply, ask, secrets_of
from services.unrestrict_proxy.adapters.contract import (
    AccountState,
    Caps,
    Credentials,
    DirectLink,
    FileInfo,
    HostError,
    HostFile,
    Pending,
    Session,
)
from services.unrestrict_proxy.adapters.tokens import lines, refreshed
from services.unrestrict_proxy.adapters.verdicts import (
    ACCOUNT_FLOOD,
    ADDRESS,
    BANNED,
    DOWN,
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
    UNKNOWN,
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

    async def login(self, http: aiohttp.ClientSession, credentials: Credentials) -> Session:
        """A secret of two lines is the identity of an application and its refresh token."""
        identity, *refresh = lines(credentials)
        if not refresh:
            return Session()  # the key goes with every call
        form = [("client_id", identity), ("refresh_token", refresh[0]), ("grant_type", "refresh_token")]
        return await refreshed(http, credentials, f"{(credentials.base_url or TOKENS).rstrip('/')}/token", form)

    async def account(self, http: aiohttp.ClientSession, credentials: Credentials, session: Session) -> AccountState:
        _, got = await _call(http, credentials, session, "account/infos", None, _Account)
        _, limits = await _call(http, credentials, session, "downloader/limits/all", None, _Limits)
        now = datetime.now(UTC)
        left = {
            one.name: max(0, one.day.value - one.day.current) for one in limits.hosters if one.day and one.day.value
        }
        hosts = await _hosts(http, credentials, session) if left else ()
        resets = None if limits.reset is None or limits.reset.value is None else timedelta(seconds=limits.reset.value)
        return AccountState(
            usable=got.left > 0,
            premium_until=now + timedelta(seconds=got.left) if got.left else None,
            traffic_left=0 if limits.used.current >= 100 else None,
            reset_at=None if resets is None else now + resets,
            per_host={domain: left[one.name] for one in hosts if one.name in left for domain in one.domains},
            reason="" if got.left else NOT_PREMIUM.message,
        )

    async def hosts(self, http: aiohttp.ClientSession, credentials: Credentials, session: Session) -> tuple[str, ...]:
        return tuple(
            domain for one in await _hosts(http, credentials, session) if one.status >= 1 for domain in one.domains
        )

    async def check(
        self, http: aiohttp.ClientSession, credentials: Credentials, session: Session, files: Sequence[HostFile]
    ) -> list[FileInfo]:
        """It has no call for it: a link is only known by being made."""
        return [FileInfo(online="unknown") for _ in files]

    async def resolve(
        self,
        http: aiohttp.ClientSession,
        credentials: Credentials,
        session: Session,
        file: HostFile,
        password: str | None,
    ) -> DirectLink | Pending:
        form = {"url": file.url} | ({"password": password} if password else {})
        reply, raw = await _call(http, credentials, session, "downloader/add", form, Raw)
        made = reply.part(raw, tuple[_Link, ...]) if bytes(raw).startswith(b"[") else (reply.part(raw, _Link),)
        if not made:
            raise reply.broken()
        got = made[0]
        return DirectLink(
            url=reply.link(got.url),
            name=got.name,
            size=got.size or None,
            max_chunks=min(got.chunk, 16) if got.chunk and got.chunk > 0 else None,
            resumable=got.resume,
        )

    async def poll(
        self, http: aiohttp.ClientSession, credentials: Credentials, session: Session, pending: Pending
    ) -> DirectLink | Pending:
        raise FAILED.error("nothing_pending")


async def _hosts(http: aiohttp.ClientSession, credentials: Credentials, session: Session) -> tuple[_Host, ...]:
    _, hosts = await _call(
        http, credentials, session, "downloader/hosts?keys=name,domains,status", None, tuple[_Host, ...]
    )
    return hosts


async def _call(
    http: aiohttp.ClientSession,
    credentials: Credentials,
    session: Session,
    path: str,
    form: Mapping[str, str] | None,
    kind: type[T],
) -> tuple[Reply, T]:
    reply = await ask(
        http,
        "POST" if form else "GET",
        f"{(credentials.base_url or API).rstrip('/')}/{path}",
        secrets=secrets_of(credentials, session),
        form=None if form is None else list(form.items()),
        headers={"Authorization": f"Bearer {session.token or credentials.secret}"},
    )
    envelope = reply.read(_Envelope)
    if envelope.success and reply.status < 400:
        return reply, reply.part(envelope.value, kind)
    raise _refused(reply, session, envelope.error)


def _refused(reply: Reply, session: Session, error: str | None) -> HostError:
    verdict = _CODES.get(error or "")
    if session.token and verdict is WRONG_LOGIN:
        verdict = SESSION_OVER
    if verdict is not None:
        return reply.refused(verdict, error or "", retry_after=_FLOOD_PAUSE if verdict is ACCOUNT_FLOOD else None)
    unknown = DOWN if reply.status >= 500 else ACCOUNT_FLOOD if reply.status == 429 else UNKNOWN
    return reply.refused(unknown, error or reply.status)
