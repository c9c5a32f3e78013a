"""One yt-dlp run inside its own process: fixed parameters, a closed set of options, JSON lines out."""

from __future__ import annotations

import json
import mimetypes
import os
import re
import socket
import time
from pathlib import Path
from typing import Any

import yt_dlp
from yt_dlp.networking.exceptions import HTTPError, ProxyError, TransportError
from yt_dlp.postprocessor.common import PostProcessor
from yt_dlp.utils import (
    DownloadCancelled,
    DownloadError,
    ExtractorError,
    GeoRestrictedError,
    PostProcessingError,
    UnsupportedError,
)

PROGRESS_SECONDS = 0.25
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_PATHS = re.compile(r"/[\w./-]*/work/[\w./-]*")
_TOOL = re.compile(r"yt[-_]dlp|youtube[-_]dl", re.IGNORECASE)

_extractors: list[Any] = []


def warm(cache: str) -> None:
    """What every run needs, done once before the forks: classes, their compiled patterns, the ffmpeg look-up."""
    del cache
    with yt_dlp.YoutubeDL({"quiet": True, "warn_when_outdated": False, "cachedir": False}) as ydl:
        _extractors.extend(yt_dlp.extractor.gen_extractor_classes())
        suitable("https://files.test/warm/up")
        ydl.get_info_extractor("Generic")
        _ = ydl._request_director  # noqa: SLF001 - built on first use, which must be before the forks


def suitable(url: str) -> bool:
    """Whether an extractor other than the generic one claims this link."""
    return any(one.suitable(url) for one in _extractors if one.IE_NAME != "generic")


class _Silent:
    """yt-dlp's own words go nowhere: what matters comes as data."""

    def debug(self, _: str) -> None: ...

    def info(self, _: str) -> None: ...

    def warning(self, _: str) -> None: ...

    def error(self, _: str) -> None: ...


class _Known(set[str]):
    """The archive of this job: what was stored by an earlier attempt is passed over, and said to be."""

    def __init__(self, known: list[str], tell: Any) -> None:
        super().__init__(known)
        self._tell = tell

    def __contains__(self, key: object) -> bool:
        found = super().__contains__(key)
        if found:
            self._tell({"t": "skipped", "key": key})
        return found

    def add(self, key: str) -> None:
        """Nothing is recorded here: an item is known when it is stored, not when it is fetched."""


class _Refused(DownloadCancelled):  # type: ignore[misc]  # yt-dlp has no types
    """This is not something a job can fetch."""


