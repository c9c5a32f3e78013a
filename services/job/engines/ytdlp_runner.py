"""One yt-dlp run inside its own process: JSON lines out, one decision for every item that fails."""

from __future__ import annotations

import json
import mimetypes
import os
import socket
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from yt_dlp.utils import DownloadCancelled, YoutubeDLError

from libs.names import unkept
from proto.job import Options
from proto.storage import NOT_KEPT
from services.job.engines.known import Archive
from services.job.engines.options import endings
from services.job.engines.ytdlp_encode import READY
from services.job.engines.ytdlp_extras import choose_subtitles, extras, name_thumbnails, write_facts
from services.job.engines.ytdlp_failures import Verdict, classify
from services.job.engines.ytdlp_inspect import inspect
from services.job.engines.ytdlp_leftovers import begin_again, drop_pieces, tidy
from services.job.engines.ytdlp_library import Downloader, file_name, item_key, item_site, of_a_page
from services.job.engines.ytdlp_live import PULSE_SECONDS, Patience, prepare
from services.job.engines.ytdlp_meter import Meter

LONGEST_TITLE = 500
LONGEST_DESCRIPTION = 2000
ABORTING = frozenset({"rate_limited", "auth_required", "host_down"})
"""Failures that the next item would only repeat."""
TRANSIENT_ITEMS = 5
"""Items that may fail for passing reasons before the rest is left to another attempt."""
_TYPES = {".srt": "application/x-subrip", ".vtt": "text/vtt", ".opus": "audio/ogg"}
_QUIET = ("MoveFiles", "_Tell", "Subtitles", "Encode")
"""Steps that are none for people; the last says itself when it is one."""
_SEVERAL = ("url", "url_transparent", "playlist", "multi_video")


def run(channel: socket.socket, downloader: Downloader) -> None:
    """Answers the request that is read from the channel."""
    channel.sendall(json.dumps({"t": "started", "pid": os.getpid()}).encode() + b"\n")
    request = json.loads(channel.makefile("rb").readline())
    if "inspect" in request:
        os.chdir(request["work"])
        inspect(channel, request, downloader)
        return
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


class _Enough(DownloadCancelled):  # type: ignore[misc]  # see _Stop
    """The user has what follows."""


