"""RapidGator, interface version 2: a session's token in every form, an envelope of response, status and details."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import TypeVar

from msgspec import Raw, Struct

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
from services.unrestrict_proxy.adapters.links import file_id
from services.unrestrict_proxy.adapters.tokens import lines, one_time_code
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
    SESSION_OVER,
    SLOTS,
    UNSUPPORTED,
    WRONG_LOGIN,
    Verdict,
)

T = TypeVar("T")

API = "https://rapidgator.net/api/v2"
_FILE = re.compile(r"^/file/(?P<id>[0-9a-f]{32}|\d+)(?![0-9a-z])", re.ASCII)
_LOGIN_PAUSE = 600.0

_WORDS: tuple[tuple[str, Verdict], ...] = (
    ("session not exist", SESSION_OVER),
    ("session doesn't exist", SESSION_OVER),
    ("session not found", SESSION_OVER),
    ("session is not for you", SESSION_OVER),
    ("login or password", WRONG_LOGIN),
    ("e-mail or password", WRONG_LOGIN),
    ("password cannot be blank", WRONG_LOGIN),
    ("auth code", CAPTCHA),
    ("captcha", CAPTCHA),
    ("frozen", LOCKED),
    ("account locked", LOCKED),
    ("not premium", NOT_PREMIUM),
    ("by premium only", NOT_PREMIUM),
    ("you can download files up to", NOT_PREMIUM),
    ("exceeded traffic", EXHAUSTED),
    ("simultaneous", SLOTS),
    ("ip address", ADDRESS),
    ("denied by ip", ADDRESS),
    ("please wait", FLOOD),
    ("maintenance", MAINTENANCE),
    ("wrong file link", UNSUPPORTED),
    ("copyright", BANNED),
    ("banned", BANNED),
    ("subscribers only", PRIVATE),
    ("wrong password", PASSWORD),
    ("temporarily unavailable", LATER),
    ("not found", OFFLINE),
)
"""Parts of `details`, in the order in which they are tried. The interface has no codes but HTTP's."""
_STATUSES = {401: SESSION_OVER, 404: OFFLINE, 423: EXHAUSTED, 429: FLOOD}


class _Envelope(Struct, frozen=True):
    """An address that it refuses is told so in `error`, without a status."""

    status: int | None = None
    error: str | None = None
    response: Raw = Raw(b"null")
    details: str | None = None


class _Token(Struct, frozen=True):
    token: str


class _Traffic(Struct, frozen=True):
    total: Bytes | None = None
    left: Bytes | None = None


class _User(Struct, frozen=True):
    is_premium: bool
    premium_end_time: Moment | None = None
    traffic: _Traffic | None = None


class _Info(Struct, frozen=True):
    user: _User


class _Checked(Struct, frozen=True):
    url: str
    status: str
    filename: str | None = None
    size: Bytes | None = None


class _Download(Struct, frozen=True):
    download_url: str


class RapidGator:
    platform = "rapidgator"
    name = "RapidGator"
    domains: tuple[str, ...] = ("rapidgator.net", "rapidgator.asia", "rg.to")
    caps = Caps(max_chunks=16, slots=3, batch=25, link_seconds=4 * 3600)

    def match(self, url: str) -> HostFile | None:
        identity = file_id(url, self.domains, _FILE)
        if identity is None:
            return None
        ref = LinkClass(platform=self.platform, file_ref=identity)
        return HostFile(ref=ref, url=f"https://rapidgator.net/file/{identity}")

    async def login(self, line: Line) -> Session:
        """Wrong passwords are counted: the platform blocks the address of who sends too many. A second line of the
        secret is the seed of the second factor."""
        password, *seed = lines(line.credentials)
        form = [("login", line.credentials.username), ("password", password)]
        if seed:
            form.append(("code", one_time_code(seed[0], time.time())))
        _, got = await self._call(line, "user/login", form, _Token, at_login=True)
        return Session(token=got.token)

    async def account(self, line: Line) -> AccountState:
        _, info = await self._call(line, "user/info", [], _Info)
        user, traffic = info.user, info.user.traffic or _Traffic()
        return AccountState(
            usable=user.is_premium,
            premium_until=moment(user.premium_end_time),
            traffic_left=traffic.left,
            traffic_total=traffic.total,
            reason="" if user.is_premium else NOT_PREMIUM.message,
        )

    async def hosts(self, line: Line) -> tuple[str, ...]:
        return self.domains

    async def check(self, line: Line, files: Sequence[HostFile]) -> list[FileInfo]:
        if not files:
            return []
        form = [("url", ",".join(one.url for one in files))]
        _, rows = await self._call(line, "file/check_link", form, list[_Checked])
        found = {match.ref.file_ref: row for row in rows if (match := self.match(row.url))}
        return [_info(found.get(one.ref.file_ref)) for one in files]

    async def resolve(self, line: Line, file: HostFile, password: str | None) -> DirectLink | Pending:
        form = [("file_id", file.ref.file_ref)]
        reply, got = await self._call(line, "file/download", form, _Download)
        return DirectLink(url=reply.link(got.download_url))

    async def poll(self, line: Line, pending: Pending) -> DirectLink | Pending:
        raise FAILED.error("nothing_pending")

    async def _call(
        self, line: Line, path: str, form: list[tuple[str, str]], kind: type[T], *, at_login: bool = False
    ) -> tuple[Reply, T]:
        if not at_login:
            form = [*form, ("token", line.session.token)]
        url = line.url(API, path)
        reply = await ask(line, "POST", url, form=form)
        envelope = reply.read(_Envelope)
        if envelope.status is None and envelope.error is None:
            raise reply.broken()
        if envelope.status != 200 or reply.status >= 400:
            raise _refused(reply, envelope, at_login=at_login)
        return reply, reply.part(envelope.response, kind)


def _info(row: _Checked | None) -> FileInfo:
    if row is None:
        return FileInfo(online="unknown")
    if row.status != "ACCESS":
        return FileInfo(online="offline" if row.status == "NO ACCESS" else "unknown")
    return FileInfo(online="online", name=row.filename, size=row.size)


def _refused(reply: Reply, envelope: _Envelope, *, at_login: bool) -> HostError:
    status = reply.status if envelope.status in {None, 200} else envelope.status
    said = (envelope.details or envelope.error or "").lower()
    for words, verdict in _WORDS:
        if words in said and not (at_login and verdict is SESSION_OVER):
            return reply.refused(
                verdict, words.replace(" ", "_"), retry_after=_LOGIN_PAUSE if verdict is FLOOD else None
            )
    verdict = by_status(status or 0, _STATUSES)
    return reply.refused(WRONG_LOGIN if at_login and verdict is SESSION_OVER else verdict, status)
