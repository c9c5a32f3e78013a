"""What is known of one account and what that makes it good for. Pure.

Each change is (standing as it is now, what is announced of it).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from libs.message import Event
from proto.unrestrict_proxy import HostAccountBroken, HostAccountCooled, HostAccountRead, HostAccountUsable, LinkClass
from services.unrestrict_proxy.adapters.contract import AccountState, HostError

COOL_FIRST = 120.0
COOL_LONGEST = 3600.0
"""Seconds, for a platform that does not say how long; each time in a row it is twice as long."""
COOL_LEAST = 5.0
COOL_MOST = 86400.0
"""What a platform says is believed between these."""
EXHAUSTED_SECONDS = 3600.0
"""When nobody knows when the traffic is there again."""
READ_AGAIN = 60.0
"""Seconds until a state that could not be read is asked for again."""
DOUBT_SECONDS = 3600.0
"""So long a file whose bytes were refused says nothing more against the account."""
DOUBTS = 16
"""Files that are remembered for it, the latest of them."""


Summary = Literal["unread", "usable", "cooling", "unusable", "broken"]


class Standing(Struct, frozen=True, kw_only=True):
    """`state` None until it was read once. `hosts` are the domains that a multihost account serves now. `read_at` None
    when it is to be read as soon as possible; `wait_until` holds the next reading back. `paused` is until when the
    account is out for one platform of files alone. `strikes` counts failures in a row. `doubts` is until when a file
    whose bytes were refused is remembered, by its name."""

    account_id: UUID
    platform: str
    state: AccountState | None = None
    hosts: frozenset[str] = frozenset()
    read_at: datetime | None = None
    wait_until: datetime | None = None
    cool_until: datetime | None = None
    cool_reason: str = ""
    broken: bool = False
    strikes: int = 0
    paused: Mapping[str, datetime] = {}
    doubts: Mapping[str, datetime] = {}

    def due(self, now: datetime, state_seconds: int) -> bool:
        """Whether its state may be asked for. A broken account waits for its operator."""
        if self.broken or (self.wait_until is not None and now < self.wait_until):
            return False
        return self.read_at is None or now >= self.read_at + timedelta(seconds=state_seconds)

    def summary(self, now: datetime) -> tuple[Summary, datetime | None, str]:
        """For people, with the time until which and the reason why."""
        if self.broken:
            return "broken", None, self.cool_reason
        if self.cool_until is not None and now < self.cool_until:
            return "cooling", self.cool_until, self.cool_reason
        if self.state is None:
            return "unread", None, ""
        if not self.state.usable:
            return "unusable", None, self.state.reason
        if self.left() == 0:
            return "unusable", self.state.reset_at, "The account's traffic is used up."
        out = sorted(platform for platform, end in self.paused.items() if now < end)
        return "usable", None, f"not for {', '.join(out)}" if out else ""

    def recovers(self, now: datetime) -> bool:
        """A time that it was out for is over, and nobody has said so yet."""
        return self.cool_until is not None and self.cool_until <= now

    def doubts_of(self, ref: LinkClass, now: datetime) -> bool:
        """Its bytes were refused to this account lately."""
        file = _name(ref)
        return file in self.doubts and now < self.doubts[file]

    def next_look(self, now: datetime, state_seconds: int) -> datetime | None:
        """When there is something to do about it; None while that is its operator's."""
        if self.broken:
            return None
        read = now if self.read_at is None else self.read_at + timedelta(seconds=state_seconds)
        if self.wait_until is not None:
            read = max(read, self.wait_until)
        return read if self.cool_until is None else min(read, self.cool_until)

    def left(self, domains: Iterable[str] = ()) -> int | None:
        """Bytes left for files of these domains; None is unknown."""
        if self.state is None:
            return None
        known = [self.state.per_host[domain] for domain in domains if domain in self.state.per_host]
        if self.state.traffic_left is not None:
            known.append(self.state.traffic_left)
        return min(known, default=None)

    def free_at(self, now: datetime, platform: str = "", domains: Iterable[str] = ()) -> datetime | None:
        """`now` when it is usable for files of this platform, else when it may be again; None when nobody knows."""
        if self.broken:
            return None
        times = [now]
        if self.cool_until is not None:
            times.append(self.cool_until)
        if platform in self.paused:
            times.append(self.paused[platform])
        if self.state is not None and not self.state.usable:
            return None
        if self.left(domains) == 0:
            again = self.state.reset_at if self.state is not None else None
            if again is None or again <= now:
                return None
            times.append(again)
        return max(times)

    def usable(self, now: datetime, platform: str = "", domains: Iterable[str] = ()) -> bool:
        return self.free_at(now, platform, domains) == now


