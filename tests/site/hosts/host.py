"""One scripted file host: its accounts, its files, what it was asked, and what it is to answer next."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args
from urllib.parse import quote
from uuid import uuid4

import msgspec
from aiohttp import web
from multidict import CIMultiDictProxy

from tests.site.content import sha256

GIB = 1 << 30
PREMIUM_UNTIL = 2_000_000_000
"""Unix seconds."""

Fault = Literal[
    "session_expired",
    "wrong_login",
    "captcha",
    "frozen",
    "not_premium",
    "exhausted",
    "slots",
    "address_refused",
    "flood",
    "maintenance",
    "host_down",
    "host_limit",
    "unsupported",
    "offline",
    "banned",
    "private",
    "password",
    "later",
    "unknown",
]
"""What a platform can say no with, each in its own words. `host_down` and `host_limit`: of a multihoster, the other
platform is out, or this account has had enough of it."""
Broken = Literal["html", "truncated", "list", "missing", "huge", "reset", "http_500", "redirect"]
"""What no protocol promises, the same on every platform."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Any answer at all."""

    status: int = 200
    body: bytes = b""
    type: str = "application/json"
    headers: Mapping[str, str] = {}


Spoil = Callable[[bytes], bytes]
"""Makes another body of the one that the protocol would answer."""


class Account(msgspec.Struct, kw_only=True):
    """Its fields may be changed at any time. `premium_until` in unix seconds. `knobs` are of the bytes behind its links
    (tests/site/knobs.py). `connections` is how many of them are open now, `peak` how many ever were at once, `served`
    the body bytes of those that are over."""

    username: str
    secret: str
    premium: bool = True
    premium_until: int = PREMIUM_UNTIL
    traffic_left: int | None = 50 * GIB
    traffic_total: int | None = 100 * GIB
    captcha: bool = False
    seed: bytes = b""
    """Of a second factor that a login must have."""
    refresh_token: str = ""
    """What is changed into a session's token."""
    frozen: bool = False
    knobs: dict[str, Any] = {}
    connections: int = 0
    peak: int = 0
    served: int = 0


class HostedFile(msgspec.Struct, kw_only=True):
    """`url` is its public link. Its link is ready after `polls` questions. `knobs` as in tests/site/knobs.py."""

    id: str
    name: str
    size: int
    url: str
    state: Literal["online", "offline", "banned", "private"] = "online"
    password: str | None = None
    polls: int = 0
    knobs: dict[str, Any] = {}

    @property
    def sha256(self) -> str:
        return sha256(self.size, self.name)


class Direct(msgspec.Struct, kw_only=True):
    """A direct link that was given. `brought` is the headers of each request for its bytes."""

    file: HostedFile
    account: Account
    good: bool = True
    brought: list[Mapping[str, str]] = []


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request as the protocols read it: `fields` of query and form, `json` of a JSON body."""

    method: str
    path: str
    fields: Mapping[str, list[str]]
    json: Any
    headers: CIMultiDictProxy[str]
    cookies: Mapping[str, str]

    def field(self, name: str) -> str:
        return (self.fields.get(name) or [""])[0]

    @property
    def bearer(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")


class Refusal(Exception):
    """Raised by a protocol's handler; its `refuse` words it."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


Handler = Callable[["Host", Ask], web.Response | Direct]
"""`Direct` is answered with the file's bytes."""


def at_rapidgator(name: str) -> tuple[str, str]:
    identity = uuid4().hex
    return identity, f"https://rapidgator.net/file/{identity}/{name}.html"


class Speech(msgspec.Struct, frozen=True, kw_only=True):
    """A platform's protocol. `calls` are its paths, each with the call of an adapter that it serves (`login`,
    `account`, `hosts`, `check`, `resolve`, `poll`; a path that ends with `/` is for all below it); `faults` is what it
    has words for; `identify` makes the id and the public link of a new file, on the scripted server itself where it
    says `{base}`; multihosters are given files of RapidGator. With `metered` it tells of an account's traffic, with
    `checks` of files before they are resolved."""

    calls: Mapping[str, tuple[str, Handler]]
    faults: frozenset[Fault]
    refuse: Callable[[Fault], web.Response]
    identify: Callable[[str], tuple[str, str]] = at_rapidgator
    metered: bool = True
    checks: bool = True


