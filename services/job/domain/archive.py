"""What an owner has already: the items that their sites name, by site and key."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit
from uuid import UUID

from msgspec import Struct

from libs.message import Event
from proto.job import (
    JobFilesDeleted,
    JobItemCompleted,
    StoredItem,
)
from services.job.domain.job import Job


class Archived(Struct, frozen=True, kw_only=True):
    """A stored file of an item that its site names, or one that was given up (`stored` false)."""

    owner: UUID
    site: str
    key: str
    file_id: UUID
    host: str
    """Of the link through which it was found."""
    stored: bool


def archived(job: Job, events: Sequence[Event]) -> list[Archived]:
    """What `events`, decided on `job`, change in its owner's archive. Only what is stored counts."""
    changes: list[tuple[StoredItem, bool]] = []
    for event in events:
        if isinstance(event, JobItemCompleted):
            changes.append((event.item, True))
        elif isinstance(event, JobFilesDeleted):
            given_up = frozenset(event.file_ids)
            changes += [(item, False) for item in job.items.values() if item.file_id in given_up]
    return [
        Archived(
            owner=job.owner,
            site=item.site,
            key=item.key,
            file_id=item.file_id,
            host=plain_host(job.url),
            stored=stored,
        )
        for item, stored in changes
        if item.site is not None
    ]


def plain_host(url: str) -> str:
    """The link's host without `www.` or `m.`, so that a site's desktop and mobile addresses count as one."""
    return (urlsplit(url).hostname or "").removeprefix("www.").removeprefix("m.")
