"""What every engine is: a function from one claimed link to files in a private work folder.

An engine never decides about retries, names or storage. Cancelling its task is the only way to stop it; on
cancellation it leaves what it has on disk in a state from which the same call resumes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from libs.egress.rate import Rate
from proto.job import EngineName, Failure, Options
from proto.storage import NOT_KEPT, About


class EngineFailed(Exception):
    """The attempt is over; `failure` says of which class, and the job aggregate decides what follows."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def not_kept(why: str) -> Failure:
    """As storage itself would say it of the finished file."""
    return Failure(kind="content", code=NOT_KEPT, message=why)


class Fetch(Struct, frozen=True, kw_only=True):
    """One attempt. `work` is private to the job, survives a crash and is the only place an engine may write."""

    job_id: UUID
    owner: UUID
    attempt: int
    url: str
    options: Options
    work: Path
    proxy: str
    """`http://job:token@127.0.0.1:port`, the only way out for foreign engines; it carries a secret."""
    known: frozenset[str] = frozenset()
    """Keys of items that this very job stored at an earlier attempt; they are not fetched again."""
    archive: Path | None = None
    """What the user has from other jobs, as `known.Archive` reads it, inside `work`; it is not fetched again either."""
    rate: Rate | None = None
    """What our own connections bring in is paced by this; those of others by the proxy."""
    allowed: frozenset[str] | None = None
    """Endings of files that are kept, None for all. What is none of them is refused before its bytes are asked for,
    as far as it is known by then."""
    cookies: Path | None = None
    """Netscape cookie file inside `work`, readable by us alone; it goes when the attempt ends."""


class FetchedFile(Struct, frozen=True, kw_only=True):
    """A finished file below `Fetch.work`. `name` is a hint from outside: storage sanitises it."""

    key: str
    """Stable identity of the item within the job, the same on every attempt."""
    site: str | None = None
    """As in `proto.job.StoredItem`; what only goes with an item has none."""
    about: About = About()
    """The site may be left to the worker, who knows the link."""
    path: Path
    name: str
    size: int
    sha256: str | None = None
    """Hex; None when the engine did not see the bytes, then the worker hashes the file."""
    media_type: str = "application/octet-stream"


class Observer(Protocol):
    """What the worker wants to know while an engine runs. Calls are cheap and never block the engine;
    throttling is the observer's business. `finished` returns after the file is stored."""

    def progress(
        self,
        *,
        done: int,
        total: int | None,
        speed: int = 0,
        eta: int | None = None,
        items_done: int = 0,
        items_total: int | None = None,
        current: str | None = None,
    ) -> None: ...

    async def resolved(
        self,
        *,
        title: str | None,
        total: int | None,
        items_total: int | None,
        description: str | None = None,
        release_date: str | None = None,
    ) -> None:
        """`release_date` as in 2026-01-31; it and the description are of one film, where its site has them."""
        ...

    async def processing(self) -> None: ...

    async def finished(self, file: FetchedFile) -> None: ...

    async def skipped(self, key: str) -> None: ...

    async def item_failed(self, key: str, failure: Failure) -> None: ...


class Engine(Protocol):
    name: EngineName

    async def fetch(self, fetch: Fetch, observer: Observer) -> None:
        """Return when every item is finished, skipped or failed; raise EngineFailed when the attempt is over."""
