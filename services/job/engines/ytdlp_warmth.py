"""What every run needs, done once before the forks. A whole download from a page of our own loads more, and in better
order, than any list of things to import."""

from __future__ import annotations

import mimetypes
import os
import re
import socket
import tempfile

from yt_dlp.postprocessor.ffmpeg import FFmpegPostProcessor
from yt_dlp.utils import YoutubeDLError

from services.job.engines.ytdlp_encode import guard_inputs
from services.job.engines.ytdlp_library import Downloader, bind_children
from services.job.engines.ytdlp_live import keep_recordings

PATTERNS = 1 << 14
"""Compiled patterns kept. All extractors together have thousands, the default of 512 forgets them one by one."""
_PAGE = b'<!doctype html><html><head><title>Warm</title></head><body><video src="/clip.mp4"></video></body></html>'
_CLIP = bytes(1024)


def warm(ffmpeg: str) -> Downloader:
    re._MAXCACHE = PATTERNS  # type: ignore[attr-defined]  # noqa: SLF001  # there is no other way to say it
    mimetypes.init()
    bind_children()
    guard_inputs()
    keep_recordings()
    downloader = Downloader(ffmpeg)
    _ = FFmpegPostProcessor(downloader).available  # remembers what it found out about the program
    home = os.getcwd()  # noqa: PTH109  # goes back to what it was, not to a path
    with socket.create_server(("127.0.0.1", 0)) as server, tempfile.TemporaryDirectory(dir=home) as folder:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        downloader.claims(url)
        pid = os.fork()
        if not pid:
            _serve(server)
        os.chdir(folder)
        try:
            downloader.fetch(url, resume=True)
        except (YoutubeDLError, OSError):
            """Without a loopback the first run of each kind is slower, no more."""
        finally:
            os.chdir(home)
            os.kill(pid, 9)
            os.waitpid(pid, 0)
    return downloader


def _serve(server: socket.socket) -> None:
    """In a child of its own, until it is killed."""
    while True:
        client, _ = server.accept()
        asked = client.recv(65536)
        kind, body = (b"video/mp4", _CLIP) if b"/clip.mp4" in asked.split(b"\r\n")[0] else (b"text/html", _PAGE)
        client.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
            % (kind, len(body), body)
        )
        client.close()
