"""Limits for programs that are not ours, and their death with whoever started them.

A program as well as a module: `python -I -S confine.py PARENT PROGRAM ARGUMENT...` confines itself and becomes PROGRAM.
It needs nothing but the standard library, so a worker with threads never has to run Python between fork and exec.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

FILE_LIMIT = 1 << 40
"""Bytes of one file; the quota proper is the owner's, this stops a runaway."""
MEMORY_LIMIT = 4 << 30
"""Bytes of address space."""
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def die_with_parent() -> None:
    """The kernel kills this process when the thread that started it ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def confine(parent: int) -> None:
    """No way back. Exits at once if `parent` died before it could be watched."""
    die_with_parent()
    if os.getppid() != parent:
        os._exit(1)
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, FILE_LIMIT),
        (resource.RLIMIT_AS, MEMORY_LIMIT),
    ):
        _, hard = resource.getrlimit(limit)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (most, most))


def main() -> None:
    confine(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # an ignored signal would stay ignored in the program
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606  # the point: no shell


if __name__ == "__main__":
    main()
