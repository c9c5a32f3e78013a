"""Real-Debrid, interface 1.0: a bearer token, the account's private one or one that a refresh token is changed into,
refusals as HTTP errors with a number."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

from msgspec import Meta, Struct

from services.unrestrict_proxy.adapters.answers import Bytes, Reply, ask, chunks
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
    CAPTCHA,
    EXHAUSTED,
    FAILED,
    HOST_DOWN,
    HOST_LIMIT,
    LOCKED,
    MAINTENANCE,
    NOT_PREMIUM,
    OFFLINE,
    PASSWORD,
    SESSION_OVER,
    SLOTS,
    UNKNOWN,
    UNSUPPORTED,
    WRONG_LOGIN,
    Verdict,
)

API = "https://api.real-debrid.com/rest/1.0"
TOKENS = "https://api.real-debrid.com/oauth/v2"
_DEVICE = "http://oauth.net/grant_type/device/1.0"
_PERMISSION_DENIED = 9

_CODES: dict[int, Verdict] = {
    -1: FAILED,
    1: FAILED,
    2: FAILED,
    3: FAILED,
    4: FAILED,
    5: ACCOUNT_FLOOD,
    6: HOST_DOWN,
    7: OFFLINE,
    8: WRONG_LOGIN,
    _PERMISSION_DENIED: LOCKED,
    10: CAPTCHA,
    11: CAPTCHA,
    12: WRONG_LOGIN,
    13: WRONG_LOGIN,
    14: LOCKED,
    15: LOCKED,
    16: UNSUPPORTED,
    17: HOST_DOWN,
    18: HOST_LIMIT,
    19: HOST_DOWN,
    20: NOT_PREMIUM,
    21: SLOTS,
    22: ADDRESS,
    23: EXHAUSTED,
    24: OFFLINE,
    25: MAINTENANCE,
    34: ACCOUNT_FLOOD,
    35: BANNED,
    36: HOST_LIMIT,
}
_STATUSES = {401: WRONG_LOGIN, 429: ACCOUNT_FLOOD, 503: MAINTENANCE}
"""For refusals without a number."""


class _Error(Struct, frozen=True):
    error: str
    error_code: int | None = None


class _User(Struct, frozen=True):
    type: str
    premium: Annotated[int, Meta(ge=0, le=10_000_000_000)]
    """Seconds left."""


class _Limit(Struct, frozen=True):
    """`left` counts bytes, or links when `type` says so."""

    left: Annotated[int, Meta(le=(1 << 63) - 1)] | None = None
    type: str = ""


class _Checked(Struct, frozen=True):
    filename: str | None
    filesize: Bytes | None = None


class _Link(Struct, frozen=True):
    download: str
    filename: str | None = None
    filesize: Bytes | None = None
    chunks: int | None = None


class RealDebrid:
    platform = "realdebrid"
    name = "Real-Debrid"
    domains: tuple[str, ...] = ()
    caps = Caps(max_chunks=8, slots=6, link_seconds=6 * 3600, multihost=True)

    def match(self, url: str) -> HostFile | None:
        return None  # it has no files of its own

    async def login(self, line: Line) -> Session:
        """A secret of three lines is the identity and the secret of a device and its refresh token."""
        device = lines(line.credentials)
        if len(device) != 3:
            return Session()  # the private token goes with every call
        identity, secret, refresh = device
        form = [("client_id", identity), ("client_secret", secret), ("code", refresh), ("grant_type", _DEVICE)]
        return await refreshed(line, line.url(TOKENS, "token"), form)

    async def account(self, line: Line) -> AccountState:
        user = (await _call(line, "GET", "user")).read(_User)
        reply = await _call(line, "GET", "traffic")
        # Where no host is limited it is an empty list.
        limits: dict[str, _Limit] = {} if reply.body.strip() == b"[]" else reply.read(dict[str, _Limit])
        premium = user.type == "premium" and user.premium > 0
        return AccountState(
            usable=premium,
            premium_until=datetime.now(UTC) + timedelta(seconds=user.premium) if premium else None,
            per_host={
                host: max(0, one.left)
                for host, one in limits.items()
                if one.left is not None and one.type in {"gigabytes", "bytes"}
            },
            reason="" if premium else NOT_PREMIUM.message,
        )

    async def hosts(self, line: Line) -> tuple[str, ...]:
        return tuple((await _call(line, "GET", "hosts/domains")).read(list[str]))

    async def check(self, line: Line, files: Sequence[HostFile]) -> list[FileInfo]:
        return [await self._checked(line, file) for file in files]

    async def _checked(self, line: Line, file: HostFile) -> FileInfo:
        try:
            got = (await _call(line, "POST", "unrestrict/check", {"link": file.url})).read(_Checked)
        except HostError as error:
            if error.status in {102, 104}:
                return FileInfo(online="offline")
            if error.scope == "file" or error.narrow:
                return FileInfo(online="unknown")
            raise
        return FileInfo(online="online", name=got.filename or None, size=got.filesize or None)

    async def resolve(self, line: Line, file: HostFile, password: str | None) -> DirectLink | Pending:
        form = {"link": file.url} | ({"password": password} if password else {})
        try:
            reply = await _call(line, "POST", "unrestrict/link", form)
        except HostError as error:
            if error.code != str(_PERMISSION_DENIED) or not (await self.account(line)).usable:
                raise
            raise PASSWORD.error(error.code, detail=error.detail) from None
        got = reply.read(_Link)
        return DirectLink(
            url=reply.link(got.download),
            name=got.filename or None,
            size=got.filesize or None,
            max_chunks=chunks(got.chunks),
        )

    async def poll(self, line: Line, pending: Pending) -> DirectLink | Pending:
        raise FAILED.error("nothing_pending")


async def _call(line: Line, method: str, path: str, form: dict[str, str] | None = None) -> Reply:
    reply = await ask(
        line,
        method,
        line.url(API, path),
        form=None if form is None else list(form.items()),
        headers={"Authorization": f"Bearer {line.session.token or line.credentials.secret}"},
    )
    if reply.status < 400:
        return reply
    error = reply.read(_Error)
    known = _STATUSES.get(reply.status, UNKNOWN) if error.error_code is None else _CODES.get(error.error_code, UNKNOWN)
    over = bool(line.session.token) and known is WRONG_LOGIN
    raise reply.refused(SESSION_OVER if over else known, error.error_code or error.error)
