"""A process that has yt-dlp loaded and forks a runner for each job: some milliseconds instead of half a second.

A program, not a module to import: `python -m services.job.engines.zygote FD`. Requests come over the Unix socket FD as
one JSON datagram each, with the runner's own end of a socket pair beside it. It is single-threaded, because a fork of a
threaded process is not safe, and it ends when nobody asked for anything in a while.
"""

from __future__ import annotations

import array
import gc
import json
import os
import select
import signal
import socket
import sys
from typing import Any

from services.job.engines import sandbox, ytdlp_runner

IDLE_SECONDS = 90.0
REQUEST_LIMIT = 1 << 20


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    ytdlp_runner.warm(sys.argv[2])
    gc.collect()
    gc.freeze()  # what is loaded stays shared with every runner: the collector does not touch its pages
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    running: set[int] = set()
    while True:
        ready, _, _ = select.select([control], [], [], IDLE_SECONDS if not running else 1.0)
        _reap(running)
        if not ready:
            if not running:
                return
            continue
        message, channel = _receive(control)
        if not message:
            return
        request = json.loads(message)
        if channel is None:
            control.send(json.dumps({"suitable": ytdlp_runner.suitable(request["suitable"])}).encode())
            continue
        pid = os.fork()
        if pid == 0:
            control.close()
            _become_runner(channel, request)
        running.add(pid)
        channel.close()


def _receive(control: socket.socket) -> tuple[bytes, socket.socket | None]:
    handles = array.array("i")
    message, ancillary, _, _ = control.recvmsg(REQUEST_LIMIT, socket.CMSG_SPACE(handles.itemsize))
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            handles.frombytes(data[: handles.itemsize])
            return message, socket.socket(fileno=handles[0])
    return message, None


def _reap(running: set[int]) -> None:
    for pid in list(running):
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            running.discard(pid)


def _become_runner(channel: socket.socket, request: dict[str, Any]) -> None:
    """Never returns: the runner's end is the process's end."""
    status = 1
    try:
        os.setsid()
        sandbox.confine()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(request["work"])
        os.environ["HOME"] = os.environ["TMPDIR"] = request["work"]
        ytdlp_runner.run(channel, request)
        status = 0
    except KeyboardInterrupt:
        status = 130
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
