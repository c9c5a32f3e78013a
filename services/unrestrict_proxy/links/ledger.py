"""The traffic of one user as a fold over its events. Pure: instants come with what is asked.

A link is charged when it is made and settled when it ends, so the sum of what is used and what is reserved never passes
the quota, however many ask at once: check and reservation are one event on one stream.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct, structs

from libs.message import Event, Refusal
from proto.unrestrict_proxy import (
    HostCapReached,
    TooManyAtOnce,
    Traffic,
    TrafficGranted,
    TrafficRefunded,
    TrafficReserved,
    TrafficSettled,
    TrafficShort,
)

WINDOW = timedelta(hours=24)
BUSY_SECONDS = 30
"""After which it is worth asking again for a platform on which the user has all links that he may have at once."""


class Charge(Struct, frozen=True, kw_only=True):
    """Bytes of one link: what is reserved while it is open, what it cost after that."""

    platform: str
    bytes: int
    at: datetime
    open: bool = True


class Ledger(Struct, frozen=True, kw_only=True):
    """`used` is the sum of what ended links cost. Ended charges stay for as long as they count in a window."""

    owner: UUID
    version: int = 0
    quota: int = 0
    host_daily: int = 0
    concurrent: int = 0
    used: int = 0
    charges: dict[str, Charge] = {}

    @property
    def reserved(self) -> int:
        return sum(one.bytes for one in self.charges.values() if one.open)

    @property
    def left(self) -> int:
        """Less than nothing is shown as nothing: an operator may lower a quota below what is used."""
        return max(0, self.quota - self.used - self.reserved)

    def host_used(self, platform: str, now: datetime) -> int:
        return sum(one.bytes for one in self._counting(platform, now))

    def _counting(self, platform: str, now: datetime) -> list[Charge]:
        """An open one counts for as long as it is open."""
        since = now - WINDOW
        return [one for one in self.charges.values() if one.platform == platform and (one.open or one.at > since)]

    def reading(self, now: datetime) -> Traffic:
        used = {one.platform: self.host_used(one.platform, now) for one in self.charges.values()}
        return Traffic(
            quota=self.quota,
            left=self.left,
            reserved=self.reserved,
            host_daily=self.host_daily,
            host_used={platform: count for platform, count in used.items() if count},
            concurrent=self.concurrent,
        )


def grant(
    ledger: Ledger, at: datetime, quota: int | None, host_daily: int | None, concurrent: int | None
) -> list[Event]:
    """None leaves a field as it is."""
    event = TrafficGranted(
        owner=ledger.owner,
        quota=ledger.quota if quota is None else quota,
        host_daily=ledger.host_daily if host_daily is None else host_daily,
        concurrent=ledger.concurrent if concurrent is None else concurrent,
        at=at,
    )
    same = (event.quota, event.host_daily, event.concurrent) == (ledger.quota, ledger.host_daily, ledger.concurrent)
    return [] if same and ledger.version else [event]


def reserve(ledger: Ledger, link_id: str, platform: str, size: int | None, at: datetime) -> list[Event] | Refusal:
    """What the link may cost is this user's to spend from now on. Without a size the link counts against what may be
    fetched at once, and its bytes are reserved by a second call when they are known; that call replaces the first."""
    before = ledger.charges.get(link_id)
    already = before.bytes if before is not None and before.open else 0
    wanted = size or 0
    left = ledger.quota - ledger.used - ledger.reserved + already
    if wanted > left or left <= 0:
        return TrafficShort(
            message="there is not enough traffic left for this file", needed=wanted, left=max(0, left - already)
        )
    if ledger.host_daily:
        over = ledger.host_used(platform, at) - already + wanted - ledger.host_daily
        if over > 0:
            return HostCapReached(
                message=f"the 24 hour limit of {platform} is reached",
                platform=platform,
                retry_after=_until_free(ledger, platform, over, at),
            )
    running = sum(one.open and one.platform == platform for one in ledger.charges.values())
    if before is None and ledger.concurrent and running >= ledger.concurrent:
        return TooManyAtOnce(
            message=f"too many files of {platform} at once",
            platform=platform,
            limit=ledger.concurrent,
            retry_after=BUSY_SECONDS,
        )
    if before is not None and before.open and before.bytes == wanted:
        return []
    return [TrafficReserved(owner=ledger.owner, link_id=link_id, platform=platform, bytes=wanted, at=at)]


def _until_free(ledger: Ledger, platform: str, over: int, now: datetime) -> int:
    """Seconds until charges of `over` bytes have left the window; a whole window when that can not be foreseen."""
    freed = 0
    for one in sorted(ledger.charges.values(), key=lambda one: one.at):
        if one.platform == platform and not one.open and one.at > now - WINDOW:
            freed += one.bytes
            if freed >= over:
                return max(1, int((one.at + WINDOW - now).total_seconds()) + 1)
    return int(WINDOW.total_seconds())


def settle(ledger: Ledger, link_id: str, read: int, at: datetime) -> list[Event]:
    """Bytes that were really read, and never more than what was reserved: what an account reads twice because a
    connection broke is not the user's loss. Of a file whose size nobody said it is what is left at the most."""
    charge = ledger.charges.get(link_id)
    if charge is None or not charge.open:
        return []
    cost = min(read, charge.bytes or _unforeseen(ledger, charge.platform, at))
    return [TrafficSettled(owner=ledger.owner, link_id=link_id, platform=charge.platform, bytes=cost, at=at)]


def _unforeseen(ledger: Ledger, platform: str, at: datetime) -> int:
    if not ledger.host_daily:
        return ledger.left
    return min(ledger.left, max(0, ledger.host_daily - ledger.host_used(platform, at)))


def refund(ledger: Ledger, link_id: str, at: datetime) -> list[Event]:
    charge = ledger.charges.get(link_id)
    if charge is None or not charge.open:
        return []
    return [TrafficRefunded(owner=ledger.owner, link_id=link_id, platform=charge.platform, bytes=charge.bytes, at=at)]


def evolve(ledger: Ledger, event: Event) -> Ledger:
    ledger = structs.replace(ledger, version=ledger.version + 1)
    match event:
        case TrafficGranted():
            return structs.replace(ledger, quota=event.quota, host_daily=event.host_daily, concurrent=event.concurrent)
        case TrafficReserved():
            charge = Charge(platform=event.platform, bytes=event.bytes, at=event.at)
            return structs.replace(ledger, charges={**_recent(ledger, event.at), event.link_id: charge})
        case TrafficSettled():
            charge = structs.replace(ledger.charges[event.link_id], bytes=event.bytes, open=False)
            return structs.replace(
                ledger,
                used=ledger.used + event.bytes,
                charges={**_recent(ledger, event.at), event.link_id: charge},
            )
        case TrafficRefunded():
            charges = {link: one for link, one in _recent(ledger, event.at).items() if link != event.link_id}
            return structs.replace(ledger, charges=charges)
    return ledger


def _recent(ledger: Ledger, now: datetime) -> dict[str, Charge]:
    return {link: one for link, one in ledger.charges.items() if one.open or one.at > now - WINDOW}