Change = tuple[Standing, list[Event]]


def was_read(one: Standing, state: AccountState, hosts: frozenset[str], now: datetime) -> Change:
    """Said only when something changed: a state is read every half hour, for ever."""
    if one.broken:
        after = msgspec.structs.replace(one, broken=False, cool_until=None, cool_reason="", strikes=0)
        events: list[Event] = [HostAccountUsable(account_id=one.account_id, platform=one.platform, at=now)]
    else:
        after, events = recovered(one, now)
    after = msgspec.structs.replace(after, state=state, hosts=hosts, read_at=now, wait_until=None)
    if state.traffic_left == 0 and state.reset_at is not None and state.reset_at > now:
        after = msgspec.structs.replace(after, cool_until=None, cool_reason="")
        after, more = _cool(after, state.reset_at, "exhausted", "The account's traffic is used up.", now)
        events = [*events, *more]
    if state != one.state:
        read = HostAccountRead(
            account_id=one.account_id,
            platform=one.platform,
            usable=state.usable,
            reason=state.reason,
            premium_until=state.premium_until,
            traffic_left=state.traffic_left,
            traffic_total=state.traffic_total,
            reset_at=state.reset_at,
            at=now,
        )
        events = [read, *events]
    return after, events


def renewed(one: Standing) -> Standing:
    """It has another secret: what was refused before says nothing of it, and it is to be read."""
    return msgspec.structs.replace(
        one, read_at=None, wait_until=None, cool_until=None, cool_reason="", broken=False, strikes=0
    )


def was_not_read(one: Standing, now: datetime) -> Change:
    """The platform was not reached, or made no sense: that says nothing of the account."""
    return msgspec.structs.replace(one, wait_until=now + timedelta(seconds=READ_AGAIN)), []


def refused(one: Standing, error: HostError, now: datetime) -> Change:
    """Its state was asked for, and the platform does not take the account."""
    after, events = failed(one, error, "", now)
    again = max(now + timedelta(seconds=READ_AGAIN), after.cool_until or now)
    return msgspec.structs.replace(after, wait_until=again), events


def served(one: Standing, ref: LinkClass, read: int) -> Standing:
    """Bytes came, and nothing was wrong with them. What is left is an estimate until the state is read again, so that
    accounts are not chosen by what they had half an hour ago."""
    if read <= 0:
        return one
    doubts = {name: end for name, end in one.doubts.items() if name != _name(ref)}
    return spent(msgspec.structs.replace(one, strikes=0, doubts=doubts), read)


def limited(one: Standing, status: int, retry_after: float | None, now: datetime) -> Change:
    """The upstream said that this account asks too much, and perhaps until when. Its state is to be read."""
    code, message = f"http_{status}", f"The platform answered {status} when the file was fetched."
    if retry_after is None:
        return strike(one, code, message, now)
    return _again(*_cool(one, now + timedelta(seconds=_within(retry_after)), code, message, now))


def denied(one: Standing, ref: LinkClass, status: int, now: datetime) -> Change:
    """The upstream refused the bytes of this file, which may be the file's fault or its link's: only when another file
    is refused too, and none came in between, it is the account. Its state is to be read, unless the file was refused
    already: however often somebody asks for it, that says nothing new."""
    if one.doubts_of(ref, now):
        return one, []
    doubts = sorted(((name, end) for name, end in one.doubts.items() if end > now), key=lambda pair: pair[1])
    doubts.append((_name(ref), now + timedelta(seconds=DOUBT_SECONDS)))
    one = msgspec.structs.replace(one, doubts=dict(doubts[-DOUBTS:]))
    if one.strikes == 0:
        return _again(msgspec.structs.replace(one, strikes=1), [])
    if not status:
        return strike(one, "no_bytes", "Links that the platform gave brought nothing.", now)
    return strike(one, f"http_{status}", f"The platform answered {status} when the file was fetched.", now)


