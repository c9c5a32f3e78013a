"""Ports for the servers of tests."""

from __future__ import annotations

import os
import random
import socket
from contextlib import suppress
from itertools import cycle

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_MINE = range(10_000 + _WORKER, 20_000, _WORKERS)
"""Below those that the supervisor takes for its servers, and no other process of this run has them: one that is free
now is still free when the server for it has come up."""
_ports = cycle(random.SystemRandom().sample(_MINE, len(_MINE)))


def own_port() -> int:
    """One of the loopback address on which nothing listens, another each time."""
    while True:
        port = next(_ports)
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
