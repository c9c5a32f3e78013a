"""What the unrestrict service accepts, announces and refuses: platforms, host accounts, links to files of file hosts,
the traffic that they cost, cookies."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from libs.message import Command, Event, Query, Refusal, repr_without
from proto.job import Dialect

Instant = Annotated[datetime, Meta(tz=True)]
Platform = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9_-]*$")]
Bytes = Annotated[int, Meta(ge=0)]
Domain = Annotated[str, Meta(min_length=1, max_length=253)]
LinkId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{22}$")]
"""128 random bits, base64url: it is all that a download needs to know."""
LinkState = Literal["pending", "downloading", "done", "error", "expired"]
"""`done` only when the whole file is kept here; `expired` when it is kept no more."""


# ---- commands and queries: accounts ---------------------------------------------------------------------------


class AddHostAccount(Command, tag="unrestrict_proxy.add_account", kw_only=True, frozen=True):
    """The secret is sealed before anything is stored; the event names the account and never holds it. Of an account
    that is there already the secret is replaced, and what else is given. The reply is a `KeptHostAccount`."""

    account_id: UUID
    platform: Platform
    username: Annotated[str, Meta(max_length=254)] = ""
    secret: Annotated[str, Meta(min_length=1, max_length=65536)]
    domains: Annotated[tuple[Domain, ...], Meta(max_length=200)] = ()
    """What a generic host serves; what a multihost account is limited to, empty for all."""
    base_url: Annotated[str, Meta(max_length=2048)] | None = None
    """Where the platform's interface is spoken, when not at its own address."""
    slots: Annotated[int, Meta(ge=1, le=256)] | None = None
    max_chunks: Annotated[int, Meta(ge=1, le=256)] | None = None
    """What the operator allows; None is what the platform does."""

    def __repr__(self) -> str:
        return repr_without(self, "secret")


class KeptHostAccount(Struct, frozen=True, kw_only=True):
    """`replaced`: it was there already, under this id."""

    account_id: UUID
    replaced: bool


class RemoveHostAccount(Command, tag="unrestrict_proxy.remove_account", kw_only=True, frozen=True):
    account_id: UUID


class CheckHostAccount(Command, tag="unrestrict_proxy.check_account", kw_only=True, frozen=True):
    """Ask the platform for the account's state now, also of one that was given up as broken; the reply is a
    `HostAccount`. What the platform answers is in it; nothing is refused for that."""

    account_id: UUID


class ListHostAccounts(Query, tag="unrestrict_proxy.accounts", kw_only=True, frozen=True):
    """The reply is a JSON list of `HostAccount`, by platform and then by age."""


class HostAccount(Struct, frozen=True, kw_only=True):
    """All that is shown of an account; its secret never is. Bytes; None is unknown."""

    account_id: UUID
    platform: str
    username: str
    domains: tuple[str, ...]
    base_url: str | None
    standing: Literal["unread", "usable", "cooling", "unusable", "broken"]
    """`cooling` until `until`; `unusable` while the platform says so; `broken` until its operator acts."""
    until: Instant | None
    reason: str
    premium_until: Instant | None
    traffic_left: int | None
    traffic_total: int | None
    slots: int
    leases: int
    """Slots that are taken now."""
    read_at: Instant | None
    added_at: Instant


# ---- cookies --------------------------------------------------------------------------------------------------


