"""One pass of ffmpeg over a film that came: cut, put into another container, encoded anew, as far as it is needed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from yt_dlp.postprocessor.ffmpeg import FFmpegPostProcessor, FFmpegPostProcessorError
from yt_dlp.utils import Popen

from proto.job import Options
from services.job.engines.options import shapes_media
from services.job.engines.ytdlp_failures import Impossible
from services.job.engines.ytdlp_plan import BadClip, Content, NoSound, Plan, plan, read_content

READY = ".ready."
"""In the name of a file that has been through this, so that a later attempt does not cut it again."""
_FORMATS = (
    "mov,matroska,mpegts,mpeg,flv,avi,asf,ogg,wav,w64,aiff,au,caf,rm,nut,mxf,ivf,dv,gif,obu,av1,h264,hevc,m4v,mpegvideo,"
    "mp3,aac,ac3,eac3,flac,amr,ape,dts,truehd,tta,wv,mpc,ass,srt,webvtt,sami,subviewer,microdvd,mpl2,ttml"
)
GUARD = ("-protocol_whitelist", "file", "-format_whitelist", _FORMATS)
"""Before every file from outside: a playlist that calls itself a film could name files of other jobs."""


THREADS = str(min(4, os.cpu_count() or 1))
"""Others encode beside it, and each thread reserves address space, of which a runner has MEMORY_LIMIT."""


def guard_inputs() -> None:
    """What yt-dlp itself gives to ffmpeg (parts to merge, pieces to repair) is from outside as well."""
    original = FFmpegPostProcessor.real_run_ffmpeg

    def guarded(self: Any, inputs: Any, outputs: Any, **more: Any) -> Any:
        return original(self, [(path, [*GUARD, *options]) for path, options in inputs], outputs, **more)

    FFmpegPostProcessor.real_run_ffmpeg = guarded


class EncodePP(FFmpegPostProcessor):  # type: ignore[misc]  # yt-dlp has no types
    def __init__(self, downloader: Any, options: Options, begun: Callable[[], None], beat: Callable[[], None]) -> None:
        """`begun` is called when there is something to do, `beat` while ffmpeg gets on, some times a second: the worker
        hears that nothing hangs."""
        super().__init__(downloader)
        self._options = options
        self._begun = begun
        self._beat = beat

    def run(self, information: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        """Raises Impossible."""
        path = Path(information["filepath"])
        if READY in path.name:
            return [], information
        live = bool(information.get("is_live"))
        wanted = shapes_media(self._options) or self._options.max_height is not None or live
        if not wanted and path.suffix[1:].lower() == self._options.preferred_container:
            return [], information
        try:
            chosen = plan(self._options, self._content(path), path.suffix[1:].lower(), live=live)
        except BadClip as bad:
            raise Impossible("bad_clip", "the clip begins after the end") from bad
        except NoSound as bad:
            raise Impossible("no_sound", "there is no sound in it") from bad
        if chosen is None:
            return [], information
        self._begun()
        try:
            ready = self._encode(path, chosen)
        except FFmpegPostProcessorError:
            if wanted:
                raise
            return [], information  # it was only preferred
        information["filepath"] = str(ready)
        information["ext"] = chosen.suffix
        return [str(path)], information

    def _content(self, path: Path) -> Content:
        _, said, _ = Popen.run(
            [self.executable, "-nostdin", "-hide_banner", *GUARD, "-i", f"file:{path}"],
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        return read_content(said)

    def _encode(self, path: Path, chosen: Plan) -> Path:
        self.check_version()
        fresh = path.with_name(f"{path.stem}.temp.{chosen.suffix}")
        command = [self.executable, "-y", "-nostdin", "-hide_banner", "-nostats", "-loglevel", "error"]
        command += ["-progress", "pipe:1", "-filter_threads", THREADS]
        command += ["-threads", THREADS, *GUARD, *chosen.before, "-i", f"file:{path}"]
        command += ["-threads", THREADS, *chosen.after, f"file:{fresh}"]
        with Popen(
            command,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "MALLOC_ARENA_MAX": "2"},
        ) as ffmpeg:
            last, said = "", ""
            for line in ffmpeg.stdout:
                name, equals, value = line.strip().partition("=")
                if equals and name == "out_time_us":
                    if value != last:
                        self._beat()
                    last = value
                elif not equals or " " in name:
                    said = line.strip() or said
        if ffmpeg.returncode:
            raise FFmpegPostProcessorError(said or f"ended with {ffmpeg.returncode}")
        ready = path.with_name(f"{path.stem}{READY}{chosen.suffix}")
        fresh.replace(ready)
        return ready
