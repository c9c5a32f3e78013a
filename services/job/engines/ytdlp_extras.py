"""What comes beside a film: its subtitles, its picture and the facts about it, each a file of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct
from yt_dlp.postprocessor.ffmpeg import FFmpegSubtitlesConvertorPP
from yt_dlp.utils import YoutubeDLError

from services.job.engines.options import SUBTITLES

MOST_SUBTITLES = 100
_PICTURES = frozenset({"jpg", "jpeg", "png", "webp", "gif", "avif"})
_WORD = re.compile(r"[A-Za-z0-9-]{1,30}")
_FACTS = (
    *("id", "title", "description", "webpage_url", "extractor", "uploader", "uploader_id", "uploader_url"),
    *("channel", "channel_id", "channel_url", "upload_date", "timestamp", "release_timestamp", "duration"),
    *("view_count", "like_count", "comment_count", "age_limit", "language", "tags", "categories", "chapters"),
    *("artists", "album", "track", "series", "season_number", "episode", "episode_number", "live_status"),
    *("playlist_id", "playlist_title", "playlist_index", "width", "height", "fps", "vcodec", "acodec"),
)
"""What a sidecar has. Addresses of the media itself and headers are not among them: they may carry secrets."""


class Extra(Struct, frozen=True, kw_only=True):
    """`kind` is added to the item's key, `ending` to its title."""

    kind: str
    ending: str
    path: Path


def choose_subtitles(info: dict[str, Any]) -> None:
    """All that somebody wrote; where nobody did, what was recognised in the language of the film. A language is named
    by the site, so one that could be more than a name is left out."""
    chosen = info.get("requested_subtitles") or _recognised(info)
    safe = {
        language: one
        for language, one in chosen.items()
        if _WORD.fullmatch(language)
        and _WORD.fullmatch(str(one.get("ext")))
        and (one.get("data") is not None or str(one.get("url")).startswith(("http://", "https://")))
    }
    info["requested_subtitles"] = dict(list(safe.items())[:MOST_SUBTITLES]) or None


def _recognised(info: dict[str, Any]) -> dict[str, Any]:
    offered: dict[str, list[dict[str, Any]]] = info.get("automatic_captions") or {}
    own = info.get("language")
    language = next(
        (one for one in (f"{own}-orig", own, *(name for name in offered if name.endswith("-orig"))) if one in offered),
        next(iter(offered), None),
    )
    if language is None or not offered[language]:
        return {}
    forms = {str(form.get("ext")): form for form in offered[language]}
    return {language: next((forms[ending] for ending in SUBTITLES if ending in forms), offered[language][-1])}


def name_thumbnails(info: dict[str, Any]) -> None:
    """Endings that are not of a picture would be refused, and the picture with them."""
    for one in info.get("thumbnails") or ():
        ending = str(one.get("ext") or Path(str(one.get("url")).partition("?")[0]).suffix[1:]).lower()
        one["ext"] = ending if ending in _PICTURES else "jpg"


def write_facts(info: dict[str, Any], stem: str) -> None:
    facts = {name: info[name] for name in _FACTS if info.get(name) is not None}
    Path(f"{stem}.info.json").write_text(json.dumps(facts, ensure_ascii=False, indent=1, default=str), "utf-8")


def extras(stem: str, film: Path) -> Iterator[Extra]:
    """What is there beside the film in the folder of this run."""
    for path in sorted(film.parent.glob(f"{stem}.*")):
        middle, _, ending = path.name.removeprefix(f"{stem}.").rpartition(".")
        if path.name == film.name:
            continue
        if ending in SUBTITLES and middle:
            yield Extra(kind=f"subtitle {middle}", ending=f"{middle}.{ending}", path=path)
        elif ending in _PICTURES and not middle:
            yield Extra(kind="thumbnail", ending=ending, path=path)
        elif (middle, ending) == ("info", "json"):
            yield Extra(kind="metadata", ending="info.json", path=path)


class SubtitlesPP(FFmpegSubtitlesConvertorPP):  # type: ignore[misc]  # yt-dlp has no types
    """Only what is in neither of the forms that are handed over is converted."""

    def __init__(self, downloader: Any, failed: Callable[[dict[str, Any], str, Exception], None]) -> None:
        super().__init__(downloader, format=SUBTITLES[0])
        self._failed = failed

    def run(self, information: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        left: list[str] = []
        for language, one in list((information.get("requested_subtitles") or {}).items()):
            if one["ext"] in SUBTITLES:
                continue
            alone = {**information, "requested_subtitles": {language: one}}
            try:
                gone, _ = super().run(alone)
            except (YoutubeDLError, OSError, ValueError) as error:
                self._failed(information, f"subtitle {language}", error)
            else:
                left += gone
                information["requested_subtitles"].update(alone["requested_subtitles"])
        return left, information
