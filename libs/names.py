"""What a file may be called: names that are safe anywhere, and the endings that an operator wants kept. Pure."""

from __future__ import annotations

import mimetypes
import re
import unicodedata
from pathlib import PurePosixPath
from typing import Annotated

from msgspec import Meta

LONGEST_NAME = 200
"""Bytes of UTF-8; every common file system takes 255, and room is left for a suffix that tells twins apart."""
LONGEST_EXTENSION = 16

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]')
"""Separators and what Windows refuses, controls, and the invisible ones that make `gpj.exe` look like a picture."""
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(\..*)?", re.IGNORECASE)
"""Devices to Windows, whatever follows a dot, and blanks before it do not count."""
_SPACES = re.compile(r"\s+")


DEFAULT = "default"
ANY = "*"
Extensions = Annotated[
    str,
    Meta(
        pattern=r"^(default|\*|[a-z0-9]{1,16})(,(default|\*|[a-z0-9]{1,16}))*$",
        description="endings of files separated by commas, such as default,exe",
    ),
]
"""The operator's list."""
# fmt: off
_USUAL = frozenset({
    "3gp", "avi", "divx", "f4v", "flv", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "ogv", "rm", "rmvb",
    "ts", "vob", "webm", "wmv", "aac", "ac3", "aif", "aiff", "alac", "ape", "dsf", "dts", "eac3", "flac", "m4a",
    "m4b", "mid", "mka", "mp2", "mp3", "mpc", "oga", "ogg", "opus", "wav", "weba", "wma", "wv", "ass", "idx", "lrc",
    "sbv", "smi", "srt", "ssa", "sub", "sup", "ttml", "vtt", "cue", "m3u", "m3u8", "mpd", "nfo", "torrent", "ai",
    "apng", "arw", "avif", "bmp", "clip", "cr2", "cr3", "dng", "eps", "gif", "heic", "heif", "ico", "jfif", "jp2",
    "jpe", "jpeg", "jpg", "jxl", "kra", "nef", "orf", "pdn", "png", "psd", "raf", "rw2", "svg", "tga", "tif", "tiff",
    "webp", "xcf", "azw", "azw3", "cbr", "cbz", "csv", "djvu", "doc", "docx", "epub", "fb2", "key", "log", "lrf",
    "md", "mobi", "numbers", "odp", "ods", "odt", "pages", "pdf", "ppt", "pptx", "ps", "rtf", "tex", "tsv", "txt",
    "xls", "xlsx", "json", "jsonl", "toml", "xml", "yaml", "yml", "geojson", "gpx", "kml", "sqlite", "db", "parquet",
    "7z", "bin", "br", "bz2", "cab", "dmg", "gz", "img", "iso", "lz", "lz4", "lzma", "mdf", "mds", "nrg", "par2",
    "rar", "sfv", "tar", "tbz", "tbz2", "tgz", "txz", "vhd", "vmdk", "xz", "z", "zip", "zipx", "zst", "md5", "sha1",
    "sha256", "3mf", "blend", "dae", "fbx", "glb", "gltf", "obj", "otf", "safetensors", "step", "stl", "stp", "ttf",
    "woff", "woff2",
})
# fmt: on
"""Nothing that a double click runs, and no page."""
_ENDING = re.compile(r"[a-z0-9]{1,16}")
_TYPES = mimetypes.MimeTypes()
"""What every Python knows, whatever the machine adds, and some programs."""
for _type, _usual in (
    ("application/x-msdownload", ".exe"),
    ("application/x-msdos-program", ".exe"),
    ("application/vnd.microsoft.portable-executable", ".exe"),
    ("application/x-msi", ".msi"),
    ("application/vnd.android.package-archive", ".apk"),
    ("application/java-archive", ".jar"),
    ("application/javascript", ".js"),
    ("application/x-javascript", ".js"),
    ("text/x-sh", ".sh"),
    ("text/x-shellscript", ".sh"),
):
    _TYPES.add_type(_type, _usual)
_UNTOLD = frozenset({"application/octet-stream", "binary/octet-stream", "application/force-download"})
"""Types of anything."""


def extensions(text: str) -> frozenset[str] | None:
    """Of the operator's list, an `Extensions`: `default` stands for ours, and `*`, as None, for all."""
    words = frozenset(text.split(","))
    if ANY in words:
        return None
    return words - {DEFAULT} | (_USUAL if DEFAULT in words else frozenset())


def ending(name: str) -> str:
    """By which a system chooses what to do with a file that is called so; empty when there is none. A number is none:
    it counts the parts of an archive, or belongs to the title."""
    found = PurePosixPath(safe_name(name)).suffix[1:].lower()
    return found if _ENDING.fullmatch(found) and not found.isdigit() else ""


def unkept(name: str, media_type: str, allowed: frozenset[str] | None) -> str | None:
    """Why such a file is not kept, in words. `allowed`: endings, None for all. The type counts where the name has no
    ending, and only one of which we know what it usually ends in."""
    if allowed is None:
        return None
    if found := ending(name):
        return None if found in allowed else f"files that end in .{found} are not kept here"
    kind = media_type.lower()
    usual = _TYPES.guess_all_extensions(kind, strict=False) if kind not in _UNTOLD else []
    if not usual or any(one[1:] in allowed for one in usual):
        return None
    return f"files of type {media_type} are not kept here"


def safe_name(hint: str, fallback: str = "file") -> str:
    """A file name from anything. Path parts are dropped, not honoured; the extension survives shortening."""
    text = unicodedata.normalize("NFC", hint.encode("utf-8", "replace").decode())
    text = text.replace("\\", "/").rsplit("/", 1)[-1]
    text = _FORBIDDEN.sub("_", _SPACES.sub(" ", text)).strip(" .")
    if not text.strip("_. "):
        text = fallback
    text = _shorten(text)
    return f"_{text}" if _RESERVED.fullmatch(text) else text


def _shorten(text: str) -> str:
    if len(text.encode()) <= LONGEST_NAME:
        return text
    stem, dot, extension = text.rpartition(".")
    if not dot or len(extension.encode()) > LONGEST_EXTENSION:
        stem, extension = text, ""
    keep = LONGEST_NAME - len(extension.encode()) - 1
    return stem.encode()[:keep].decode("utf-8", "ignore").rstrip(" .") + (f".{extension}" if extension else "")
