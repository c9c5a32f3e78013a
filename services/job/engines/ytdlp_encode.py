"""One pass of ffmpeg over a film that came: cut, put into another container, encoded anew, as far as it is needed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from yt_dlp.postprocessor.ffmpeg import FFmpegPostProcessor, FFmpegPostProcessorError
from yt_dlp.utils import Popen

from proto.job import Options
from services.job.engines.ytdlp_failures import Impossible
from services.job.engines.ytdlp_plan import BadClip, Content, NoSound, Plan, plan, read_content

READY = ".ready."
"""In the name of a file that has been through this, so that a later attempt does not cut it again."""
_FILMS = "mov,matroska,mpegts,mpeg,flv,avi,asf,mp3,ogg,wav,flac,aac,ac3,eac3,caf,amr,ape,aiff,mpegvideo,h264,hevc,ivf"
GUARD = ("-protocol_whitelist", "file", "-format_whitelist", _FILMS)
"""Before every file from outside: a playlist that calls itself a film could name files of other jobs."""


class EncodePP(FFmpegPostProcessor):  # type: ignore[misc]  # yt-dlp has no types
    def __init__(self, downloader: Any, options: Options, beat: Callable[[], None]) -> None:
        """`beat` is called while ffmpeg gets on, some times a second: the worker hears that nothing hangs."""
        super().__init__(downloader)
        self._options = options
        self._beat = beat

    def run(self, information: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        """Raises Impossible."""
        path = Path(information["filepath"])
        if READY in path.name:
            return [], information
        live = bool(information.get("was_live") or information.get("is_live"))
        try:
            chosen = plan(self._options, self._content(path), path.suffix[1:].lower(), live=live)
        except BadClip as bad:
            raise Impossible("bad_clip", "the clip begins after the end") from bad
        except NoSound as bad:
            raise Impossible("no_sound", "there is no sound in it") from bad
        if chosen is None:
            return [], information
        ready = self._encode(path, chosen)
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
        command += ["-progress", "pipe:1", *GUARD, *chosen.before, "-i", f"file:{path}", *chosen.after, f"file:{fresh}"]
        with Popen(
            command, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
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
