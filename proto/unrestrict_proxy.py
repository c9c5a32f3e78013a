"""What the unrestrict service accepts, announces and refuses: platforms, host accounts, cookies, classification of
links."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from libs.message import Command, Event, Query, Refusal

Instant = Annotated[datetime, Meta(tz=True)]
Platform = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9_-]*$")]


class AddHostAccount(Command, tag="unrestrict_proxy.add_account", kw_only=True, frozen=True):
    """The secret is sealed before anything is stored; the event names the account and never holds it."""

    account_id: UUID
    platform: Platform
    username: Annotated[str, Meta(max_length=254)] = ""
    secret: Annotated[str, Meta(min_length=1, max_length=65536)]


class RemoveHostAccount(Command, tag="unrestrict_proxy.remove_account", kw_only=True, frozen=True):
    account_id: UUID


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


class HostAccountAdded(Event, tag="unrestrict_proxy.account_added", kw_only=True, frozen=True):
    account_id: UUID
    platform: str
    username: str
    at: Instant


class HostAccountRemoved(Event, tag="unrestrict_proxy.account_removed", kw_only=True, frozen=True):
    account_id: UUID
    platform: str
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


class UnknownPlatform(Refusal, tag="unrestrict_proxy.unknown_platform", kw_only=True, frozen=True):
    platform: str


class AccountNotFound(Refusal, tag="unrestrict_proxy.account_not_found", kw_only=True, frozen=True):
    account_id: UUID


class BadCookieDomain(Refusal, tag="unrestrict_proxy.bad_cookie_domain", kw_only=True, frozen=True):
    """What cookies are for is not the name of a host."""


class CookiesFull(Refusal, tag="unrestrict_proxy.cookies_full", kw_only=True, frozen=True):
    """One more would be above what a user may keep."""

    limit: int
