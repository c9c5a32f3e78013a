"""Circuit breaker of a platform: after failures in a row nobody asks it for a while, then one does. Pure.

A way is from the platform of the accounts to the platform of the files: both are the same for all that a platform does,
they differ where a multihost service has trouble with one host alone.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import msgspec
from msgspec import Struct

from libs.message import Event
from proto.unrestrict_proxy import BreakerClosed, BreakerOpened

FAILURES = 3
OPEN_FIRST = 30.0
OPEN_LONGEST = 900.0
"""Seconds; twice as long after each probe that failed. A platform that says how long is believed up to the longest."""
PROBE_SECONDS = 60.0
"""After which a probe that told nothing is given to another."""


class Way(Struct, frozen=True):
    """From accounts of the platform `via` to files of `platform`. `bytes` are counted apart from `calls`: an interface
    that gives links to a dead server would look well after each link."""

    via: str
    platform: str
    what: Literal["calls", "bytes"] = "calls"


class Breaker(Struct, frozen=True, kw_only=True):
    """`failures` in a row. With `open_until` it is open, and half open from then on; `probe_until` while one asks."""

    way: Way
    failures: int = 0
    open_until: datetime | None = None
    probe_until: datetime | None = None

    def admits(self, now: datetime) -> Literal["all", "one", "none"]:
        if self.open_until is None:
            return "all"
        if now < self.open_until or (self.probe_until is not None and now < self.probe_until):
            return "none"
        return "one"


Change = tuple[Breaker, list[Event]]


def failed(one: Breaker, reason: str, retry_after: float | None, now: datetime) -> Change:
    """Failures of those who were under way when it opened change nothing."""
    if one.open_until is not None and now < one.open_until:
        return one, []
    failures = one.failures + 1
    after = msgspec.structs.replace(one, failures=failures, probe_until=None)
    if failures < FAILURES:
        return after, []
    seconds = min(max(OPEN_FIRST * 2 ** min(failures - FAILURES, 10), retry_after or 0.0), OPEN_LONGEST)
    until = now + timedelta(seconds=seconds)
    way = one.way
    event = BreakerOpened(via=way.via, platform=way.platform, what=way.what, reason=reason, until=until, at=now)
    return msgspec.structs.replace(after, open_until=until), [event]


def worked(one: Breaker, now: datetime) -> Change:
    after = Breaker(way=one.way)
    closed = BreakerClosed(via=one.way.via, platform=one.way.platform, what=one.way.what, at=now)
    return after, [closed] if one.open_until is not None else []
