"""What the unrestrict service accepts, announces and refuses: platforms, host accounts, classification of links."""

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


class UnknownPlatform(Refusal, tag="unrestrict_proxy.unknown_platform", kw_only=True, frozen=True):
    platform: str


class AccountNotFound(Refusal, tag="unrestrict_proxy.account_not_found", kw_only=True, frozen=True):
    account_id: UUID
