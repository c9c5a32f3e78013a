"""Object storage of the user's own: S3, Azure Blob, Google Cloud Storage, Alibaba OSS.

A file is there whole or not at all, and an upload that fails or is cancelled leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TypedDict
from urllib.parse import quote

import aiohttp
import structlog
from msgspec import Struct

from libs.egress.policy import EgressRefused
from services.storage.targets.asks import Answer, Delete, Discard, Found, Left, Put, Stat, Verify
from services.storage.targets.credentials import Blob, Credentials, Gcs
from services.storage.targets.failures import TargetAway, TargetRefused, check
from services.storage.targets.mover import Lost, Mover
from services.storage.targets.places import Place
from services.storage.targets.signing import DISPOSITION, LONGEST_SECONDS, CannotSign, Link, sign
from services.storage.targets.tokens import access_token
from services.storage.targets.uploads import StillThere, end_uploads

log = structlog.get_logger()

PART = 8 << 20
PACED_PART = 5 << 20
"""A rate holds from part to part, so parts are as small as S3 takes them, and go one after the other."""
AT_ONCE = 4
MOST_PARTS = 9_000
"""S3 takes 10,000."""
SLOWEST = 64 << 10
"""Bytes a second below which an upload is given up as a whole."""


class Patience(Struct, frozen=True, kw_only=True):
    """Seconds."""

    call: float = 30.0
    """For an ask without a file, all tries together."""
    part: float = 60.0
    """For one part of a file."""
    start: float = 300.0
    """For a file, beside what its size allows."""
    stop: float = 5.0
    """For the parts in the air of a file that is cancelled. Less than the mover waits for an answer."""
    clean: float = 30.0
    """For removing what a failure left."""


class Pace:
    """Bytes per second at which one file goes; None is no limit. It may change on the way."""

    def __init__(self, rate: int | None = None) -> None:
        self.rate = rate
        self._followed: Callable[[int | None], Awaitable[None]] | None = None

    def follow(self, told: Callable[[int | None], Awaitable[None]]) -> None:
        self._followed = told

    async def set(self, rate: int | None) -> None:
        if rate != self.rate:
            self.rate = rate
            if self._followed is not None:
                await self._followed(rate)


class _Request(TypedDict):
    number: int
    options: dict[str, str]
    key: str
    call_seconds: float
    part_seconds: float


class ObjectTarget:
    """One user's storage. Cheap to make: nothing is held between calls but what the mover holds."""

    def __init__(
        self,
        credentials: Credentials,
        mover: Mover,
        patience: Patience = Patience(),  # noqa: B008 - frozen
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._credentials = credentials
        self._mover = mover
        self._patience = patience
        self._clock = clock

    def key(self, folder: tuple[str, ...], name: str, words: Mapping[str, str] | None = None) -> str:
        """Where a file of this name goes: below the prefix and the base folder, whatever the words are."""
        return self._credentials.key(folder, name, words)

    def place(self, key: str) -> bytes:
        """By which two files that go to the same key of the same storage are known, whoever told us of it."""
        one = self._credentials
        return hashlib.sha256(f"{one.place().url} {one.container_or_bucket} {key}".encode()).digest()

    async def verify(self) -> None:
        """Writes a small object, reads it back and deletes it: one of its own, for several may do so at once. Raises
        TargetRefused, TargetAway."""
        mark = secrets.token_hex(8)
        key = self.key((), f"verify_credentials-{mark}.txt")
        ask = Verify(text=f"Longshore may write here. {mark}\n", **await self._request(key))
        check(await self._careful(ask, self._patience.call * 2))

    async def put(self, source: Path, key: str, size: int, sha256: str, pace: Pace | None = None) -> Found:
        """Stored and checked. The same file again costs one question; another object of this key is replaced. One at a
        time for a key. Raises TargetRefused, TargetAway, and either way, or when cancelled, leaves nothing of it."""
        rate = None if pace is None else pace.rate
        ask = Put(
            source=str(source),
            size=size,
            sha256=sha256,
            part=max(PART if rate is None else PACED_PART, -(-size // MOST_PARTS)),
            at_once=AT_ONCE if rate is None else 1,
            stop_seconds=self._patience.stop,
            rate=rate,
            **await self._request(key),
        )
        if pace is not None:
            pace.follow(lambda now: self._mover.pace(ask.number, now))
        answer = await self._careful(ask, self._patience.start + size / min(SLOWEST, (rate or SLOWEST) / 2))
        check(answer)
        assert answer.found is not None
        return answer.found

    async def stat(self, key: str) -> Found | None:
        """None if there is no such object, or no such bucket. Raises TargetRefused, TargetAway."""
        return (await self._ask(Stat(**await self._request(key)), self._patience.call)).found

    async def delete(self, key: str) -> None:
        """One that is not there counts as deleted. Raises TargetRefused, TargetAway."""
        await self._ask(Delete(**await self._request(key)), self._patience.call)

    async def tidy(self, key: str) -> None:
        """For a put that a crash of this service interrupted, and that nobody could clean up after: removes what it may
        have left beside the object. What can not be removed is logged."""
        await self._clean(self._below_root(key), "parts")

    async def presign(self, key: str, seconds: int, name: str) -> str:
        """A link to the object for anybody, as an attachment of this name. Raises TargetRefused."""
        await self._check_place(self._credentials.place())
        plain = "".join(c if (c.isascii() and c.isalnum()) or c in "._- ()" else "_" for c in name)
        disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
        link = Link(
            method="GET",
            key=self._below_root(key),
            query={DISPOSITION: disposition},
            seconds=max(1, min(seconds, LONGEST_SECONDS)),
        )
        try:
            return sign(self._credentials, link, self._now())
        except CannotSign as error:
            raise TargetRefused("cannot_sign") from error

    async def _request(self, key: str) -> _Request:
        key = self._below_root(key)
        async with _deadline(self._patience.call):
            await self._check_place(self._credentials.place())
            token = None
            if isinstance(self._credentials, Gcs):
                await self._check_place(self._credentials.tokens())
                token = await access_token(self._credentials, self._mover.policy, int(self._clock()))
        return {
            "number": self._mover.number(),
            "options": self._credentials.options(token),
            "key": key,
            "call_seconds": self._patience.call,
            "part_seconds": self._patience.part,
        }

    async def _ask(self, ask: Stat | Delete | Discard | Verify, seconds: float) -> Answer:
        answer = await self._answer(ask, seconds)
        check(answer)
        return answer

    async def _careful(self, ask: Put | Verify, seconds: float) -> Answer:
        try:
            return await self._answer(ask, seconds)
        finally:
            left = self._mover.left_by(ask.number)
            if left != "nothing":
                # Kept, so that it goes on if the caller is cancelled meanwhile.
                await asyncio.shield(self._mover.keep(self._clean(ask.key, left)))

    async def _answer(self, ask: Put | Stat | Delete | Discard | Verify, seconds: float) -> Answer:
        try:
            return await self._mover.ask(ask, seconds)
        except TimeoutError as error:
            raise TargetAway("timed_out") from error
        except Lost as error:
            raise TargetAway("interrupted") from error

    def _below_root(self, key: str) -> str:
        path = PurePosixPath(key)
        if ".." in path.parts or str(path) != key or not path.is_relative_to(self._credentials.root()) or key == ".":
            raise ValueError("this key was not made by this target")
        return key

    async def _check_place(self, place: Place) -> None:
        """Before each use: an address that was good may be another now. What is really connected to is judged once more
        by the proxy, and so is every redirect."""
        policy = self._mover.policy
        try:
            async with _deadline(self._patience.call):
                endpoints = await policy.resolve(place.host, place.port)
        except EgressRefused as error:
            raise TargetRefused("egress_refused") from error
        except OSError as error:
            raise TargetAway("unreachable") from error
        opened = all(policy.maps_to(one) or policy.open(ipaddress.ip_address(one.address)) for one in endpoints)
        if not place.secure and not opened:
            raise TargetRefused("not_https")

    async def _clean(self, key: str, left: Left) -> None:
        """Whatever can not be removed is named in the log: the failure that led here is what the caller must hear."""
        try:
            async with asyncio.timeout(self._patience.clean):
                if isinstance(self._credentials, Blob):
                    await self._ask(Discard(**await self._request(key)), self._patience.clean)
                else:
                    await self._check_place(self._credentials.place())
                    await end_uploads(self._credentials, key, self._mover.policy, self._patience.clean)
                if left == "object":
                    await self.delete(key)
        except (TargetRefused, TargetAway, StillThere, TimeoutError, aiohttp.ClientError) as error:
            log.warning("objects.left_over", key=key, left=left, reason=type(error).__name__)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


@asynccontextmanager
async def _deadline(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise TargetAway("timed_out") from error
