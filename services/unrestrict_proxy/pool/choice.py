"""Which accounts may serve a file, in which order they are asked, and what an upstream's answer says of them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

from services.unrestrict_proxy.pool.standing import Standing

Origin = Literal["native", "operator", "multihost"]
"""Why an account serves a file: it is of its platform, an operator named the domain, its live list has it."""

_ORDER: dict[Origin, int] = {"native": 0, "operator": 1, "multihost": 2}
RETRY_SECONDS = 300.0
"""When nobody knows when an account is usable again."""


MEDIA = frozenset(
    {
        "bilibili.com",
        "dailymotion.com",
        "facebook.com",
        "instagram.com",
        "soundcloud.com",
        "tiktok.com",
        "twitch.tv",
        "twitter.com",
        "vimeo.com",
        "x.com",
        "youtu.be",
        "youtube.com",
    }
)
"""Some multihost services list these too. They are no file hosts: other engines fetch them, in the quality and with the
subtitles that were asked for. Only an operator who names one sends it through an account."""


class Candidate(Struct, frozen=True, kw_only=True):
    """`leases` that it has now; `prepared`: it has a link to the file already, or the platform makes one for it;
    `doubtful`: it was refused the file's bytes lately."""

    standing: Standing
    origin: Origin
    slots: int
    leases: int
    prepared: bool = False
    doubtful: bool = False

    @property
    def account_id(self) -> UUID:
        return self.standing.account_id


def origin(
    *,
    native: bool,
    multihost: bool,
    allowed: Collection[str],
    live: Collection[str],
    domains: Iterable[str],
) -> Origin | None:
    """`domains` are those of the file's platform. What the operator named (`allowed`) goes before the service's own
    list of hosts (`live`), and takes its place."""
    if native:
        return "native"
    if allowed:
        named = any(domain in allowed for domain in domains)
        if not named:
            return None
        return "multihost" if multihost else "operator"
    listed = any(domain in live and domain not in MEDIA for domain in domains)
    return "multihost" if multihost and listed else None


def ranked(candidates: Iterable[Candidate], domains: Collection[str]) -> list[Candidate]:
    """Who was refused this very file comes last. The platform's own accounts first: links through others cost a share
    of a common limit. Among equals who has the link already, then who has most traffic left, then who has fewest
    leases. Unknown traffic comes behind any that is known: known traffic is known not to be used up."""

    def key(one: Candidate) -> tuple[object, ...]:
        left = one.standing.left(domains)
        return (
            one.doubtful,
            _ORDER[one.origin],
            not one.prepared,
            left is None,
            -(left or 0),
            one.leases,
            one.account_id,
        )

    return sorted(candidates, key=key)


def retry_after(standings: Iterable[Standing], platform: str, domains: Collection[str], now: datetime) -> float:
    """Seconds until the first of them may be usable."""
    times = [end for one in standings if (end := one.free_at(now, platform, domains)) is not None]
    return max((min(times) - now).total_seconds(), 1.0) if times else RETRY_SECONDS


Blame = Literal["nobody", "link", "account", "access", "host"]

OF_FILE = frozenset({"wrong_length", "wrong_range", "keeps_changing", "compressed"})
"""Why bytes were not taken that an account was given: no other file of its would fail so."""


def blame(status: int | None, read: int, reason: str = "") -> Blame:
    """What the answer to asking for bytes says. `access` may be a link that is over or an account that is: the link is
    forgotten at once, and with another file that fares the same it is the account. A connection that broke after
    `read` bytes says nothing but that another link is worth a try; one that brought none may do so for this account
    alone, unless the `reason` is another."""
    if status is None or 200 <= status < 400:
        return "nobody"
    if status in {429, 509}:
        return "account"
    if status in {401, 402, 403} or (status == 0 and not read and reason not in OF_FILE):
        return "access"
    if status >= 500:
        return "host"
    return "link"
