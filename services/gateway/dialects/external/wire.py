"""Their spelling: `maxChunks` of a host, `maxchunks` of a link, a size that is a number here and text there."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, field

from libs.message import repr_without


class Unrestrict(Struct, frozen=True):
    url: Annotated[str, Meta(min_length=1, max_length=8192)]
    password: Annotated[str, Meta(max_length=255)] | None = None

    def __repr__(self) -> str:
        return repr_without(self, "password")


class Account(Struct, frozen=True, kw_only=True):
    """Bytes, but for the last two."""

    account_type: str = field(name="accountType")
    trafficleft: int
    trafficmax: int
    trafficmax_daily: int
    timeleft: int | None
    """Seconds; null without an end."""
    login_check_interval: int
    """Milliseconds."""


class Host(Struct, frozen=True, kw_only=True):
    host: str
    max_chunks: int = field(name="maxChunks")
    max_downloads: int = field(name="maxDownloads")
    resumable: bool
    currently_working: bool
    trafficleft: int | UnsetType = UNSET
    """Bytes; absent when unknown, because clients take 0 for used up."""
    trafficmax_daily: int
    """Bytes; 0 when unknown."""


class GroupedHost(Struct, frozen=True, kw_only=True):
    platform: str
    host: str
    domains: list[str]
    max_chunks: int = field(name="maxChunks")
    max_downloads: int = field(name="maxDownloads")
    resumable: bool
    currently_working: bool
    trafficleft: int | UnsetType = UNSET
    trafficmax_daily: int


class Hosts(Struct, frozen=True, kw_only=True):
    supportedhosts: list[Host] | list[GroupedHost]
    updated_at: int
    """Epoch milliseconds."""


class Link(Struct, frozen=True, kw_only=True):
    link_id: str = field(name="linkId")
    download_ready: bool
    remote_status: str
    link: str | None
    filename: str
    filesize: str
    """Digits; "0" until it is known."""
    host_domain: str | UnsetType = field(name="hostDomain", default=UNSET)
    """Of an answer to `unrestrict` alone, as `reused_existing`."""
    maxchunks: int
    resumable: bool
    poll_after_seconds: int
    reused_existing: bool | UnsetType = field(name="reusedExisting", default=UNSET)
    progress_percent: float | UnsetType = UNSET
    """Ours, while it is fetched and where it is known; so is `eta_seconds`."""
    eta_seconds: int | UnsetType = UNSET


class Problem(Struct, frozen=True, kw_only=True):
    success: bool = False
    status: int
    msg: str
    retry_in_seconds: int | UnsetType = UNSET