class _Finished(PostProcessor):  # type: ignore[misc]  # yt-dlp has no types
    def __init__(self, runner: Runner) -> None:
        super().__init__()
        self._runner = runner

    def run(self, information: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        self._runner.finished(information)
        return [], information


class Runner:
    def __init__(self, channel: socket.socket, request: dict[str, Any]) -> None:
        self._channel = channel
        self._request = request
        self._told = 0.0
        self._resolved = False
        self._percent: dict[str, int] = {}
        self._failed = 0
        self._items_total: int | None = None
        self._done = 0

    def tell(self, message: dict[str, Any]) -> None:
        self._channel.sendall(json.dumps(message).encode() + b"\n")

    def run(self) -> None:
        self.tell({"t": "started", "pid": os.getpid()})
        try:
            self._attempt(resume=True)
        except DownloadError as error:
            if "HTTP Error 416" not in str(error):
                self._fail(error)
                return
            # The partial file is whole, and asking for what follows its end fails for ever: begin it again.
            for left in (*Path().rglob("*.part*"), *Path().rglob("*.ytdl")):
                left.unlink(missing_ok=True)
            try:
                self._attempt(resume=False)
            except DownloadError as again:
                self._fail(again)
                return
        except _Refused as refused:
            self.tell({"t": "failed", "kind": "content", "code": "live", "message": str(refused)})
            return
        self.tell({"t": "done"})

    def _attempt(self, *, resume: bool) -> None:
        with yt_dlp.YoutubeDL(self._parameters(resume=resume)) as ydl:
            ydl.add_post_processor(_Finished(self), when="after_move")
            ydl.extract_info(self._request["url"], download=True)

    def _parameters(self, *, resume: bool) -> dict[str, Any]:
        options = self._request["options"]
        height = options.get("max_height")
        limit = f"[height<=?{height}]" if height else ""
        audio = bool(options.get("audio_only"))
        parameters: dict[str, Any] = {
            "format": "ba/b" if audio else f"bv*{limit}+ba/b{limit}/bv*+ba/b",
            "outtmpl": {"default": "%(extractor_key)s-%(id)s.%(ext)s"},
            "paths": {"home": self._request["work"], "temp": self._request["work"]},
            "restrictfilenames": True,
            "windowsfilenames": True,
            "trim_file_name": 150,
            "overwrites": False,
            "continuedl": resume,
            "quiet": True,
            "noprogress": True,
            "no_color": True,
            "no_warnings": True,
            "logger": _Silent(),
            "cachedir": False,
            "socket_timeout": 20,
            "retries": 3,
            "fragment_retries": 5,
            "extractor_retries": 1,
            "file_access_retries": 1,
            "skip_unavailable_fragments": False,
            "concurrent_fragment_downloads": 4,
            "proxy": self._request["proxy"],
            "usenetrc": False,
            "enable_file_urls": False,
            "default_search": "error",
            "warn_when_outdated": False,
            "noplaylist": False,
            "ignoreerrors": False,
            "allow_playlist_files": False,
            "download_archive": _Known(self._request["known"], self.tell),
            "match_filter": self._match,
            "progress_hooks": [self._progress],
            "postprocessor_hooks": [self._processing],
            "ffmpeg_location": self._request["ffmpeg"],
            "playlistend": options.get("max_items"),
            "nocheckcertificate": False,
            "hls_prefer_native": True,
            "fixup": "detect_or_warn",
            "source_address": None,
        }
        if audio:
            parameters["postprocessors"] = [{"key": "FFmpegExtractAudio", "preferredcodec": "m4a"}]
        if self._request.get("rate"):
            parameters["ratelimit"] = self._request["rate"]
        return parameters

    def _match(self, info: dict[str, Any], *, incomplete: bool) -> str | None:
        if info.get("is_live"):
            raise _Refused("this is a live stream")
        if incomplete:
            return None
        self._items_total = info.get("n_entries") or info.get("playlist_count") or 1
        if not self._resolved:
            self._resolved = True
            several = self._items_total > 1
            total = None if several else info.get("filesize") or info.get("filesize_approx")
            self.tell(
                {
                    "t": "resolved",
                    "title": info.get("playlist_title") if several else info.get("title"),
                    "total": int(total) if total else None,
                    "items_total": self._items_total,
                }
            )
        return None

    def _progress(self, status: dict[str, Any]) -> None:
        now = time.monotonic()
        if status["status"] != "downloading" or now - self._told < PROGRESS_SECONDS:
            return
        self._told = now
        done, total = (
            status.get("downloaded_bytes") or 0,
            status.get("total_bytes") or status.get("total_bytes_estimate"),
        )
        name = str(status.get("filename"))
        # A total that is only estimated wobbles; what is shown never goes back.
        done = self._percent[name] = max(self._percent.get(name, 0), int(done))
        self.tell(
            {
                "t": "progress",
                "done": done,
                "total": int(total) if total else None,
                "speed": int(status.get("speed") or 0),
                "eta": int(status["eta"]) if status.get("eta") else None,
                "items_done": self._done,
                "items_total": self._items_total,
                "current": (status.get("info_dict") or {}).get("title"),
            }
        )

    def _processing(self, status: dict[str, Any]) -> None:
        if status["status"] == "started" and status["postprocessor"] not in ("MoveFiles", "_Finished"):
            self.tell({"t": "processing"})

    def finished(self, info: dict[str, Any]) -> None:
        path = Path(info["filepath"])
        self._done += 1
        title = str(info.get("title") or info.get("id") or "download")
        self.tell(
            {
                "t": "file",
                "key": f"{info['extractor_key'].lower()} {info['id']}",
                "path": str(path),
                "name": f"{title}{path.suffix}",
                "size": path.stat().st_size,
                "media_type": mimetypes.guess_type(path.name)[0] or "application/octet-stream",
            }
        )

    def _fail(self, error: DownloadError) -> None:
        kind, code, message = classify(error)
        self.tell({"t": "failed", "kind": kind, "code": code, "message": message})


def classify(error: DownloadError) -> tuple[str, str, str]:
    """(kind, code, message) of `proto.job.Failure`."""
    causes = list(_chain(error))
    text = str(error)
    for cause in causes:
        if isinstance(cause, HTTPError):
            return _by_status(cause.status)
    if any(isinstance(cause, ProxyError) for cause in causes) or "egress refused" in text:
        refused = "403" in text or "egress refused" in text
        return (
            ("permanent", "egress_refused", "this address may not be reached")
            if refused
            else ("host_down", "unreachable", "the server can not be reached")
        )
    for cause in causes:
        if isinstance(cause, UnsupportedError):
            return "content", "unsupported_url", "nothing that can be downloaded was found behind this link"
        if isinstance(cause, GeoRestrictedError):
            return "content", "geo_restricted", "this is not available in the server's country"
        if isinstance(cause, PostProcessingError):
            return "transient", "processing_failed", "the file could not be processed"
        if isinstance(cause, TransportError):
            return "transient", "connection_lost", "the connection was lost"
        if isinstance(cause, OSError) and cause.errno in (27, 28, 122):
            return "transient", "disk_full", "there is no room for this file"
    lowered = text.lower()
    if "drm" in lowered:
        return "content", "drm", "this is protected against copying"
    if any(word in lowered for word in ("log in", "login", "sign in", "cookies", "members-only", "registered users")):
        return "auth_required", "auth_required", "the site asks for a login"
    if any(word in lowered for word in ("private", "removed", "not available", "unavailable", "no video formats")):
        return "content", "unavailable", clean(text)
    if any(isinstance(cause, ExtractorError) and cause.expected for cause in causes):
        return "content", "unavailable", clean(text)
    return "transient", "engine_error", clean(text)


def _by_status(status: int) -> tuple[str, str, str]:
    if status == 429:
        return "rate_limited", "http_429", "the server asks to wait"
    if status in (404, 410, 451):
        return "content", "gone", "there is nothing behind this link"
    if status == 401:
        return "auth_required", "auth_required", "the server asks for a login"
    if status == 403:
        return "content", "forbidden", "the server refuses this link"
    if status >= 500:
        return "transient", f"http_{status}", f"the server answers with error {status}"
    return "content", f"http_{status}", f"the server answers with status {status}"


def _chain(error: BaseException) -> Any:
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        info = getattr(one, "exc_info", None)
        waiting += [getattr(one, "cause", None), one.__cause__, one.__context__, info[1] if info else None]


def clean(text: str) -> str:
    """For people: no colours, no paths of this machine, no names of tools."""
    text = _PATHS.sub("the work folder", _ANSI.sub("", text)).removeprefix("ERROR: ")
    text = re.sub(r"^\[[\w:]+\]\s*(\S+:\s)?", "", text).split("; please report")[0].split(" (caused by")[0]
    return _TOOL.sub("the downloader", text).strip()[:300] or "the download failed"


def run(channel: socket.socket, request: dict[str, Any]) -> None:
    Runner(channel, request).run()
