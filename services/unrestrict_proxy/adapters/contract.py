"""What every platform's adapter is: a translation between one platform's protocol and ours, and nothing else.

An adapter keeps no state between calls and decides nothing: which account is used, when a session is renewed, what is
tried again and what is charged is the pool's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

import aiohttp
from msgspec import Struct

from proto.unrestrict_proxy import LinkClass

Scope = Literal["file", "account", "host", "request"]
"""What an error is about. `file`: final on every account of the platform. `account`: this account is out for a while,
the next is tried. `host`: the whole platform is out for a while. `request`: this one call went wrong."""
Online = Literal["online", "offline", "unknown"]


class HostError(Exception):
    """What a platform said no with. `status` is one of 101 to 107 of the `external` dialect; `code` is the platform's
    own word or number for logs and programs, `message` is ours, for people, without any secret. `retry_after` is in
    seconds, None when the platform does not say. With `renew` the session is over and a fresh login may help."""

    def __init__(
        self,
        scope: Scope,
        status: Literal[101, 102, 103, 104, 105, 106, 107],
        code: str,
        message: str,
        *,
        retry_after: float | None = None,
        renew: bool = False,
        exhausted: bool = False,
        narrow: bool = False,
        detail: str = "",
    ) -> None:
        """`exhausted`: the account's traffic is used up until it is reset. `narrow`, of a multihoster: what `scope`
        names is out for links of this file's host alone. `detail` is the platform's whole answer, cut to 2,000
        characters and without credentials: the pool logs it where the adapter does not know the code."""
        super().__init__(message)
        self.scope = scope
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after
        self.renew = renew
        self.exhausted = exhausted
        self.narrow = narrow
        self.detail = detail


class Caps(Struct, frozen=True, kw_only=True):
    """What a platform allows one account. `link_seconds` is how long a resolved link is good; `batch` is how many
    links one check takes; `state_seconds` is how long an account's state may be kept before it is asked for again."""

    max_chunks: int = 4
    slots: int = 3
    resumable: bool = True
    batch: int = 1
    link_seconds: int = 3600
    state_seconds: int = 1800
    multihost: bool = False
    """Turns links of other platforms into links of its own; `hosts` says of which."""


class Credentials(Struct, frozen=True, kw_only=True):
    """Of one host account. `domains` is what the operator limited it to, empty for all; a generic host lives by it."""

    username: str = ""
    secret: str
    domains: tuple[str, ...] = ()
    base_url: str | None = None
    """Where the platform's interface is spoken, when not at its own address."""

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r})"


class Session(Struct, frozen=True, kw_only=True):
    """What a login brought: opaque to all but its adapter, sealed where it is kept."""

    token: str = ""
    cookies: Mapping[str, str] = {}
    expires_at: datetime | None = None

    def __repr__(self) -> str:
        return f"Session(expires_at={self.expires_at!r})"


class Line(Struct, frozen=True, kw_only=True):
    """To a platform, as one of its accounts. `http` has a connector under the egress policy, a deadline for every call
    and no cookies of its own; `session` is empty until there was a login."""

    http: aiohttp.ClientSession
    credentials: Credentials
    session: Session = Session()

    def url(self, api: str, path: str) -> str:
        """Of a call, where the platform's interface is `api` unless the account says otherwise."""
        return f"{(self.credentials.base_url or api).rstrip('/')}/{path}"

    @property
    def secrets(self) -> tuple[str, ...]:
        secret = self.credentials.secret
        return tuple(
            one for one in (secret, *secret.splitlines(), self.session.token, *self.session.cookies.values()) if one
        )


class AccountState(Struct, frozen=True, kw_only=True):
    """Bytes and instants; None is unknown and is never shown as zero. `per_host` is what is left by domain."""

    usable: bool
    premium_until: datetime | None = None
    traffic_left: int | None = None
    traffic_total: int | None = None
    reset_at: datetime | None = None
    per_host: Mapping[str, int] = {}
    reason: str = ""
    """Why it is not usable, for people."""


class FileInfo(Struct, frozen=True, kw_only=True):
    """What is known of a file before it is paid for. `digest` is (algorithm, hex)."""

    online: Online
    name: str | None = None
    size: int | None = None
    digest: tuple[str, str] | None = None
    password_needed: bool = False


class DirectLink(Struct, frozen=True, kw_only=True):
    """Where the bytes are. It carries the right to fetch them: it is sealed where it is kept and never logged."""

    url: str
    headers: Mapping[str, str] = {}
    name: str | None = None
    size: int | None = None
    expires_at: datetime | None = None
    max_chunks: int | None = None
    """None for what `Caps` says."""
    resumable: bool = True

    def __repr__(self) -> str:
        return f"DirectLink(name={self.name!r}, size={self.size!r})"


class Pending(Struct, frozen=True, kw_only=True):
    """The platform makes the link itself first. `ticket` is what `poll` is asked with, and may carry the right to fetch
    as a DirectLink does; `fraction` is 0 to 1."""

    ticket: str
    after: float = 5.0
    """Seconds until it is worth asking."""
    fraction: float | None = None
    name: str | None = None
    size: int | None = None

    def __repr__(self) -> str:
        return f"Pending(after={self.after!r}, fraction={self.fraction!r}, name={self.name!r}, size={self.size!r})"


class HostFile(Struct, frozen=True, kw_only=True):
    """One file of one platform. `url` is its link in the platform's own spelling, without alias domains."""

    ref: LinkClass
    url: str


class Adapter(Protocol):
    """Every call raises HostError for what the platform refuses, and lets through aiohttp.ClientError, TimeoutError and
    EgressRefused: that the platform was not reached says nothing of the file or the account."""

    platform: str
    """Stable for logs and programs: lower case, as in the table of platforms."""
    name: str
    """As the `external` dialect shows it, such as `RapidGator`."""
    domains: tuple[str, ...]
    """The first is the canonical one. Empty for who serves only other platforms' links, and for the generic host, whose
    domains are those of its accounts."""
    caps: Caps

    def match(self, url: str) -> HostFile | None:
        """None when the link is not one to a file of this platform. Domains that are aliases collapse to one."""

    async def login(self, line: Line) -> Session:
        """Platforms that take a key with every call answer at once; wrong credentials are an `account` error."""

    async def account(self, line: Line) -> AccountState: ...

    async def hosts(self, line: Line) -> tuple[str, ...]:
        """Domains whose links this account turns into links of its own now; its own domains for a plain platform."""

    async def check(self, line: Line, files: Sequence[HostFile]) -> list[FileInfo]:
        """In order, at most `caps.batch` at once. What can not be known is `unknown`, not an error."""

    async def resolve(self, line: Line, file: HostFile, password: str | None) -> DirectLink | Pending: ...

    async def poll(self, line: Line, pending: Pending) -> DirectLink | Pending: ...
