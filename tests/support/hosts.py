"""A file host in memory that speaks no protocol: what the pool makes of adapters, without their words."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from libs.calls import Call
from libs.egress.policy import EgressPolicy
from libs.eventstore import EventStore
from libs.message import Meta, new_id, tag
from libs.sealing import Sealer
from proto import REGISTRY
from proto.unrestrict_proxy import AddHostAccount, LinkClass
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
from services.unrestrict_proxy.pool import Pool
from services.unrestrict_proxy.pool.handlers import add_account

KEY = "an installation's key of more than thirty-two characters"
CALL = Call(meta=Meta(correlation=new_id()), command_id=None, actor="", deadline=0.0, body=b"")
GIB = 1 << 30


def refusal(scope="account", status=107, code="no", **more) -> HostError:
    return HostError(scope, status, code, f"The platform said {code}.", **more)


class Host:
    """Answers as scripted, else well. `asked` counts calls; `answers[call]` are errors or answers that come first, of
    which one with a name in front is for that account alone. `left` is traffic by user name."""

    def __init__(self, platform: str, *domains: str, **caps) -> None:
        self.platform = platform
        self.name = platform.title()
        self.domains = domains
        self.caps = Caps(**caps)
        self.asked: Counter[str] = Counter()
        self.users: defaultdict[str, list[str]] = defaultdict(list)
        self.answers: defaultdict[tuple[str, str | None], deque[Any]] = defaultdict(deque)
        self.left: dict[str, int | None] = {}
        self.states: dict[str, AccountState] = {}
        self.live: tuple[str, ...] = ()
        self.sessions: set[str] = set()
        self.held: dict[str, asyncio.Event] = {}

    def match(self, url):
        head, _, name = url.rpartition("/file/")
        if not head or head.removeprefix("https://").removeprefix("www.") not in self.domains:
            return None
        return self.file(name)

    def file(self, name: str) -> HostFile:
        ref = LinkClass(platform=self.platform, file_ref=name)
        return HostFile(ref=ref, url=f"https://{self.domains[0]}/file/{name}")

    def script(self, call: str, *answers, user: str | None = None) -> None:
        self.answers[call, user].extend(answers)

    async def _answer(self, call: str, line: Line, default):
        self.asked[call] += 1
        self.users[call].append(line.credentials.username)
        if call in self.held:
            await self.held[call].wait()
        for key in ((call, line.credentials.username), (call, None)):
            if self.answers[key]:
                found = self.answers[key].popleft()
                if isinstance(found, Exception):
                    raise found
                return found
        return default

    def hold(self, call: str) -> asyncio.Event:
        self.held[call] = asyncio.Event()
        return self.held[call]

    async def login(self, line: Line) -> Session:
        token = f"{line.credentials.username} {self.asked['login']}"
        session = await self._answer("login", line, Session(token=token))
        self.sessions.add(session.token)
        return session

    async def account(self, line: Line) -> AccountState:
        self._known(line)
        name = line.credentials.username
        state = AccountState(usable=True, traffic_left=self.left.get(name), traffic_total=self.left.get(name))
        return await self._answer("account", line, self.states.get(name, state))

    async def hosts(self, line: Line) -> tuple[str, ...]:
        return await self._answer("hosts", line, self.live or self.domains)

    async def check(self, line: Line, _files: Sequence[HostFile]) -> list[FileInfo]:
        self._known(line)
        return [await self._answer("check", line, FileInfo(online="online", name="a.bin", size=1000))]

    async def resolve(self, line: Line, file: HostFile, _password: str | None) -> DirectLink | Pending:
        self._known(line)
        url = f"https://cdn.test/{line.credentials.username}/{file.ref.file_ref}/{self.asked['resolve']}"
        return await self._answer("resolve", line, DirectLink(url=url))

    async def poll(self, line: Line, pending: Pending) -> DirectLink | Pending:
        return await self._answer("poll", line, DirectLink(url=f"https://cdn.test/{pending.ticket}"))

    def _known(self, line: Line) -> None:
        if line.session.token not in self.sessions:
            raise refusal(code="session_over", renew=True)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Pools:
    """Any number of pools on one database, as replicas have them, and what was announced. `settings` are the server's,
    for their sessions."""

    def __init__(self, installation, *hosts, **settings: str) -> None:
        self.hosts = hosts
        self._settings = settings
        self.clock = Clock()
        self._installation = installation
        self._reader = None

    async def add(self, platform: str, username: str, secret: str | None = None, **more):
        account = AddHostAccount(
            account_id=new_id(), platform=platform, username=username, secret=secret or f"secret of {username}", **more
        )
        store = await self._installation.store("unrestrict_proxy", 1)
        async with self.pool(1) as pool:
            sealer, policy = Sealer(KEY, "host-account"), EgressPolicy.parse("127.0.0.0/8")
            await add_account(account, CALL, store, sealer, pool, policy)
        return account.account_id

    @asynccontextmanager
    async def pool(self, limit: int = 5, allow: str = "", **more) -> AsyncIterator[Pool]:
        pool = await self._installation.pool("unrestrict_proxy", limit, **self._settings)
        store = await self._installation.store("unrestrict_proxy", limit)
        async with Pool(pool, store, EgressPolicy.parse(allow), KEY, self.hosts, self.clock, **more) as one:
            yield one

    async def events(self, *kinds: str):
        store = EventStore(await self._read_with(), "unrestrict_proxy", REGISTRY, lambda: None)
        found = [one.event for one in await store.read()]
        return [one for one in found if not kinds or tag(type(one)).partition(".")[2] in kinds]

    async def rows(self, query: str, *values):
        return await (await self._read_with()).fetch(query, *values)

    async def _read_with(self):
        if self._reader is None:
            self._reader = await self._installation.pool("unrestrict_proxy", 1)
        return self._reader
