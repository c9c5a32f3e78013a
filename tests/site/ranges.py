"""Range and If-Range, as RFC 9110 has them, for one range."""

from __future__ import annotations

import re

SINGLE = re.compile(r"bytes=(\d*)-(\d*)")


class Unsatisfiable(Exception):
    """Nothing of the file lies in the range."""


def asked_range(header: str | None, if_range: str | None, *, size: int, etag: str | None) -> range | None:
    """None: send the whole file (no Range, several ranges, one that is no range at all, or the file has changed)."""
    found = SINGLE.fullmatch(header or "")
    if found is None or found.group() == "bytes=-" or (if_range is not None and not _same(if_range, etag)):
        return None
    first, last = found.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= stop:
        raise Unsatisfiable
    return range(start, stop)


def _same(if_range: str, etag: str | None) -> bool:
    """A weak ETag never proves that the bytes are the same."""
    return if_range == etag and not if_range.startswith("W/")
