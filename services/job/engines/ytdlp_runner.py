"""One yt-dlp run inside its own process: JSON lines out, one decision for every item that fails."""

from __future__ import annotations

import json
import mimetypes
import os
import socket
from pathlib import Path
from typing import Any

from yt_dlp.utils import DownloadCancelled, YoutubeDLError

from services.job.engines.ytdlp_failures import Verdict, classify
from services.job.engines.ytdlp_leftovers import begin_again, drop_pieces, tidy
from services.job.engines.ytdlp_library import Downloader, file_name, item_key
from services.job.engines.ytdlp_meter import Meter

LONGEST_TITLE = 500
ABORTING = frozenset({"rate_limited", "auth_required", "host_down"})
"""Failures that the next item would only repeat."""
TRANSIENT_ITEMS = 5
"""Items that may fail for passing reasons before the rest is left to another attempt."""
_SEVERAL = ("url", "url_transparent", "playlist", "multi_video")


def run(channel: socket.socket, downloader: Downloader) -> None:
    """Answers the request that is read from the channel."""
    channel.sendall(json.dumps({"t": "started", "pid": os.getpid()}).encode() + b"\n")
    request = json.loads(channel.makefile("rb").readline())
    media = Path(request["work"], "media")
    media.mkdir(exist_ok=True)
    os.chdir(media)
    tidy(Path())
    os.environ["HOME"] = os.environ["TMPDIR"] = request["work"]
    Runner(channel, request, downloader).run()


class _Stop(DownloadCancelled):  # type: ignore[misc]  # yt-dlp has no types; it makes another one from the class alone
    """The attempt is over; `Runner._stopped` says why."""


class _WholeAlready(DownloadCancelled):  # type: ignore[misc]  # see _Stop
    """The partial file is complete, and asking for what follows its end is refused for ever."""


class Runner:
    def __init__(self, channel: socket.socket, request: dict[str, Any], downloader: Downloader) -> None:
        self._channel = channel
        self._url = request["url"]
        self._downloader = downloader
        self._meter = Meter()
        self._known = frozenset(request["known"])
        self._over: set[str] = set()
        """Keys that were told as finished, skipped or failed."""
        self._resolved = False
        self._resuming = True
        self._stopped: Verdict | None = None
        self._held_back: list[Verdict] = []
        """Of items that another attempt may get."""
        self._refused: list[Verdict] = []
        """Of items that nobody will get."""
        downloader.attach(self, request)

    def run(self) -> None:
        try:
            failed = self._attempt()
        except _WholeAlready:
            begin_again(Path())
            self._resuming = False
            failed = self._attempt()
        if failed is None and self._held_back:
            failed = self._held_back[0]
        if failed is None and len(self._over) == len(self._refused):
            failed = (
                self._refused[0]
                if self._refused
                else {"kind": "content", "code": "empty", "message": "there is nothing behind this link"}
            )
        self._tell({"t": "failed", "failure": failed} if failed else {"t": "done"})

    def _attempt(self) -> Verdict | None:
        try:
            self._downloader.fetch(self._url, resume=self._resuming)
        except _Stop:
            return self._stopped
        except _WholeAlready:
            raise
        except (YoutubeDLError, OSError) as error:
            self._repair(error)
            return classify(error)
        return None

    # -- what yt-dlp asks and tells -------------------------------------------------------------------------------

    def is_known(self, key: str) -> bool:
        if key in self._over:
            return True
        if key not in self._known:
            return False
        self._over.add(key)
        self._tell({"t": "skipped", "key": key})
        return True

    def choose(self, info: Any, *, incomplete: bool) -> str | None:
        """None takes the item; a text leaves it out."""
        self._resolve(info, incomplete=incomplete)
        if info.get("is_live") or info.get("live_status") == "is_upcoming":
            verdict = {"kind": "content", "code": "live", "message": "this is a live stream"}
            if not info.get("playlist_index"):
                self._stopped = verdict
                raise _Stop
            self._refuse(item_key(info), verdict)
            return "live"
        if incomplete:
            return None
        key = item_key(info)
        if self.is_known(key):
            return "known"
        info["longshore"] = file_name(key)
        self._meter.begin(info)
        return None

    def progress(self, status: dict[str, Any]) -> None:
        if status["status"] == "finished":
            drop_pieces(Path(status["filename"]))
        elif status["status"] == "downloading" and (news := self._meter.read(status)) is not None:
            self._tell({"t": "progress", "news": news})

    def processing(self, status: dict[str, Any]) -> None:
        own = status["postprocessor"] in ("MoveFiles", "_Tell")
        if status["status"] == "started" and not own and self._meter.items_total == 1:
            self._tell({"t": "processing"})

    def finished(self, info: dict[str, Any]) -> None:
        path = Path(info["filepath"]).absolute()
        key = item_key(info)
        self._over.add(key)
        self._meter.items_done += 1
        title = str(info.get("title") or info.get("id") or "download")[:LONGEST_TITLE]
        self._tell(
            {
                "t": "file",
                "key": key,
                "path": str(path),
                "name": f"{title}{path.suffix}",
                "size": path.stat().st_size,
                "media_type": mimetypes.guess_type(path.name)[0] or "application/octet-stream",
            }
        )

    def entry_failed(self, entry: dict[str, Any], error: Exception) -> None:
        """One of several; the others still have their turn, unless it would be the same with them."""
        self._repair(error)
        verdict = classify(error)
        if verdict["kind"] in ("content", "permanent"):
            self._refuse(item_key(entry), verdict)
            return
        self._held_back.append(verdict)
        if verdict["kind"] in ABORTING or verdict["code"] == "disk_full" or len(self._held_back) >= TRANSIENT_ITEMS:
            self._stopped = verdict
            raise _Stop from error

    # -------------------------------------------------------------------------------------------------------------

    def _resolve(self, info: Any, *, incomplete: bool) -> None:
        several = info.get("n_entries") or info.get("playlist_count")
        title = info.get("playlist_title") if several else info.get("title")
        if self._resolved or (incomplete and (not several or info.get("_type") in _SEVERAL[2:])):
            return
        self._resolved = True
        self._meter.items_total = several or 1
        self._tell(
            {
                "t": "resolved",
                "title": str(title)[:LONGEST_TITLE] if title else None,
                "total": None if several else self._meter.begin(info),
                "items_total": self._meter.items_total,
            }
        )

    def _refuse(self, key: str, verdict: Verdict) -> None:
        if key in self._over:
            return
        self._over.add(key)
        self._refused.append(verdict)
        self._tell({"t": "item_failed", "key": key, "failure": verdict})

    def _repair(self, error: Exception) -> None:
        if self._resuming and "HTTP Error 416" in str(error):
            raise _WholeAlready from error

    def _tell(self, message: dict[str, Any]) -> None:
        self._channel.sendall(json.dumps(message).encode() + b"\n")
