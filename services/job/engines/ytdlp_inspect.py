"""What yt-dlp says of a link without fetching it, in our words."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any

from yt_dlp.utils import YoutubeDLError, unsmuggle_url

from services.job.engines.ytdlp_failures import classify
from services.job.engines.ytdlp_library import Downloader

MOST_ENTRIES = 1000
LONGEST_TEXT = 5000
LONGEST_TITLE = 500


def inspect(channel: socket.socket, request: Mapping[str, Any], downloader: Downloader) -> None:
    """One answer: `info`, or `failed` as a job would."""
    try:
        if request["cookies"] is not None:
            downloader.take_cookies(request["cookies"])
        said: dict[str, Any] = {
            "t": "info",
            "info": _ours(downloader.look(request["url"], request["proxy"], MOST_ENTRIES)),
        }
    except (YoutubeDLError, OSError) as error:
        said = {"t": "failed", "failure": classify(error)}
    channel.sendall(json.dumps(said).encode() + b"\n")


def _ours(info: Mapping[str, Any]) -> dict[str, Any]:
    entries = [one for one in info.get("entries") or () if one]
    found = {
        "title": _text(info.get("title"), LONGEST_TITLE),
        "duration": _number(info.get("duration"), float),
        "width": _number(info.get("width"), int),
        "height": _number(info.get("height"), int),
        "extractor": _text(info.get("extractor_key") or info.get("extractor")),
        "uploader": _text(info.get("uploader") or info.get("channel")),
        "thumbnail": _text(info.get("thumbnail")),
        "description": _text(info.get("description")),
        "view_count": _number(info.get("view_count"), int),
        "like_count": _number(info.get("like_count"), int),
        "upload_date": info.get("upload_date"),
        "filesize": _number(info.get("filesize") or info.get("filesize_approx"), int),
        "live": bool(info.get("is_live")),
        "entries": [
            # What the engine notes in a link for itself is nobody else's business.
            {"url": unsmuggle_url(str(url))[0], "title": _text(one.get("title"), LONGEST_TITLE)}
            for one in entries
            if (url := one.get("webpage_url") or one.get("url"))
        ],
    }
    return {name: value for name, value in found.items() if value not in (None, [], False)}


def _text(value: object, longest: int = LONGEST_TEXT) -> str | None:
    return str(value)[:longest] if value else None


def _number(value: object, kind: type) -> Any:
    return kind(value) if isinstance(value, (int, float)) and value >= 0 else None
