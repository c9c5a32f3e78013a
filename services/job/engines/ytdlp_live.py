"""Streams that are not over: how long one is recorded, from where, and by which ways ffmpeg may fetch it."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from yt_dlp.downloader.external import FFmpegFD

from proto.job import Options
from services.job.engines.options import WAIT
from services.job.engines.ytdlp_failures import Verdict

PULSE_SECONDS = 1.0
"""Between two words about a recording, for which nobody else says anything."""
LATE_SECONDS = 60.0
"""A recording that has not its length this long after its time is ended: the stream stands still."""
ASKED_TIMES = 3
PIECE_SECONDS = 5.0
"""Of a stream that does not say how long its pieces are."""
LONGEST_WAIT = 86_400.0
"""Seconds for a stream that does not say when it begins."""
SLOT_SECONDS = 600.0
"""A stream that begins later than this is left to another attempt, so that somebody else gets the slot."""
_WAYS = ("-protocol_whitelist", "http,https,httpproxy,tls,tcp,crypto,data")
_overdue = threading.Event()
_GENERATED = "http_dash_segments_generator"


class Patience:
    """With a stream that has not begun: how long it is waited for, and how long until the next look."""

    def __init__(self) -> None:
        self._waited, self._pause = 0.0, float(WAIT[0])

    def refusal(self, begins: float | None) -> Verdict | None:
        """`begins` is a time, if the site says one. None when it is worth to wait here."""
        if begins is not None and begins - time.time() > SLOT_SECONDS:
            return {
                "kind": "transient",
                "code": "not_begun",
                "message": "this stream has not begun",
                "retry_at": datetime.fromtimestamp(begins, UTC).isoformat(),
            }
        if self._waited >= LONGEST_WAIT:
            return {"kind": "content", "code": "live", "message": "this is a live stream, and it is not on"}
        return None

    def wait(self, begins: float | None, beat: Callable[[], None]) -> None:
        """Until it is worth another look; `beat` is called every second."""
        ahead = begins - time.time() if begins is not None else 0.0
        seconds = max(self._pause, min(ahead, float(WAIT[1])))
        self._pause = min(self._pause * 2, float(WAIT[1]))
        self._waited += seconds
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 1.0))
            beat()


def keep_recordings() -> None:
    """A program that was asked to end says that it failed; what it recorded until then is a recording all the same."""
    original = FFmpegFD._call_downloader  # noqa: SLF001  # yt-dlp has no other place where its answer can be read

    def kept(self: Any, name: str, info: Any) -> Any:
        status = original(self, name, info)
        return 0 if _overdue.is_set() and Path(name).exists() and Path(name).stat().st_size else status

    FFmpegFD._call_downloader = kept  # noqa: SLF001  # see above


def prepare(info: dict[str, Any], options: Options) -> None:
    """Before a stream is recorded."""
    for part in info.get("requested_formats") or [info]:
        hls = str(part.get("protocol")).startswith("m3u8")
        first = ("-live_start_index", "0") if hls and options.live_from_start else ()
        part["downloader_options"] = {"ffmpeg_args": [*_WAYS, *first]}
        if options.max_duration and part.get("protocol") == _GENERATED and part.get("fragments"):
            pieces = math.ceil(options.max_duration / float(part.get("target_duration") or PIECE_SECONDS))
            part["fragments"] = _first(part["fragments"], pieces)
    info["downloader_options"] = dict(info.get("downloader_options") or {})
    if options.max_duration:
        info["downloader_options"]["ffmpeg_args_out"] = ["-t", str(options.max_duration)]


def _first(pieces: Any, count: int) -> Callable[[Any], Iterable[Any]]:
    """Of pieces that an extractor makes up as the stream goes on."""
    return lambda context: itertools.islice(pieces(context) if callable(pieces) else pieces, count)


@contextmanager
def recording(name: str, longest: int | None, tell: Callable[[int], None], end: Callable[[], None]) -> Iterator[None]:
    """From a thread: `tell` gets the bytes that are there, `end` is called some times when the recording is overdue."""
    over = threading.Event()
    _overdue.clear()

    def watch() -> None:
        seconds, asked = 0.0, 0
        while not over.wait(PULSE_SECONDS):
            seconds += PULSE_SECONDS
            tell(max((path.stat().st_size for path in _written(name)), default=0))
            if longest is not None and seconds >= longest + LATE_SECONDS and asked < ASKED_TIMES:
                asked += 1
                _overdue.set()
                end()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _written(name: str) -> list[Path]:
    return [path for path in (Path(f"{name}.part"), Path(name)) if path.exists()]