class Runner:
    def __init__(self, channel: socket.socket, request: dict[str, Any], downloader: Downloader) -> None:
        self._channel = channel
        self._url = request["url"]
        self._downloader = downloader
        self._options = msgspec.convert(request["options"], Options)
        self._cookies = request["cookies"]
        self._telling = threading.Lock()
        self._meter = Meter()
        self._known = frozenset(request["known"])
        self._archive = Archive(Path(request["archive"]) if request["archive"] else None)
        self._allowed = None if request["allowed"] is None else frozenset(request["allowed"])
        self._in_a_row = 0
        """Items that the user had before this job, since the last one that was new."""
        self._patience = Patience()
        self._over: set[str] = set()
        """Keys that were told as finished, skipped or failed."""
        self._resolved = False
        self._resuming = True
        self._stopped: Verdict | None = None
        self._held_back: list[Verdict] = []
        """Of items that another attempt may get."""
        self._refused: list[Verdict] = []
        """Of items that nobody will get."""
        downloader.attach(self, self._options, request)

    def run(self) -> None:
        try:
            failed = self._attempt()
            while failed is not None and self._may_begin(failed):
                failed = self._attempt(wait=True)
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

    def _attempt(self, *, wait: bool = False) -> Verdict | None:
        try:
            if wait:
                self.wait(None)
            if self._cookies is not None:
                self._downloader.take_cookies(self._cookies)
                self._cookies = None
        except _Stop:
            return self._stopped
        except OSError:
            return {"kind": "permanent", "code": "bad_cookies", "message": "the cookies can not be read"}
        try:
            self._downloader.fetch(self._url, resume=self._resuming)
        except _Stop:
            return self._stopped
        except _Enough:
            return None
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
        own = key in self._known
        if not own and key not in self._archive:
            return False
        self._over.add(key)
        self._tell({"t": "skipped", "key": key})
        self._in_a_row += not own
        if self._options.stop_at_known and self._in_a_row >= self._options.stop_at_known:
            raise _Enough
        return True

    def choose(self, info: Any, *, incomplete: bool) -> str | None:
        """None takes the item; a text leaves it out."""
        self._resolve(info, incomplete=incomplete)
        if self._endless(info):
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
        if (why := self._unkept(info)) is not None:
            self._refuse(key, {"kind": "content", "code": NOT_KEPT, "message": why})
            return "unkept"
        self._in_a_row = 0
        stem = info["longshore"] = file_name(key)
        if (ready := next(Path().glob(f"{stem}{READY}*"), None)) is not None:
            self.finished({**info, "filepath": str(ready)})
            return "ready"
        self._meter.begin(info)
        if self._options.subtitles:
            choose_subtitles(info)
        if self._options.thumbnail:
            name_thumbnails(info)
        if self._options.sidecars:
            write_facts(info, stem)
        if info.get("is_live"):
            prepare(info, self._options)
        return None

    def _unkept(self, info: Any) -> str | None:
        """Why it is not kept whatever it is made into, in words."""
        ends = () if info.get("is_live") else endings(_ending(info, str(info.get("ext") or "")), self._options)
        found = [unkept(f"film.{one}", "", self._allowed) for one in ends]
        return found[0] if found and None not in found else None

    def _endless(self, info: Any) -> bool:
        if info.get("live_status") == "is_upcoming":
            return not self._options.wait_for_live or bool(info.get("formats"))
        return bool(info.get("is_live")) and not self._options.record_live

    def progress(self, status: dict[str, Any]) -> None:
        if status["status"] == "finished":
            drop_pieces(Path(status["filename"]))
        elif status["status"] == "downloading" and (news := self._meter.read(status)) is not None:
            self._tell({"t": "progress", "news": news})

    def processing(self, status: dict[str, Any]) -> None:
        if status["status"] == "started" and status["postprocessor"] not in _QUIET:
            self.shaping()

    def shaping(self) -> None:
        """There is work for ffmpeg."""
        if self._meter.items_total == 1:
            self._tell({"t": "processing"})

    def finished(self, info: dict[str, Any]) -> None:
        path = Path(info["filepath"]).absolute()
        key = item_key(info)
        self._over.add(key)
        self._meter.items_done += 1
        title = str(info.get("title") or info.get("id") or "download")[:LONGEST_TITLE]
        ending = _ending(info, path.suffix[1:])
        film = {**_file(key, path, f"{title}.{ending}" if ending else title), "site": item_site(info)}
        beside = []
        for one in extras(info["longshore"], path):
            if f"{key} {one.kind}" in self._known:
                self._tell({"t": "skipped", "key": f"{key} {one.kind}"})
            else:
                beside.append(_file(f"{key} {one.kind}", one.path, f"{title}.{one.ending}"))
        # Of one film it is what the job is about. Of several each is stored as it comes, and one that is stored is
        # passed over by a later attempt, with all that belongs to it.
        about = _about(info)
        for message in (film, *beside) if self._meter.items_total == 1 else (*beside, film):
            self._tell({**message, "about": about})

    def extra_failed(self, info: dict[str, Any], kind: str, error: Exception) -> None:
        """Something beside a film; the film does not depend on it."""
        self._tell({"t": "item_failed", "key": f"{item_key(info)} {kind}", "failure": classify(error)})

    def beat(self) -> None:
        if (news := self._meter.again()) is not None:
            self._tell({"t": "progress", "news": news})

    def recorded(self, name: str, size: int) -> None:
        if (news := self._meter.grow(name, size, PULSE_SECONDS)) is not None:
            self._tell({"t": "progress", "news": news})

    def wait(self, begins: float | None) -> None:
        if (verdict := self._patience.refusal(begins)) is not None:
            self._stopped = verdict
            raise _Stop
        self._patience.wait(begins, self.beat)

    def _may_begin(self, failed: Verdict) -> bool:
        """Servers of streams have no manifest until there is something in it."""
        awaited = self._options.record_live and self._options.wait_for_live and not self._resolved
        return awaited and failed["code"] == "gone" and urlsplit(self._url).path.endswith((".m3u8", ".mpd"))

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
        several = info.get("n_entries") or info.get("playlist_count") or bool(info.get("playlist_index"))
        title = info.get("playlist_title") if several else info.get("title")
        if self._resolved or (incomplete and (not several or info.get("_type") in _SEVERAL[2:])):
            return
        self._resolved = True
        self._meter.items_total = None if several is True else several or 1
        self._tell(
            {
                "t": "resolved",
                "title": str(title)[:LONGEST_TITLE] if title else None,
                "total": None if several else self._meter.begin(info),
                "items_total": self._meter.items_total,
                **({} if several else {"description": _description(info), "release_date": _day(info) or None}),
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
        with self._telling:
            self._channel.sendall(json.dumps(message).encode() + b"\n")


def _about(info: dict[str, Any]) -> dict[str, str]:
    """In the fields of `proto.storage.About`. Of a page that is no site of its own the worker knows the host."""
    return {
        "site": "" if of_a_page(item_key(info)) else item_key(info).partition(" ")[0],
        "uploader": str(info.get("uploader") or info.get("channel") or "")[:LONGEST_TITLE],
        "collection": str(info.get("playlist_title") or info.get("series") or "")[:LONGEST_TITLE],
        "date": _day(info, "upload_date", "release_date"),
    }


def _day(info: dict[str, Any], *names: str) -> str:
    """As in 2026-01-31; empty when the site does not say."""
    day = next((str(info[name]) for name in names or ("release_date", "upload_date") if info.get(name)), "")
    return f"{day[:4]}-{day[4:6]}-{day[6:8]}" if len(day) == 8 and day.isdecimal() else ""


def _description(info: dict[str, Any]) -> str | None:
    text = str(info.get("description") or "")[:LONGEST_DESCRIPTION]
    return "".join(c for c in text if c.isprintable() or c in "\n\t").strip() or None


def _ending(info: dict[str, Any], found: str) -> str:
    """Where yt-dlp has but a word of its own for one that it does not know, the address has the better."""
    if found not in ("unknown_video", "unknown_audio"):
        return found
    return Path(urlsplit(str(info.get("url") or "")).path).suffix[1:]


def _file(key: str, path: Path, name: str) -> dict[str, Any]:
    return {
        "t": "file",
        "key": key,
        "path": str(path.absolute()),
        "name": name,
        "size": path.stat().st_size,
        "media_type": _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream",
    }
