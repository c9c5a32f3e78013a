"""1fichier, interface version 1: JSON in and out, the account's key as a bearer, refusals in words with a number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeVar

from msgspec import Struct

from proto.unrestrict_proxy import LinkClass
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
from services.unrestrict_proxy.adapters.links import domain_of, file_id, split
from services.unrestrict_proxy.adapters.verdicts import (
    ACCOUNT_FLOOD,
    ADDRESS,
    BANNED,
    FAILED,
    FLOOD,
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

API = "https://api.1fichier.com/v1"
_FILE = re.compile(r"^/?\?(?P<id>[0-9a-z]{5,20})(?![0-9a-z])", re.ASCII)
_OLD = re.compile(r"(?P<id>[0-9a-z]{5,20})\.", re.ASCII)
_NUMBER = re.compile(r"#(?P<number>\d{1,6})", re.ASCII)
_OWNER_LOCKED = "owner_locked"
_FLOOD_PAUSE = 300.0

_WORDS: tuple[tuple[str, Verdict, float | None], ...] = (
    ("#469", OFFLINE, None),
    ("#200", NOT_PREMIUM, None),
    ("#236", NOT_PREMIUM, None),
    ("must be a customer", NOT_PREMIUM, None),
    ("resource not found", OFFLINE, None),
    ("no such user", WRONG_LOGIN, None),
    ("not authenticated", WRONG_LOGIN, None),
    ("owner locked", BANNED, None),
    ("flood detected: user", ACCOUNT_FLOOD, _FLOOD_PAUSE),
    ("flood", FLOOD, _FLOOD_PAUSE),
    ("user locked", ACCOUNT_FLOOD, _FLOOD_PAUSE),
    ("ip locked", ADDRESS, 3600.0),
    ("locations allowed", SLOTS, _FLOOD_PAUSE),
    ("location allowed", SLOTS, _FLOOD_PAUSE),
    ("must have cdn", ADDRESS, None),
    ("simultaneous", SLOTS, None),
    ("maintenance", MAINTENANCE, None),
    ("invalid link", UNSUPPORTED, None),
    ("password", PASSWORD, None),
    ("access control", PRIVATE, None),
    ("not allowed", PRIVATE, None),
    ("locked", BANNED, None),
    ("banned", BANNED, None),
)
"""Parts of `message`, in the order in which they are tried, with seconds to wait."""
_STATUSES = {401: WRONG_LOGIN, 404: OFFLINE, 429: FLOOD, 503: MAINTENANCE}


class _Status(Struct, frozen=True):
    status: str | None = None
    message: str | None = None


class _User(Struct, frozen=True):
    """`offer`: 0 is free, 1 is premium, 2 is access; `subscription_end` is in words."""

    offer: int
    subscription_end: str | None = None


class _Info(Struct, frozen=True):
    filename: str
    size: Bytes | None = None
    checksum: str | None = None


class _Link(Struct, frozen=True):
    url: str


class OneFichier:
    platform = "1fichier"
    name = "1fichier"
    domains: tuple[str, ...] = (
        "1fichier.com",
        "alterupload.com",
        "cjoint.net",
        "desfichiers.com",
        "dfichiers.com",
        "megadl.fr",
        "mesfichiers.org",
        "piecejointe.net",
        "pjointe.com",
        "tenvoi.com",
        "dl4free.com",
    )
    caps = Caps(max_chunks=3, slots=5, link_seconds=300, state_seconds=3600)

    def match(self, url: str) -> HostFile | None:
        identity = file_id(url, self.domains, _FILE) or self._by_host(url)
        if identity is None:
            return None
        ref = LinkClass(platform=self.platform, file_ref=identity)
        return HostFile(ref=ref, url=f"https://1fichier.com/?{identity}")

    def _by_host(self, url: str) -> str | None:
        """Old links have the id as a name below the domain."""
        parts = split(url)
        domain = None if parts is None else domain_of(parts, self.domains)
        if parts is None or domain is None or parts.path.strip("/") or parts.query:
            return None
        found = _OLD.fullmatch((parts.hostname or "").rstrip(".").removesuffix(domain))
        return found["id"] if found else None

    async def login(self, line: Line) -> Session:
        return Session()  # the key goes with every call

    async def account(self, line: Line) -> AccountState:
        """Heavily limited by the platform: flooded when asked much more often than every half hour."""
        try:
            user = (await _call(line, "user/info.cgi", {})).read(_User)
        except HostError as error:
            raise (LOCKED.error(error.code, detail=error.detail) if error.code == _OWNER_LOCKED else error) from None
        return AccountState(
            usable=user.offer > 0,
            premium_until=instant(user.subscription_end),
            reason="" if user.offer > 0 else NOT_PREMIUM.message,
        )

    async def hosts(self, line: Line) -> tuple[str, ...]:
        return self.domains

    async def check(self, line: Line, files: Sequence[HostFile]) -> list[FileInfo]:
        return [await _checked(line, file) for file in files]

    async def resolve(self, line: Line, file: HostFile, password: str | None) -> DirectLink | Pending:
        """The link must be used within minutes. The owner who is locked may be the file's or the account's."""
        body = {"url": file.url, "inline": 0, "cdn": 0} | ({"pass": password} if password else {})
        try:
            reply = await _call(line, "download/get_token.cgi", body)
        except HostError as error:
            if error.code == _OWNER_LOCKED:
                await self.account(line)
            raise
        return DirectLink(url=reply.link(reply.read(_Link).url))

    async def poll(self, line: Line, pending: Pending) -> DirectLink | Pending:
        raise FAILED.error("nothing_pending")


async def _checked(line: Line, file: HostFile) -> FileInfo:
    try:
        got = (await _call(line, "file/info.cgi", {"url": file.url})).read(_Info)
    except HostError as error:
        if error.status in {102, 104}:
            return FileInfo(online="offline")
        if error.status == 103:
            return FileInfo(online="online", password_needed=error.message == PASSWORD.message)
        raise
    digest = ("whirlpool", got.checksum) if got.checksum else None
    return FileInfo(online="online", name=got.filename, size=got.size, digest=digest)


async def _call(line: Line, path: str, body: dict[str, Any]) -> Reply:
    reply = await ask(
        line,
        "POST",
        line.url(API, path),
        json=body,
        headers={"Authorization": f"Bearer {line.credentials.secret}"},
    )
    said = reply.read(_Status)
    if said.status not in {None, "OK"} or reply.status >= 400:
        raise _refused(reply, said)
    return reply


def _refused(reply: Reply, said: _Status) -> HostError:
    message = (said.message or "").lower()
    for words, verdict, pause in _WORDS:
        if words in message:
            return reply.refused(verdict, words.strip("#").replace(" ", "_"), retry_after=pause)
    number = _NUMBER.search(message)
    verdict = by_status(reply.status, _STATUSES)
    return reply.refused(verdict, number["number"] if number else reply.status)
