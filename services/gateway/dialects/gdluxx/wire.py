"""Their spelling."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType


class External(Struct, frozen=True, rename="camel"):
    """The origin judges each field for itself, so nothing here is typed more tightly than that."""

    url_to_process: Any = None
    urls: Any = None
    custom_directory: Any = None
    site_directory: Any = None
    fallback_urls: Any = None


class Result(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    url: str
    success: bool
    job_id: str | None = None
    message: str | None = None
    error: str | None = None


class Submission(Struct, frozen=True, kw_only=True, rename="camel"):
    overall_success: bool
    results: list[Result]


class Job(Struct, frozen=True, kw_only=True, rename="camel"):
    id: str
    url: str
    status: str
    start_time: int
    """Epoch milliseconds."""
    download_count: int
    skip_count: int
    end_time: int | None = None
    exit_code: int | None = None
    waiting_for: str | UnsetType = UNSET
    """Ours: why it is not begun, and until when at the least (epoch milliseconds)."""
    waiting_until: int | UnsetType = UNSET


class Cookie(Struct, frozen=True, kw_only=True, rename="camel"):
    """An empty name is one."""

    name: Annotated[str, Meta(max_length=4096)]
    value: Annotated[str, Meta(max_length=8192)]
    domain: Annotated[str, Meta(min_length=1, max_length=255)]
    path: Annotated[str, Meta(max_length=2048)] = "/"
    secure: bool
    http_only: bool
    host_only: bool | None = None
    same_site: Literal["no_restriction", "lax", "strict", "unspecified"] | None = None
    session: bool | None = None
    expiration_date: Annotated[float, Meta(ge=0)] | None = None
    """Unix seconds."""


class CookieUpsert(Struct, frozen=True, kw_only=True, rename="camel"):
    domain: Annotated[str, Meta(min_length=1, max_length=255)]
    cookies: Annotated[list[Cookie], Meta(max_length=200)]
    synced_by: str | None = None


class CookieDomain(Struct, frozen=True, kw_only=True, rename="camel"):
    domain: str
    cookie_count: int
    expired_count: int
    earliest_expiry: float | None
    """Unix seconds, unlike every other time of theirs."""
    synced_by: str | None
    updated_at: int


class CookieBackup(Struct, frozen=True, kw_only=True, rename="camel"):
    has_backup: bool
    domains: list[CookieDomain]
    domain_count: int
    cookie_count: int
    synced_by: str | None
    updated_at: int | None


class Backup(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    has_backup: bool
    bundle: Raw
    profile_count: int
    synced_by: str | None
    updated_at: int | None
    skipped: Any = None
    tolerated: Any = None
