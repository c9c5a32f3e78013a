"""What an attempt takes along: the user's cookies, and what the user has of the site already."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from proto.job import ArchivePage, Claimed, Failure, ListArchived
from proto.unrestrict_proxy import Cookie, ReadCookies
from services.job.engines import EngineFailed, known
from services.job.worker import cookies
from services.job.worker.reporting import Reporter

COOKIES_SECONDS = 30.0
"""How long cookies are asked for while their owner is away; without them a site may say what is not so."""
ARCHIVE_SECONDS = 30.0
"""How long a page of the archive is asked for; without it what the user has would be fetched again."""


@asynccontextmanager
async def cookie_file(claimed: Claimed, reporter: Reporter, url: str, work: Path) -> AsyncIterator[Path | None]:
    """What the user synced for the link's host, in a file that goes however the attempt ends."""
    host = urlsplit(url).hostname or "-"
    with ExitStack() as stack:
        try:
            found = await reporter.send(
                ReadCookies(owner=claimed.owner, host=host), list[Cookie], patience=COOKIES_SECONDS
            )
            path = stack.enter_context(cookies.jar(work / cookies.name(claimed.attempt), found))
        except TimeoutError as error:
            failure = Failure(kind="transient", code="cookies_away", message="the cookies can not be read now")
            raise EngineFailed(failure) from error
        except OSError as error:
            failure = Failure(kind="transient", code="io_error", message="the cookies can not be written")
            raise EngineFailed(failure) from error
        yield path


async def archive_file(claimed: Claimed, reporter: Reporter, url: str, work: Path) -> Path | None:
    """What the owner has of the link's site, as far as the job wants to hear of it."""
    mode = claimed.options.archive
    if mode is None:
        return None
    path, after = work / "archive.sqlite3", None
    try:
        await asyncio.to_thread(known.begin, path)
        while True:
            query = ListArchived(owner=claimed.owner, host=urlsplit(url).hostname or "", archive=mode, after=after)
            page = await reporter.send(query, ArchivePage, patience=ARCHIVE_SECONDS)
            await asyncio.to_thread(known.add, path, page.keys)
            after = page.after
            if after is None:
                return path
    except TimeoutError as error:
        failure = Failure(kind="transient", code="archive_away", message="the archive can not be read now")
        raise EngineFailed(failure) from error
    except (OSError, sqlite3.OperationalError) as error:
        failure = Failure(kind="transient", code="io_error", message="the archive can not be written")
        raise EngineFailed(failure) from error
