"""What a worker is asked beside its tickets."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from libs.message import Query, Refusal
from proto.job import Link


class InspectLink(Query, tag="worker.inspect", kw_only=True, frozen=True):
    """What is behind a link, without fetching it. Any worker may answer; the reply is a `LinkInfo`."""

    url: Link
    owner: UUID | None = None
    """With the cookies that this user has for the link's host."""


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of several films behind a link."""

    url: Link
    title: str | None = None


class LinkInfo(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """None and empty where the site does not say."""

    title: str | None = None
    duration: float | None = None
    """Seconds."""
    width: int | None = None
    height: int | None = None
    extractor: str | None = None
    uploader: str | None = None
    thumbnail: str | None = None
    description: str | None = None
    view_count: int | None = None
    like_count: int | None = None
    upload_date: Annotated[str, Meta(pattern=r"^\d{8}$")] | None = None
    filesize: Annotated[int, Meta(ge=0)] | None = None
    """Bytes, about."""
    live: bool = False
    entries: tuple[Entry, ...] = ()
    """Of a playlist, a channel, a show or a feed."""


class Uninspected(Refusal, tag="worker.uninspected", kw_only=True, frozen=True):
    """`code` is that of a job that would fail so; `timed_out` when the site took too long."""

    code: str
