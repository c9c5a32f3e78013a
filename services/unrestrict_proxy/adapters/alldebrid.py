"""AllDebrid, interface version 4: the account's key as a bearer, an envelope of status and data or error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar

from msgspec import Meta, Raw, Struct, field

from services.unrestrict_proxy.adapters.answers import Bytes, Moment, Reply, ask, by_status, chunks, moment
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
    FAILED,
    HOST_DOWN,
    HOST_LIMIT,
    HOST_SLOTS,
    LATER,
    LOCKED,
    MAINTENANCE,
    NOT_PREMIUM,
    OFFLINE,
    PASSWORD,
    UNSUPPORTED,
    WRONG_LOGIN,
    Verdict,
)

T = TypeVar("T")

API = "https://api.alldebrid.com"
_HOSTS = "v4.1/user/hosts"
_MEGABYTE = 1_000_000

_CODES: dict[str, Verdict] = {
    "AUTH_MISSING_APIKEY": WRONG_LOGIN,
    "AUTH_BAD_APIKEY": WRONG_LOGIN,
    "AUTH_BLOCKED": ADDRESS,
    "AUTH_USER_BANNED": LOCKED,
    "ACCOUNT_INVALID": LOCKED,
    "NO_SERVER": ADDRESS,
    "MUST_BE_PREMIUM": NOT_PREMIUM,
    "FREE_TRIAL_LIMIT_REACHED": NOT_PREMIUM,
    "LINK_HOST_NOT_SUPPORTED": UNSUPPORTED,
    "LINK_NOT_SUPPORTED": UNSUPPORTED,
    "BAD_LINK": UNSUPPORTED,
    "LINK_DOWN": OFFLINE,
    "LINK_PASS_PROTECTED": PASSWORD,
    "LINK_TEMPORARY_UNAVAILABLE": LATER,
    "LINK_HOST_UNAVAILABLE": HOST_DOWN,
    "LINK_HOST_FULL": HOST_DOWN,
    "LINK_HOST_LIMIT_REACHED": HOST_LIMIT,
    "LINK_TOO_MANY_DOWNLOADS": HOST_SLOTS,
    "LINK_ERROR": FAILED,
    "LINK_IS_MISSING": FAILED,
    "DELAYED_INVALID_ID": FAILED,
    "MAINTENANCE": MAINTENANCE,
    "GENERIC": FAILED,
}

_STATUSES = {429: ACCOUNT_FLOOD}


class _Fault(Struct, frozen=True):
    code: str
    message: str = ""


class _Envelope(Struct, frozen=True):
    status: str
    data: Raw = Raw(b"null")
    error: _Fault | None = None


class _User(Struct, frozen=True):
    premium: bool = field(name="isPremium")
    until: Moment | None = field(default=None, name="premiumUntil")


class _Owner(Struct, frozen=True):
    user: _User


class _Host(Struct, frozen=True):
    """`quota` is what is left, in megabytes or in links as `kind` says; most hosts have none."""

    domains: tuple[str, ...]
    status: bool | None = None
    """False for one that is out of order; not of all it is said."""
    quota: Annotated[float, Meta(ge=0, le=1e12)] | None = None
    kind: str | None = field(default=None, name="quotaType")


class _Hosts(Struct, frozen=True):
    hosts: dict[str, _Host]


class _Info(Struct, frozen=True):
    link: str
    filename: str | None = None
    size: Bytes | None = None
    error: _Fault | None = None


class _Infos(Struct, frozen=True):
    infos: tuple[_Info, ...]


class _Unlocked(Struct, frozen=True):
    """`link` is empty as long as `delayed` names what to ask for."""

    link: str | None = None
    filename: str | None = None
    filesize: Bytes | None = None
    max_chunks: int | None = None
    delayed: int | None = None


class _Delayed(Struct, frozen=True):
    """`status`: 1 is on its way, 2 is ready, 3 has failed. `time_left` in seconds."""

    status: int
    time_left: float | None = None
    link: str | None = None


class AllDebrid:
    platform = "alldebrid"
    name = "AllDebrid"
    domains: tuple[str, ...] = ()
    caps = Caps(max_chunks=8, slots=6, batch=50, link_seconds=24 * 3600, multihost=True)

    def match(self, url: str) -> HostFile | None:
        return None  # it has no files of its own

    async def login(self, line: Line) -> Session:
        return Session()  # the key goes with every call

    async def account(self, line: Line) -> AccountState:
        user = (await _call(line, "v4/user", [], _Owner))[1].user
        _, got = await _call(line, _HOSTS, [], _Hosts)
        limited = [one for one in got.hosts.values() if one.quota is not None and one.kind == "traffic"]
        return AccountState(
            usable=user.premium,
            premium_until=moment(user.until),
            per_host={domain: int((one.quota or 0) * _MEGABYTE) for one in limited for domain in one.domains},
            reason="" if user.premium else NOT_PREMIUM.message,
        )

    async def hosts(self, line: Line) -> tuple[str, ...]:
        _, got = await _call(line, _HOSTS, [], _Hosts)
        return tuple(domain for host in got.hosts.values() if host.status is not False for domain in host.domains)

    async def check(self, line: Line, files: Sequence[HostFile]) -> list[FileInfo]:
        if not files:
            return []
        form = [("link[]", one.url) for one in files]
        _, got = await _call(line, "v4/link/infos", form, _Infos)
        found = {one.link: one for one in got.infos}
        return [_info(found.get(one.url)) for one in files]

    async def resolve(self, line: Line, file: HostFile, password: str | None) -> DirectLink | Pending:
        form = [("link", file.url), *([("password", password)] if password else [])]
        reply, got = await _call(line, "v4/link/unlock", form, _Unlocked)
        if got.delayed:
            return Pending(ticket=str(got.delayed), name=got.filename, size=got.filesize or None)
        return DirectLink(
            url=reply.link(got.link or ""),
            name=got.filename,
            size=got.filesize or None,
            max_chunks=chunks(got.max_chunks),
        )

    async def poll(self, line: Line, pending: Pending) -> DirectLink | Pending:
        reply, got = await _call(line, "v4/link/delayed", [("id", pending.ticket)], _Delayed)
        if got.status == 1:
            after = min(max(got.time_left or 0.0, 5.0), 60.0)
            return Pending(ticket=pending.ticket, after=after, name=pending.name, size=pending.size)
        if got.status != 2:
            raise reply.refused(LATER, f"delayed_{got.status}")
        return DirectLink(url=reply.link(got.link or ""), name=pending.name, size=pending.size)


async def _call(line: Line, path: str, form: Sequence[tuple[str, str]], kind: type[T]) -> tuple[Reply, T]:
    reply = await ask(
        line,
        "POST" if form else "GET",
        line.url(API, path),
        form=form or None,
        headers={"Authorization": f"Bearer {line.credentials.secret}"},
    )
    envelope = reply.read(_Envelope)
    if envelope.status == "success" and reply.status < 400:
        return reply, reply.part(envelope.data, kind)
    raise _refused(reply, envelope.error)


def _refused(reply: Reply, error: _Fault | None) -> HostError:
    if error is not None and error.code in _CODES:
        return reply.refused(_CODES[error.code], error.code)
    verdict = by_status(reply.status, _STATUSES)
    return reply.refused(verdict, reply.status if error is None else error.code)


def _info(info: _Info | None) -> FileInfo:
    if info is None:
        return FileInfo(online="unknown")
    if info.error is not None:
        locked = info.error.code == "LINK_PASS_PROTECTED"
        return FileInfo(online="offline" if info.error.code == "LINK_DOWN" else "unknown", password_needed=locked)
    return FileInfo(online="online", name=info.filename, size=info.size or None)
