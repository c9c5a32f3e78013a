"""The cookies of one attempt, in a file that goes with it."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from proto.unrestrict_proxy import Cookie

LAST = 4_102_444_800
"""The year 2100, for those that last a session: readers disagree on how else that is written."""

_SPLITTING = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_HOST = re.compile(r"[0-9a-z_-][0-9a-z._-]*")


def netscape(cookies: Iterable[Cookie]) -> str:
    """The format that every engine reads. What would break a line, and so become a cookie of its own, is left out."""
    return "\n".join(("# Netscape HTTP Cookie File", *(line for one in cookies if (line := _line(one))), ""))


def _line(cookie: Cookie) -> str | None:
    host = cookie.domain.strip().lower().strip(".")
    path = cookie.path or "/"
    if not _HOST.fullmatch(host) or any(_SPLITTING.search(text) for text in (path, cookie.name, cookie.value)):
        return None
    alone = cookie.host_only or host.rpartition(".")[2].isdecimal()  # an address has nothing below it
    expires = LAST if cookie.expires is None else int(min(cookie.expires, LAST))
    return "\t".join(
        (
            host if alone else f".{host}",
            "FALSE" if alone else "TRUE",
            path,
            "TRUE" if cookie.secure else "FALSE",
            str(expires),
            cookie.name,
            cookie.value,
        )
    )


@contextmanager
def jar(path: Path, cookies: list[Cookie]) -> Iterator[Path | None]:
    """None without cookies. The file is ours alone, and gone afterwards; it is locked so that `sweep` knows it is in
    use."""
    if not cookies:
        yield None
        return
    path.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(netscape(cookies))
            file.flush()
            yield path
    finally:
        path.unlink(missing_ok=True)


def name(attempt: int | str) -> str:
    """Of the attempt's own, because a superseded one may still be ending in the same folder."""
    return f"cookies-{attempt}.txt"


def sweep(work_root: Path) -> None:
    """Removes what a worker that was killed left behind."""
    for path in (*work_root.glob(f"*/{name('*')}"), *work_root.glob(f"*/*/{name('*')}")):
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
        except (BlockingIOError, FileNotFoundError):
            continue
