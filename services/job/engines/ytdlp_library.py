"""The only door to yt-dlp's interface: one instance loaded before the forks, the fixed parameters, and the hooks."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol
from weakref import WeakSet

import yt_dlp
from yt_dlp.cookies import YoutubeDLCookieJar
from yt_dlp.extractor import gen_extractor_classes
from yt_dlp.postprocessor.common import PostProcessor
from yt_dlp.utils import DownloadCancelled, Popen, ReExtractInfo, YoutubeDLError

from proto.job import Options
from services.job.engines.confine import die_with_parent
from services.job.engines.options import shapes_media, ytdlp_format, ytdlp_parameters
from services.job.engines.ytdlp_encode import EncodePP
from services.job.engines.ytdlp_extras import SubtitlesPP
from services.job.engines.ytdlp_live import recording

PAGES = frozenset(
    {
        "generic",
        *(one.ie_key().lower() for one in gen_extractor_classes() if one._VALID_URL is False),  # noqa: SLF001 - yt-dlp's own way of saying it
    }
)
"""Extractors that look for films on any page. Their ids are last parts of the page's address."""
LONGEST_KEY = 300
_started: WeakSet[Any] = WeakSet()
"""Programs of this process."""


class Listener(Protocol):
    def is_known(self, key: str) -> bool: ...

    def choose(self, info: Any, *, incomplete: bool) -> str | None: ...

    def progress(self, status: dict[str, Any]) -> None: ...

    def processing(self, status: dict[str, Any]) -> None: ...

    def finished(self, info: dict[str, Any]) -> None: ...

    def entry_failed(self, entry: dict[str, Any], error: Exception) -> None: ...

    def extra_failed(self, info: dict[str, Any], kind: str, error: Exception) -> None: ...

    def shaping(self) -> None: ...

    def beat(self) -> None: ...

    def recorded(self, name: str, size: int) -> None: ...

    def wait(self, begins: float | None) -> None: ...


def bind_children() -> None:
    """What yt-dlp starts (ffmpeg, a JavaScript engine) dies with the runner, else it would go on writing into a folder
    that the next attempt works in."""
    original = Popen.__init__

    def bound(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, preexec_fn=die_with_parent, **options)
        _started.add(self)

    Popen.__init__ = bound


def end_recording() -> None:
    """Asks ffmpeg to end. The first time it finishes what it has, the second time it stops to wait for more."""
    for one in list(_started):
        if one.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGINT)


def item_key(info: Mapping[str, Any]) -> str:
    """As yt-dlp's archive has it. Ids of what was found on a page are last parts of its address, and several entries
    of a list may share one: there the whole address tells them apart."""
    key = f"{(info.get('extractor_key') or info.get('ie_key') or 'link').lower()} {info.get('id') or info.get('url')}"
    if of_a_page(key) and info.get("playlist_index"):
        address = str(info.get("webpage_url") or info.get("url"))
        key = f"{key} {hashlib.sha256(address.encode()).hexdigest()[:8]}"
    return key if len(key) <= LONGEST_KEY else f"{key[:LONGEST_KEY]} {file_name(key)}"


def item_site(info: Mapping[str, Any]) -> str | None:
    """The extractor, whose ids are its site's. What was found on a page has an identity beyond the job only as one of
    several, with its address."""
    key = item_key(info)
    if of_a_page(key) and not info.get("playlist_index"):
        return None
    return key.partition(" ")[0]


def of_a_page(key: str) -> bool:
    return key.partition(" ")[0] in PAGES


def file_name(key: str) -> str:
    """Of what is written for this item, without its ending. Nothing from outside gets into a path."""
    return hashlib.sha256(key.encode()).hexdigest()[:24]


