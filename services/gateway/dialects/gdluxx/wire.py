"""Their spelling."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


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