def spent(one: Standing, read: int) -> Standing:
    """`read` bytes more. An account that may have nothing left is asked."""
    if one.state is None or one.state.traffic_left is None or read <= 0:
        return one
    left = max(0, one.state.traffic_left - read)
    state = msgspec.structs.replace(one.state, traffic_left=left)
    return msgspec.structs.replace(one, state=state, read_at=one.read_at if left else None)


def failed(one: Standing, error: HostError, file_platform: str, now: datetime) -> Change:
    """An account-level error. What the platform gives no time for and no login mends needs a person."""
    if one.broken:
        return one, []
    if error.narrow:
        until = now + timedelta(seconds=_within(error.retry_after or COOL_LONGEST))
        paused = {platform: end for platform, end in one.paused.items() if end > now} | {file_platform: until}
        return msgspec.structs.replace(one, paused=paused), [
            _cooled(one, until, error.code, error.message, now, file_platform)
        ]
    if error.exhausted:
        reset = one.state.reset_at if one.state is not None else None
        until = reset if reset is not None and reset > now else now + timedelta(seconds=_exhausted(error.retry_after))
        return _again(*_cool(one, until, error.code, error.message, now))
    if error.retry_after is not None:
        until = now + timedelta(seconds=_within(error.retry_after))
        return _cool(one, until, error.code, error.message, now)
    if error.renew:
        return strike(one, error.code, error.message, now)
    broken = HostAccountBroken(
        account_id=one.account_id, platform=one.platform, code=error.code, message=error.message, at=now
    )
    return msgspec.structs.replace(one, broken=True, cool_until=None, cool_reason=error.message), [broken]


def strike(one: Standing, code: str, message: str, now: datetime) -> Change:
    """Something went wrong that the platform has no words for; longer each time in a row. Of those who were under way
    meanwhile only the first counts."""
    if one.cool_until is not None and now < one.cool_until:
        return one, []
    seconds = min(COOL_FIRST * 2**one.strikes, COOL_LONGEST)
    after, events = _cool(one, now + timedelta(seconds=seconds), code, message, now)
    return _again(msgspec.structs.replace(after, strikes=min(one.strikes + 1, 16)), events)


def _again(one: Standing, events: list[Event]) -> Change:
    """With its state to be read as soon as possible."""
    return msgspec.structs.replace(one, read_at=None), events


def _name(ref: LinkClass) -> str:
    return f"{ref.platform}/{ref.file_ref}"


def _within(seconds: float) -> float:
    return min(max(seconds, COOL_LEAST), COOL_MOST)


def _exhausted(retry_after: float | None) -> float:
    return EXHAUSTED_SECONDS if retry_after is None else _within(retry_after)


def _cool(one: Standing, until: datetime, code: str, message: str, now: datetime) -> Change:
    """Of several at once the longest counts, and only what makes it longer by more than a moment is said."""
    if one.cool_until is not None and until <= one.cool_until + timedelta(seconds=COOL_LEAST):
        return one, []
    after = msgspec.structs.replace(one, cool_until=until, cool_reason=message)
    return after, [_cooled(one, until, code, message, now)]


def _cooled(
    one: Standing, until: datetime, code: str, message: str, now: datetime, only: str | None = None
) -> HostAccountCooled:
    return HostAccountCooled(
        account_id=one.account_id, platform=one.platform, only=only, code=code, message=message, until=until, at=now
    )


def accepted(one: Standing, since: datetime, now: datetime) -> Change:
    """Its operator asked, and its platform takes it: what it was out for is mended, as a captcha that was solved is.
    Nothing changes when its state could not be read `since` then, or is none that serves."""
    read = one.read_at is not None and one.read_at >= since and one.wait_until is None
    if one.cool_until is None or not read or one.state is None or not one.state.usable or one.left() == 0:
        return one, []
    after = msgspec.structs.replace(one, cool_until=None, cool_reason="", strikes=0, doubts={})
    return after, [HostAccountUsable(account_id=one.account_id, platform=one.platform, at=now)]


def recovered(one: Standing, now: datetime) -> Change:
    if not one.recovers(now):
        return one, []
    after = msgspec.structs.replace(one, cool_until=None, cool_reason="")
    return after, [HostAccountUsable(account_id=one.account_id, platform=one.platform, at=now)]