class Host:
    """Made by Hosts.host. Everything may be used from any thread."""

    def __init__(self, platform: str, speech: Speech, origin: str, place: str, loop: asyncio.AbstractEventLoop) -> None:
        self.platform = platform
        self.base_url = f"{origin}{place}"
        self.accounts: list[Account] = []
        self.files: list[HostedFile] = []
        self.sessions: dict[str, Account] = {}
        self.pending: dict[str, tuple[HostedFile, Account, int]] = {}
        self.calls: Counter[str] = Counter()
        self.asked: list[Ask] = []
        """Every request as it was read, in order of arrival."""
        self.direct: dict[str, Direct] = {}
        self.next_link: str | None = None
        """What the next direct link is instead."""
        self.direct_origin = origin
        """Where its direct links lead."""
        self.speech = speech
        self._place = place
        self._loop = loop
        self._scripted: dict[str, deque[tuple[Fault | Broken | Answer | Spoil, int | None]]] = {}
        self._held: dict[str, asyncio.Event] = {}
        self._changed = threading.Condition()

    def add_account(self, username: str = "", secret: str = "", **fields: Any) -> Account:
        """With a name and a secret of its own unless given."""
        one = Account(
            username=username or f"{uuid4().hex[:8]}@example.test", secret=secret or f"s&cret {uuid4().hex}", **fields
        )
        self.accounts.append(one)
        return one

    def add_file(self, name: str = "file.bin", size: int = 100_000, **fields: Any) -> HostedFile:
        """Bytes as of `/file/<size>/<name>` of the site; one of another platform when this is a multihoster."""
        identity, url = self.speech.identify(name)
        url = url.replace("{base}", self.base_url)
        known: dict[str, Any] = {"id": identity, "name": name, "size": size, "url": url}
        one = HostedFile(**(known | fields))
        self.files.append(one)
        return one

    def script(self, what: Fault | Broken | Answer | Spoil, *, on: str = "", times: int | None = 1) -> None:
        """The next `times` calls of the kind `on` (of any kind when empty), or with None all of them, are answered so;
        what is scripted first comes first."""
        if isinstance(what, str) and what in get_args(Fault) and what not in self.speech.faults:
            raise ValueError(f"{self.platform} has no words for {what}")
        self._scripted.setdefault(on, deque()).append((what, times))

    def unscript(self) -> None:
        self._scripted.clear()

    def expire_sessions(self) -> None:
        """Every session that a login gave is over."""
        self.sessions.clear()

    def expire_links(self) -> None:
        """Every direct link that was given answers 404 from now on."""
        for one in self.direct.values():
            one.good = False

    def count(self, kind: str) -> int:
        return self.calls[kind]

    def hold(self, kind: str) -> None:
        """Calls of this kind are counted and then wait for `release`."""
        self._held[kind] = asyncio.Event()

    def release(self, kind: str) -> None:
        self._loop.call_soon_threadsafe(self._held.pop(kind).set)

    def wait(self, kind: str, times: int = 1, timeout: float = 60) -> None:
        """Until `times` calls of this kind have arrived in all. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.calls[kind] >= times, timeout):
                raise TimeoutError(f"{self.platform}: {self.calls[kind]} of {times} calls of {kind} in {timeout} s")

    async def until(self, kind: str, times: int = 1, timeout: float = 60) -> None:
        await asyncio.to_thread(self.wait, kind, times, timeout)

    # What follows is for the protocols and the server.

    async def arrived(self, kind: str, ask: Ask) -> None:
        with self._changed:
            self.calls[kind] += 1
            self.asked.append(ask)
            self._changed.notify_all()
        if kind in self._held:
            await self._held[kind].wait()

    def scripted(self, kind: str) -> Fault | Broken | Answer | Spoil | None:
        for name in (kind, ""):
            queue = self._scripted.get(name)
            if queue:
                what, times = queue.popleft()
                if times is None or times > 1:
                    queue.appendleft((what, None if times is None else times - 1))
                return what
        return None

    def login(self, username: str, secret: str) -> str:
        """A session's token."""
        account = next((one for one in self.accounts if (one.username, one.secret) == (username, secret)), None)
        if account is None:
            raise Refusal("wrong_login")
        self._refuse_bad(account)
        if account.captcha:
            raise Refusal("captcha")
        token = f"tok+{uuid4().hex}"
        self.sessions[token] = account
        return token

    def refresh(self, token: str) -> str:
        """A session's token for a refresh token."""
        account = next((one for one in self.accounts if one.refresh_token and one.refresh_token == token), None)
        if account is None:
            raise Refusal("wrong_login")
        fresh = f"tok+{uuid4().hex}"
        self.sessions[fresh] = account
        return fresh

    def member(self, token: str) -> Account:
        """Of a session."""
        account = self.sessions.get(token)
        if account is None:
            raise Refusal("session_expired")
        self._refuse_bad(account)
        return account

    def holder(self, key: str) -> Account:
        """Of a permanent key."""
        account = next((one for one in self.accounts if one.secret == key), None) or self.sessions.get(key)
        if account is None:
            raise Refusal("wrong_login")
        self._refuse_bad(account)
        return account

    def _refuse_bad(self, account: Account) -> None:
        if account.frozen:
            raise Refusal("frozen")

    def find(self, link: str) -> HostedFile | None:
        """By the id in a link, whatever its domain."""
        return next((one for one in self.files if one.id in link), None)

    def openable(self, link: str, account: Account, password: str | None) -> HostedFile:
        """The file that this account may have now; it is not charged yet."""
        file = self.find(link)
        if file is None or file.state == "offline":
            raise Refusal("offline")
        if file.state != "online":
            raise Refusal(file.state)
        if not account.premium:
            raise Refusal("not_premium")
        if file.password and file.password != (password or ""):
            raise Refusal("password")
        if self.speech.metered and account.traffic_left is not None and account.traffic_left < file.size:
            raise Refusal("exhausted")
        return file

    def link_to(self, file: HostedFile, account: Account) -> str:
        """A direct link, good until expire_links. The account is charged for it."""
        if account.traffic_left is not None:
            account.traffic_left -= file.size
        if self.next_link is not None:
            link, self.next_link = self.next_link, None
            return link
        token = uuid4().hex
        self.direct[token] = Direct(file=file, account=account)
        return f"{self.direct_origin}{self._place}/direct/{token}/{quote(file.name)}"

    def begin(self, file: HostedFile, account: Account) -> str:
        """The ticket of a link that is made later."""
        ticket = str(len(self.pending) + 1000)
        self.pending[ticket] = (file, account, file.polls)
        return ticket

    def turn(self, ticket: str) -> tuple[HostedFile, Account, float]:
        """One question about a ticket: the fraction done is 1 when its link can be had."""
        if ticket not in self.pending:
            raise Refusal("unknown")
        file, account, left = self.pending[ticket]
        self.pending[ticket] = (file, account, max(0, left - 1))
        return file, account, 1.0 if left == 0 else 1 - left / (file.polls + 1)
