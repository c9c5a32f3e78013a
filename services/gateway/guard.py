"""Who is asking. Keys are known by their hash and dropped the moment they are revoked; tokens need no call at all."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import UUID

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from msgspec import Struct

from libs.bus import Bus, follow
from libs.calls import Caller
from libs.message import Refused
from libs.recent import Recent
from proto.auth import KeyDialect, KeyHolder, KeyRevoked, ReadPublicKeys, SessionEnded, VerifyKey
from services.gateway.throttle import Throttle

TRUSTED_SECONDS = 60.0
"""A key is asked about again after this, should a revocation not have reached us."""
KEYS_KEPT = 10_000
SESSIONS_KEPT = 100_000
TAKEN_BACK = ("auth.key_revoked", "auth.session_ended")
LONGEST_KEY = 200
KEYS_SECONDS = 1.0
"""At the least between two questions for the keys that sign tokens: anybody can make up tokens that name a key which is
not there, and each question costs the bus and auth's database more than such a token cost its maker."""


class Identity(Struct, frozen=True, kw_only=True):
    """The bearer of a good access token."""

    user_id: UUID
    session_id: UUID
    number: int
    username: str
    role: str
    expires_at: float

    @property
    def sees(self) -> UUID | None:
        """Whose jobs: an admin's view has no owner."""
        return None if self.role == "admin" else self.user_id


class Guard:
    def __init__(
        self,
        caller: Caller,
        bus: Bus,
        throttle: Throttle | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._caller = caller
        self._bus = bus
        self._throttle = throttle or Throttle(0)
        self._keys: Recent[str, KeyHolder] = Recent(TRUSTED_SECONDS, KEYS_KEPT)
        self._public: dict[str, Ed25519PublicKey] = {}
        self._clock = clock
        self._loading = asyncio.Lock()
        self._loaded_at = float("-inf")
        self._ended: OrderedDict[UUID, None] = OrderedDict()
        self._watched: dict[UUID, list[Callable[[], None]]] = {}
        """What is to be told of the end of a session, by the session."""
        self._revoked_keys: OrderedDict[UUID, None] = OrderedDict()

    async def key(self, key: str, dialect: KeyDialect) -> KeyHolder | None:
        """None for a key that is unknown, revoked, expired, or of another dialect. Raises BusError, ServiceFailed."""
        if not 8 <= len(key) <= LONGEST_KEY:
            return None
        digest = hashlib.sha256(key.encode()).hexdigest()
        holder = self._trusted(digest)
        if holder is None:
            try:
                holder = await self._caller.query(VerifyKey(digest=digest), result=KeyHolder)
            except Refused:
                return None
            if holder.key_id in self._revoked_keys:
                return None
            self._keys.keep(digest, holder)
        if holder.dialect != dialect or (holder.expires_at is not None and holder.expires_at <= datetime.now(UTC)):
            return None
        return holder

    async def holder(self, key: str | None, dialect: KeyDialect, address: str) -> KeyHolder | None:
        """As `key`, of a request that came from `address`. A good key is counted for itself, whatever comes without one
        for the address, which is not even looked up any more when there is too much of it. Raises TooMany."""
        known = key is not None and self._trusted(hashlib.sha256(key.encode()).hexdigest()) is not None
        if not known:
            self._throttle.spent(address)
        found = await self.key(key, dialect) if key else None
        self._throttle.count(str(found.key_id) if found is not None else address)
        return found

    async def watcher(self, token: str | None, address: str) -> Identity | None:
        """As `token`, of a socket to be opened from `address`, counted as in `holder`. A token costs less to read than
        to ask about, so who shares an address with somebody hasty is not kept out. Raises TooMany."""
        found = await self.token(token) if token else None
        self._throttle.count(str(found.user_id) if found is not None else address)
        return found

    def _trusted(self, digest: str) -> KeyHolder | None:
        return self._keys.get(digest) if self._bus.connected else None

    async def token(self, token: str) -> Identity | None:
        """None for a token that is forged, expired, or whose session has ended."""
        try:
            kid = jwt.get_unverified_header(token).get("kid", "")
            public = self._public.get(kid) or await self._load(kid)
            if public is None:
                return None
            claims = jwt.decode(
                token, public, algorithms=["EdDSA"], issuer="longshore", options={"require": ["exp", "sub", "sid"]}
            )
            found = Identity(
                user_id=UUID(claims["sub"]),
                session_id=UUID(claims["sid"]),
                number=claims["num"],
                username=claims["name"],
                role=claims["role"],
                expires_at=float(claims["exp"]),
            )
        except (jwt.PyJWTError, ValueError, KeyError, TypeError):
            return None
        return None if found.session_id in self._ended else found

    async def _load(self, kid: str) -> Ed25519PublicKey | None:
        async with self._loading:
            if kid not in self._public and self._clock() - self._loaded_at >= KEYS_SECONDS:
                for name, pem in (await self._caller.query(ReadPublicKeys(), result=dict[str, str])).items():
                    key = load_pem_public_key(pem.encode())
                    if isinstance(key, Ed25519PublicKey):
                        self._public[name] = key
                self._loaded_at = self._clock()
        return self._public.get(kid)

    async def follow(self) -> None:
        """Hears what auth takes back, until cancelled: also what it took back before, for a token outlives the start of
        a process that was not there to hear of its session's end."""
        async with follow(self._bus, "EV_AUTH", only=TAKEN_BACK) as batches:
            async for batch in batches:
                for one in batch:
                    if one.event_type == "auth.key_revoked":
                        self._revoked(msgspec.json.decode(one.body, type=KeyRevoked))
                    elif one.event_type == "auth.session_ended":
                        self._session_ended(msgspec.json.decode(one.body, type=SessionEnded))

    def _revoked(self, event: KeyRevoked) -> None:
        _add(self._revoked_keys, event.key_id)
        self._keys.forget_where(lambda holder: holder.key_id == event.key_id)

    def _session_ended(self, event: SessionEnded) -> None:
        _add(self._ended, event.session_id)
        for tell in self._watched.get(event.session_id, ()):
            tell()

    @contextmanager
    def watching(self, session_id: UUID, tell: Callable[[], None]) -> Iterator[None]:
        """`tell` is called when this session ends, also when it had ended before."""
        if session_id in self._ended:
            tell()
        self._watched.setdefault(session_id, []).append(tell)
        try:
            yield
        finally:
            self._watched[session_id].remove(tell)
            if not self._watched[session_id]:
                del self._watched[session_id]


def _add(known: OrderedDict[UUID, None], one: UUID) -> None:
    known[one] = None
    while len(known) > SESSIONS_KEPT:
        known.popitem(last=False)
