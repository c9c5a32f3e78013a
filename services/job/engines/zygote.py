"""A process that has yt-dlp loaded and forks a runner for each job: some milliseconds instead of half a second.

A program, not a module to import: `python -m services.job.engines.zygote CONTROL PARENT FFMPEG IDLE`. It is
single-threaded, because a fork of a threaded process is not safe, and it ends when nobody has asked for anything in
IDLE seconds. CONTROL is a socket of datagrams, each a JSON request with descriptors beside it:

`{"suitable": URL}` with one descriptor, which gets `1` or `0`;
`{"run": true}` with two: the runner's own channel (it reads its request there, and answers), and its leash. A byte on
the leash interrupts the runner's group, its end kills the group. Only then is the runner reaped, so that its number can
not have become somebody else's when the group is signalled.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
import traceback

from services.job.engines import ytdlp_runner
from services.job.engines.confine import confine
from services.job.engines.ytdlp_library import Downloader
from services.job.engines.ytdlp_warmth import warm

REQUEST_LIMIT = 1 << 16
TRACE_LIMIT = 4000
GRACE_SECONDS = 0.5


class Zygote:
    def __init__(self, control: socket.socket, downloader: Downloader, idle: float) -> None:
        self._control = control
        self._downloader = downloader
        self._idle = idle
        self._leashes: dict[socket.socket, int] = {}

    def serve(self) -> None:
        while True:
            ready, _, _ = select.select([self._control, *self._leashes], [], [], self._idle)
            if not ready and not self._leashes:
                return
            for one in ready:
                if one is not self._control:
                    self._tug(one)
                elif not self._answer():
                    for pid in self._leashes.values():
                        _signal(pid, signal.SIGKILL)
                    return

    def _answer(self) -> bool:
        """False when the worker is gone."""
        message, handles, _, _ = socket.recv_fds(self._control, REQUEST_LIMIT, 2)
        channel, *leash = [socket.socket(fileno=handle) for handle in handles]
        if not message:
            return False
        request = json.loads(message)
        if "suitable" in request:
            channel.sendall(b"1" if self._downloader.claims(request["suitable"]) else b"0")
        else:
            self._fork(channel, leash[0])
        channel.close()
        return True

    def _fork(self, channel: socket.socket, leash: socket.socket) -> None:
        pid = os.fork()
        if pid:
            self._leashes[leash] = pid
            return
        for held in (self._control, leash, *self._leashes):
            held.close()  # a leash ends when its other side does, so nobody else may hold this one
        _become_runner(channel, self._downloader)

    def _tug(self, leash: socket.socket) -> None:
        pid = self._leashes[leash]
        try:
            pulled = leash.recv(1)
        except ConnectionError:
            pulled = b""
        if pulled:
            _signal(pid, signal.SIGINT)
            return
        _signal(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        del self._leashes[leash]
        leash.close()


def _signal(pid: int, how: signal.Signals) -> None:
    """The whole group; before the runner has made it, the runner alone. It is not reaped yet: the number is its own."""
    try:
        os.killpg(pid, how)
    except ProcessLookupError:
        os.kill(pid, how)


def _become_runner(channel: socket.socket, downloader: Downloader) -> None:
    """Never returns: the runner's end is the process's end."""
    status = 1
    parent = os.getppid()
    try:
        os.setsid()
        confine(parent)
        signal.signal(signal.SIGINT, _interrupted)
        ytdlp_runner.run(channel, downloader)
        status = 0
    except KeyboardInterrupt:
        status = 130
        gc.collect()  # closes the files that the interrupted frames held, so that what came is on disk
    except Exception:  # noqa: BLE001  # the edge of the process: whoever reads the channel decides what it means
        _tell_crash(channel)
    finally:
        os._exit(status)


def _interrupted(_: int, __: object) -> None:
    """Threads that wait for the network get a moment, then the alarm ends the process."""
    signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS)
    raise KeyboardInterrupt


def _tell_crash(channel: socket.socket) -> None:
    channel.sendall(json.dumps({"t": "crashed", "trace": traceback.format_exc()[-TRACE_LIMIT:]}).encode() + b"\n")


def main() -> None:
    control, parent, ffmpeg, idle = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
    confine(parent)
    downloader = warm(ffmpeg)
    gc.collect()
    gc.freeze()  # what is loaded stays shared with every runner: the collector does not touch its pages
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Zygote(socket.socket(fileno=control), downloader, idle).serve()


if __name__ == "__main__":
    main()
