"""Names that are safe anywhere, made here and nowhere else, and the placing of a file under its owner. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import date
from pathlib import PurePosixPath
from uuid import UUID

from proto.storage import About

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
EXTENSIONS = r"^(default|\*|[a-z0-9]{1,16})(,(default|\*|[a-z0-9]{1,16}))*$"
"""What the operator's list looks like."""
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


def extensions(text: str) -> frozenset[str] | None:
    """Of the operator's list, which matches `EXTENSIONS`: `default` stands for ours, and `*`, as None, for all."""
    words = frozenset(text.split(","))
    if ANY in words:
        return None
    return words - {DEFAULT} | (_USUAL if DEFAULT in words else frozenset())


def ending(name: str) -> str:
    """By which a system chooses what to do with a file that is called so; empty when there is none. A number is none:
    it counts the parts of an archive, or belongs to the title."""
    found = PurePosixPath(safe_name(name)).suffix[1:].lower()
    return found if _ENDING.fullmatch(found) and not found.isdigit() else ""


def safe_name(hint: str, fallback: str = "file") -> str:
    """A file name from anything. Path parts are dropped, not honoured; the extension survives shortening."""
    text = unicodedata.normalize("NFC", hint.encode("utf-8", "replace").decode())
    text = text.replace("\\", "/").rsplit("/", 1)[-1]
    text = _FORBIDDEN.sub("_", _SPACES.sub(" ", text)).strip(" .")
    if not text.strip("_. "):
        text = fallback
    text = _shorten(text)
    return f"_{text}" if _RESERVED.fullmatch(text) else text


def safe_directory(hints: tuple[str, ...]) -> PurePosixPath:
    """Each part made safe by itself, so `..` can not climb; empty parts vanish."""
    return PurePosixPath(*(safe_name(part, "folder") for part in hints if part.strip(" ./\\")))


FIELDS = ("owner", "site", "uploader", "collection", "date", "year", "month")
UNKNOWN = "unknown"
LONGEST_WORD = 80
"""Bytes of UTF-8 that a field becomes."""
_FIELD = re.compile(r"\{([^{}]*)\}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def check_folders(template: str) -> None:
    """Raises ValueError, in words for whoever wrote it."""
    for name in _FIELD.findall(template):
        if name not in FIELDS:
            raise ValueError(f"folders have no field {{{name}}}; there are {', '.join(f'{{{one}}}' for one in FIELDS)}")
    if set("{}") & set(_FIELD.sub("", template)):
        raise ValueError("a brace in folders begins or ends no field")


def words(about: About, owner: UUID, today: date) -> dict[str, str]:
    """What the fields become for one file."""
    day = about.date if _DATE.fullmatch(about.date) else today.isoformat()
    return {
        "owner": str(owner),
        "site": _word(about.site),
        "uploader": _word(about.uploader),
        "collection": _word(about.collection),
        "date": day,
        "year": day[:4],
        "month": day[5:7],
    }


def folders(template: str, known: Mapping[str, str]) -> tuple[str, ...]:
    """The folders that a checked template names. No field becomes two of them: what nobody knows is called so."""
    return tuple(_FIELD.sub(lambda field: known.get(field[1], UNKNOWN), part) for part in re.split(r"[\\/]", template))


def _word(value: str) -> str:
    short = value.encode("utf-8", "replace")[:LONGEST_WORD].decode("utf-8", "ignore")
    return re.sub(r"[\\/{}]", "_", short).strip(" .") or UNKNOWN


def placed(owner: UUID, directory: tuple[str, ...], name: str, twin: int = 0) -> PurePosixPath:
    """Where a file goes below the storage root. `twin` counts the files that already have this name there."""
    return PurePosixPath(str(owner)) / safe_directory(directory) / twin_name(name, twin)


def twin_name(name: str, twin: int) -> str:
    """A safe name; `twin` counts the files that already have it."""
    safe = PurePosixPath(safe_name(name))
    return f"{safe.stem} ({twin + 1}){safe.suffix}" if twin else safe.name


def _shorten(text: str) -> str:
    if len(text.encode()) <= LONGEST_NAME:
        return text
    stem, dot, extension = text.rpartition(".")
    if not dot or len(extension.encode()) > LONGEST_EXTENSION:
        stem, extension = text, ""
    keep = LONGEST_NAME - len(extension.encode()) - 1
    return stem.encode()[:keep].decode("utf-8", "ignore").rstrip(" .") + (f".{extension}" if extension else "")
