"""What a process does not use any more goes back to the system."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
"""Parameters of glibc's mallopt(3); other C libraries have no such function."""

LARGE = 4 * 1024 * 1024
"""Above what is read, hashed and compared at a time, so that those blocks stay warm."""


def give_back() -> None:
    """Large blocks are pages of their own, which leave with them. Unless it is told where large begins, glibc takes the
    first one that is freed as the measure, and keeps the next: a check of a password needs 19 MB."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, LARGE)
        mallopt(_TRIM_THRESHOLD, LARGE)