class Cookie(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One that a browser held. `domain` is as the browser has it; with `host_only` it goes to that very host alone."""

    name: Annotated[str, Meta(max_length=4096)]
    value: Annotated[str, Meta(max_length=8192)]
    domain: Annotated[str, Meta(min_length=1, max_length=255)]
    path: Annotated[str, Meta(max_length=2048)] = "/"
    secure: bool = False
    host_only: bool = False
    expires: Annotated[float, Meta(ge=0)] | None = None
    """Unix seconds; None lasts as long as it is kept here."""

    def __repr__(self) -> str:
        return f"Cookie(domain={self.domain!r})"


class PutCookies(Command, tag="unrestrict_proxy.put_cookies", kw_only=True, frozen=True):
    """Replaces all that this user has for this domain. They are sealed before anything is stored."""

    owner: UUID
    domain: Annotated[str, Meta(min_length=1, max_length=255)]
    cookies: Annotated[tuple[Cookie, ...], Meta(max_length=200)]
    synced_by: Annotated[str, Meta(max_length=200)] | None = None


class RemoveCookies(Command, tag="unrestrict_proxy.remove_cookies", kw_only=True, frozen=True):
    """Of one domain, or with None of all; the result says whether there were any."""

    owner: UUID
    domain: Annotated[str, Meta(max_length=255)] | None = None


class ListCookieDomains(Query, tag="unrestrict_proxy.cookie_domains", kw_only=True, frozen=True):
    """What is known of a user's cookies without opening them; the reply is a JSON list of `CookieDomain` by name."""

    owner: UUID


class CookieDomain(Struct, frozen=True, kw_only=True):
    domain: str
    cookies: int
    expired: int
    earliest_expiry: float | None
    """Unix seconds, of those that have not expired."""
    synced_by: str | None
    updated_at: Instant


class ReadCookies(Query, tag="unrestrict_proxy.cookies", kw_only=True, frozen=True):
    """For a worker alone: what this user's browser would send to this host, and to those below it of the same domain;
    the reply is a JSON list of `Cookie`, without any that have expired."""

    owner: UUID
    host: Annotated[str, Meta(min_length=1, max_length=255)]


# ---- links ----------------------------------------------------------------------------------------------------


class UnrestrictLink(Command, tag="unrestrict_proxy.unrestrict", kw_only=True, frozen=True):
    """Have the file behind a file host's link fetched and kept for this user; the reply is `Unrestricted`.

    A link of the same user to the same file that is live or done is answered again, and nothing is charged. Otherwise
    name and size are asked for, the size is reserved of the user's traffic, and the fetch begins as a job.
    """

    owner: UUID
    url: Annotated[str, Meta(min_length=1, max_length=8192)]
    password: Annotated[str, Meta(max_length=255)] | None = None
    """Of the file. It is sealed where it is kept."""
    dialect: Dialect = "external"

    def __repr__(self) -> str:
        return repr_without(self, "password")


class HostLink(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A user's link to one file. `size` is None until the platform said it."""

    link_id: LinkId
    owner: UUID
    job_id: UUID
    platform: str
    host: str
    """The domain of the link as it was given."""
    name: str
    size: Bytes | None
    state: LinkState
    requested_at: Instant
    max_chunks: int
    resumable: bool
    ready: bool = False
    """Its bytes can be fetched: of a `done` link, and where the operator wants so of one that is downloading."""
    file_id: UUID | None = None
    sha256: str | None = None
    progress: float | None = None
    """Percent; None unless it is downloading and the size is known."""
    eta: int | None = None
    """Seconds."""
    status: int | None = None
    """Why it is `error`: a number of the `external` dialect's table."""


class Unrestricted(Struct, frozen=True, kw_only=True):
    link: HostLink
    reused: bool


class ReadLink(Query, tag="unrestrict_proxy.link", kw_only=True, frozen=True):
    """The reply is a `HostLink`. A link of another owner is answered as absent."""

    owner: UUID
    link_id: LinkId


class OpenLink(Command, tag="unrestrict_proxy.open", kw_only=True, frozen=True):
    """A worker holds an attempt on a file host's link and wants its bytes. The reply is `Opened`, or `NotYet` while the
    platform prepares the file. What the fetch costs is reserved here when nobody has done so before."""

    owner: UUID
    job_id: UUID
    attempt: Annotated[int, Meta(ge=1)]
    url: Annotated[str, Meta(min_length=1, max_length=8192)]
    have: Bytes = 0
    """How much of the file the worker has on disk. Where that is more than was ever reported as read, an earlier worker
    was killed before it could report, and the difference is charged now."""


class Opened(Struct, frozen=True, kw_only=True, tag="opened"):
    """A right to fetch, on one slot of one account, for as long as it is kept. `headers` and `url` are secret."""

    lease_id: UUID
    url: str
    headers: dict[str, str]
    name: str | None
    size: Bytes | None
    max_chunks: int
    resumable: bool
    keep_every: float
    """Seconds; a lease that is not kept for much longer goes to another."""
    early: bool = False
    """What comes is served already: whoever fetches it tells how far it is (libs/growth.py), and hears of `Awaited`."""

    def __repr__(self) -> str:
        return f"Opened(lease_id={self.lease_id!r}, name={self.name!r}, size={self.size!r})"


class Awaited(Struct, frozen=True, kw_only=True, tag_field="type", tag="unrestrict_proxy.awaited"):
    """Published on `ctl.link.<job>` every second while somebody who is served early waits for this byte."""

    job_id: UUID
    at: Bytes


class NotYet(Struct, frozen=True, kw_only=True, tag="not_yet"):
    after: float
    """Seconds until it is worth asking again."""
    fraction: float | None = None


class KeepLease(Command, tag="unrestrict_proxy.keep_lease", kw_only=True, frozen=True):
    """`read` is all bytes that came from upstream under this lease. The reply is false when it is another's by now."""

    lease_id: UUID
    read: Bytes


class CloseLease(Command, tag="unrestrict_proxy.close_lease", kw_only=True, frozen=True):
    """The slot is free again. With `status` the upstream answered so when the bytes were asked for (an HTTP status, 0
    for a broken connection or a wrong body), and named so many seconds to wait: the pool judges whether the account or
    the link is to blame."""

    lease_id: UUID
    read: Bytes
    status: Annotated[int, Meta(ge=0, le=599)] | None = None
    reason: Annotated[str, Meta(max_length=500)] = ""
    retry_after: Annotated[int, Meta(ge=0, le=604800)] | None = None


# ---- traffic --------------------------------------------------------------------------------------------------


class ReadTraffic(Query, tag="unrestrict_proxy.traffic", kw_only=True, frozen=True):
    """The reply is `Traffic`."""

    owner: UUID


class Traffic(Struct, frozen=True, kw_only=True):
    """Bytes. `left` is what is neither used nor reserved; `host_daily` is the cap of one platform in 24 hours, 0 for
    none, and `host_used` what counts against it now, by platform."""

    quota: Bytes
    left: Bytes
    reserved: Bytes
    host_daily: Bytes
    host_used: dict[str, Bytes]
    concurrent: Annotated[int, Meta(ge=0)]
    """Links of one platform that may be fetched at once, 0 for no limit."""


class SetTraffic(Command, tag="unrestrict_proxy.set_traffic", kw_only=True, frozen=True):
    """What an operator grants a user; a field that is None stays as it is. The reply is `Traffic`."""

    owner: UUID
    quota: Bytes | None = None
    """All that was ever granted, in bytes: what was used stays used."""
    host_daily: Bytes | None = None
    concurrent: Annotated[int, Meta(ge=0, le=1000)] | None = None


class ReadTrafficHistory(Query, tag="unrestrict_proxy.traffic_history", kw_only=True, frozen=True):
    """Newest first; the reply is a JSON list of `TrafficEntry`."""

    owner: UUID
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    before: int | None = None
    """A `TrafficEntry.position`."""


class TrafficEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    position: int
    at: Instant
    kind: Literal["granted", "reserved", "settled", "refunded"]
    bytes: int
    link_id: str | None = None
    platform: str | None = None
    name: str | None = None


# ---- hosts and platforms --------------------------------------------------------------------------------------


class ListHosts(Query, tag="unrestrict_proxy.hosts", kw_only=True, frozen=True):
    """What links may be given, one row a platform; the reply is a JSON list of `HostInfo`."""


class HostInfo(Struct, frozen=True, kw_only=True):
    """A platform that has at least one account. Bytes over all its accounts; None is unknown, never zero."""

    platform: str
    name: str
    domains: tuple[str, ...]
    """The first is the canonical one."""
    max_chunks: int
    max_downloads: int
    resumable: bool
    working: bool
    traffic_left: Bytes | None
    traffic_total: Bytes | None
    updated_at: Instant


class ClassifyLinks(Query, tag="unrestrict_proxy.classify", kw_only=True, frozen=True):
    """Which platform, if any, each link belongs to; the reply is a JSON list of `LinkClass | null` in order."""

    urls: Annotated[tuple[str, ...], Meta(max_length=10000)]


class LinkClass(Struct, frozen=True, kw_only=True):
    platform: str
    file_ref: str
    """Canonical id of the file on the platform: alias domains collapse to one."""


class ListPlatforms(Query, tag="unrestrict_proxy.platforms", kw_only=True, frozen=True):
    """The reply is a JSON list of `PlatformInfo`."""


class PlatformInfo(Struct, frozen=True, kw_only=True):
    platform: str
    name: str
    domains: tuple[str, ...]
    accounts: int


# ---- events ---------------------------------------------------------------------------------------------------


class HostAccountAdded(Event, tag="unrestrict_proxy.account_added", kw_only=True, frozen=True):
    account_id: UUID
    platform: str
    username: str
    at: Instant


class HostAccountRenewed(Event, tag="unrestrict_proxy.account_renewed", kw_only=True, frozen=True):
    """Its operator gave it another secret; whatever was refused before is forgotten."""

    account_id: UUID
    platform: str
    at: Instant


class HostAccountRemoved(Event, tag="unrestrict_proxy.account_removed", kw_only=True, frozen=True):
    account_id: UUID
    platform: str
    at: Instant


class HostAccountRead(Event, tag="unrestrict_proxy.account_read", kw_only=True, frozen=True):
    """What the platform says of it, when that is not what it said before. Bytes; None is unknown."""

    account_id: UUID
    platform: str
    usable: bool
    reason: str
    premium_until: Instant | None
    traffic_left: int | None
    traffic_total: int | None
    reset_at: Instant | None
    at: Instant


class HostAccountCooled(Event, tag="unrestrict_proxy.account_cooled", kw_only=True, frozen=True):
    """It is not asked until then; with `only` for files of this platform alone. `code` is the platform's own word."""

    account_id: UUID
    platform: str
    only: str | None
    code: str
    message: str
    until: Instant
    at: Instant


class HostAccountUsable(Event, tag="unrestrict_proxy.account_usable", kw_only=True, frozen=True):
    """An account that was cooling or broken can be asked again."""

    account_id: UUID
    platform: str
    at: Instant


class HostAccountBroken(Event, tag="unrestrict_proxy.account_broken", kw_only=True, frozen=True):
    """The platform does not take it, and waiting will not help: its operator must look."""

    account_id: UUID
    platform: str
    code: str
    message: str
    at: Instant


class BreakerOpened(Event, tag="unrestrict_proxy.breaker_opened", kw_only=True, frozen=True):
    """A platform failed too often in a row: accounts of the platform `via` are not asked for files of `platform` before
    `until`. The two are the same where all of `via` failed, and differ where a multihost service had trouble with one
    host. `what` failed: `calls` of its interface, or `bytes` from the servers that its links lead to."""

    via: str
    platform: str
    what: Literal["calls", "bytes"]
    reason: str
    until: Instant
    at: Instant


class BreakerClosed(Event, tag="unrestrict_proxy.breaker_closed", kw_only=True, frozen=True):
    via: str
    platform: str
    what: Literal["calls", "bytes"]
    at: Instant


class LinkRequested(Event, tag="unrestrict_proxy.link_requested", kw_only=True, frozen=True):
    """`url` is as it was given. The job that fetches it is submitted by who hears this for a `dialect`; without one a
    job came upon the link."""

    link_id: LinkId
    owner: UUID
    job_id: UUID
    url: str
    platform: str
    file_ref: str
    host: str
    name: str
    size: Bytes | None
    max_chunks: int
    resumable: bool
    at: Instant
    dialect: Dialect | None = None


class LinkStored(Event, tag="unrestrict_proxy.link_stored", kw_only=True, frozen=True):
    """The whole file is kept here."""

    link_id: LinkId
    owner: UUID
    job_id: UUID
    file_id: UUID
    name: str
    size: Bytes
    sha256: str
    at: Instant


class LinkFailed(Event, tag="unrestrict_proxy.link_failed", kw_only=True, frozen=True):
    link_id: LinkId
    owner: UUID
    status: int
    """As in the `external` dialect's table."""
    message: str
    at: Instant


class LinkExpired(Event, tag="unrestrict_proxy.link_expired", kw_only=True, frozen=True):
    """Its file is kept no more."""

    link_id: LinkId
    owner: UUID
    at: Instant


class TrafficGranted(Event, tag="unrestrict_proxy.traffic_granted", kw_only=True, frozen=True):
    owner: UUID
    quota: Bytes
    host_daily: Bytes
    concurrent: int
    at: Instant


class TrafficReserved(Event, tag="unrestrict_proxy.traffic_reserved", kw_only=True, frozen=True):
    """Check and reservation are this one event: it is only there when there was enough."""

    owner: UUID
    link_id: LinkId
    platform: str
    bytes: Bytes
    at: Instant


class TrafficSettled(Event, tag="unrestrict_proxy.traffic_settled", kw_only=True, frozen=True):
    """`bytes` were really read from upstream; what was reserved beyond them is free again."""

    owner: UUID
    link_id: LinkId
    platform: str
    bytes: Bytes
    at: Instant


class TrafficRefunded(Event, tag="unrestrict_proxy.traffic_refunded", kw_only=True, frozen=True):
    """The fetch failed: all that was reserved is free again."""

    owner: UUID
    link_id: LinkId
    platform: str
    bytes: Bytes
    at: Instant


class CookiesPut(Event, tag="unrestrict_proxy.cookies_put", kw_only=True, frozen=True):
    """How many, never which."""

    owner: UUID
    domain: str
    cookies: int
    at: Instant


class CookiesRemoved(Event, tag="unrestrict_proxy.cookies_removed", kw_only=True, frozen=True):
    owner: UUID
    domains: tuple[str, ...]
    at: Instant


# ---- refusals -------------------------------------------------------------------------------------------------


class UnknownPlatform(Refusal, tag="unrestrict_proxy.unknown_platform", kw_only=True, frozen=True):
    platform: str


class BadHostAccount(Refusal, tag="unrestrict_proxy.bad_account", kw_only=True, frozen=True):
    """What was told of an account does not fit its platform; `field` is which part."""

    field: Literal["domains", "username", "secret", "base_url"]


class AccountNotFound(Refusal, tag="unrestrict_proxy.account_not_found", kw_only=True, frozen=True):
    account_id: UUID


class BadCookieDomain(Refusal, tag="unrestrict_proxy.bad_cookie_domain", kw_only=True, frozen=True):
    """What cookies are for is not the name of a host."""


class CookiesFull(Refusal, tag="unrestrict_proxy.cookies_full", kw_only=True, frozen=True):
    """One more would be above what a user may keep."""

    limit: int


class UnsupportedLink(Refusal, tag="unrestrict_proxy.unsupported_link", kw_only=True, frozen=True):
    """101: not a link to a file of a platform that there is an account for."""


class HostRefused(Refusal, tag="unrestrict_proxy.host_refused", kw_only=True, frozen=True):
    """The platform, or the pool of accounts on it, said no."""

    status: Literal[102, 103, 104, 105, 106, 107]
    retry_after: int | None = None
    """Seconds."""


class TrafficShort(Refusal, tag="unrestrict_proxy.traffic_short", kw_only=True, frozen=True):
    """52: the user has less left than the file takes. Bytes."""

    needed: Bytes
    left: Bytes


class HostCapReached(Refusal, tag="unrestrict_proxy.host_cap_reached", kw_only=True, frozen=True):
    """54: the user's cap of this platform in 24 hours."""

    platform: str
    retry_after: int
    """Seconds until enough of the window has passed."""


class TooManyAtOnce(Refusal, tag="unrestrict_proxy.too_many_at_once", kw_only=True, frozen=True):
    """55: the user's links of this platform that are fetched now."""

    platform: str
    limit: int
    retry_after: int


class LinkNotFound(Refusal, tag="unrestrict_proxy.link_not_found", kw_only=True, frozen=True):
    link_id: str