class Downloader(yt_dlp.YoutubeDL):  # type: ignore[misc]  # yt-dlp has no types
    """Made once and inherited by every runner, which attaches it to a job."""

    def __init__(self, ffmpeg: str) -> None:
        self._listener: Listener | None = None
        self._options = Options()
        super().__init__({**_FIXED, "logger": _Silent(), "ffmpeg_location": ffmpeg or None})
        self._sites = [one for one in self._ies.values() if one.IE_NAME != "generic"]

    def claims(self, url: str) -> bool:
        """Whether an extractor other than the generic one is made for this link."""
        return any(one.suitable(url) for one in self._sites)

    def attach(self, listener: Listener, options: Options, request: Mapping[str, Any]) -> None:
        """What a user chose goes through the table in `options`; nothing else of a request gets in here."""
        self._listener, self._options = listener, options
        self.archive = _Known(listener)
        self.params.update(
            {
                "proxy": request["proxy"],
                "match_filter": listener.choose,
                **ytdlp_parameters(options),
            }
        )
        if ytdlp_format(options) != _FIXED["format"]:
            self.format_selector = self.build_format_selector(ytdlp_format(options))
        if options.subtitles:
            self.add_post_processor(SubtitlesPP(self, listener.extra_failed), when="before_dl")
        if shapes_media(options) or options.max_height or options.record_live or options.preferred_container:
            self.add_post_processor(EncodePP(self, options, listener.shaping, listener.beat))
        self.add_post_processor(_TellPP(listener), when="after_move")
        self.add_progress_hook(listener.progress)
        self.add_postprocessor_hook(listener.processing)
        self._go_through(request["proxy"])

    def look(self, url: str, proxy: str, most: int) -> Mapping[str, Any]:
        """What is behind a link; of several films only where they are. Raises YoutubeDLError, OSError."""
        self.params.update({"proxy": proxy, "extract_flat": "in_playlist", "playlistend": most, "noplaylist": False})
        self._go_through(proxy)
        found: Mapping[str, Any] = self.sanitize_info(self.extract_info(url, download=False))
        return found

    def _go_through(self, proxy: str) -> None:
        for handler in self._request_director.handlers.values():
            handler.proxies = {"all": proxy}
        self.proxies = {"all": proxy}

    def take_cookies(self, file: str) -> None:
        """Nothing is written back to it. Raises OSError (a LoadError is one) when it is no file of cookies."""
        jar = YoutubeDLCookieJar(file)
        jar.load()
        for cookie in jar:
            self.cookiejar.set_cookie(cookie)

    def fetch(self, url: str, *, resume: bool) -> None:
        self.params["continuedl"] = resume
        self.extract_info(url, download=True)

    def process_ie_result(
        self,
        ie_result: Any,
        download: bool = True,  # noqa: FBT002  # yt-dlp's signature
        extra_info: Any = None,
    ) -> Any:
        """An entry of a playlist that fails does not take the others along."""
        try:
            return super().process_ie_result(ie_result, download, extra_info)
        except DownloadCancelled:
            raise
        except (YoutubeDLError, OSError) as error:
            if self._listener is None or not (extra_info and extra_info.get("playlist_index")):
                raise
            self._listener.entry_failed({**extra_info, **ie_result}, error)
            return None

    def process_video_result(self, info_dict: Any, download: bool = True) -> Any:  # noqa: FBT002  # yt-dlp's signature
        """Few sites have a beginning to offer; of the others ffmpeg takes the first piece that is there."""
        if self._options.live_from_start:
            formats = info_dict.get("formats") or ()
            self.params["live_from_start"] = any(one.get("is_from_start") for one in formats)
        return super().process_video_result(info_dict, download)

    def dl(self, name: str, info: Any, subtitle: bool = False, test: bool = False) -> Any:  # noqa: FBT002  # see above
        listener = self._listener
        if listener is None or subtitle or not info.get("is_live"):
            return super().dl(name, info, subtitle, test)
        longest = self._options.max_duration
        with recording(name, longest, lambda size: listener.recorded(name, size), end_recording):
            return super().dl(name, info, subtitle, test)

    def _wait_for_video(self, ie_result: Any = None) -> None:
        """yt-dlp's own waits in silence, and also for what will never be a stream."""
        awaited = not ie_result or (ie_result.get("live_status") == "is_upcoming" and not ie_result.get("formats"))
        if self._listener is None or not self.params.get("wait_for_video") or not awaited:
            return
        self._listener.wait((ie_result or {}).get("release_timestamp"))
        raise ReExtractInfo("the stream may have begun", expected=True)

    def _write_subtitles(self, info_dict: Any, filename: str) -> Any:
        """One that can not be had does not take the film along."""
        written: list[Any] = []
        chosen = info_dict.get("requested_subtitles") or {}
        for language, one in list(chosen.items()):
            try:
                written += (
                    super()._write_subtitles({**info_dict, "requested_subtitles": {language: one}}, filename) or []
                )
            except (YoutubeDLError, OSError) as error:
                del chosen[language]
                if self._listener is not None:
                    self._listener.extra_failed(info_dict, f"subtitle {language}", error)
        return written


class _Known:
    """The archive of this job. Nothing is recorded in it: an item is known when it is stored, not when it came."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def __contains__(self, key: str | None) -> bool:
        # What identifies an entry of a page besides its id is known later, and then asked again.
        return key is not None and not of_a_page(key) and self._listener.is_known(key)

    def add(self, key: str) -> None: ...


class _TellPP(PostProcessor):  # type: ignore[misc]  # yt-dlp has no types
    def __init__(self, listener: Listener) -> None:
        super().__init__()
        self._listener = listener

    def run(self, information: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        self._listener.finished(information)
        return [], information


def _pause(n: int) -> float:
    """Seconds before a request is repeated for the n-th time: three in all for a file, then the job has to wait."""
    return float(min(0.1 * 2**n, 3.0))


class _Silent:
    """yt-dlp's own words go nowhere: what matters comes as data."""

    def debug(self, _: str) -> None: ...

    def info(self, _: str) -> None: ...

    def warning(self, _: str) -> None: ...

    def error(self, _: str) -> None: ...


_FIXED: dict[str, Any] = {
    "format": "bv*+ba/b",
    "outtmpl": {"default": "%(longshore)s.%(ext)s"},
    "restrictfilenames": True,
    "windowsfilenames": True,
    "overwrites": False,
    "quiet": True,
    "noprogress": True,
    "no_color": True,
    "no_warnings": True,
    "cachedir": False,
    "socket_timeout": 20,
    "retries": 5,
    "fragment_retries": 10,
    "extractor_retries": 2,
    "file_access_retries": 1,
    "skip_unavailable_fragments": False,
    "concurrent_fragment_downloads": 4,
    "usenetrc": False,
    "enable_file_urls": False,
    "nocheckcertificate": False,
    "default_search": "error",
    "warn_when_outdated": False,
    "allow_playlist_files": False,
    "hls_prefer_native": True,
    "ignoreerrors": False,
    # What is put together from pieces can be put together again: see `ytdlp_leftovers`.
    "keep_fragments": True,
    "retry_sleep_functions": {"http": _pause, "fragment": _pause},
}
