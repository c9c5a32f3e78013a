"""Names that are safe anywhere, made here and nowhere else, and the placing of a file under its owner. Pure."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath
from uuid import UUID

LONGEST_NAME = 200
"""Bytes of UTF-8; every common file system takes 255, and room is left for a suffix that tells twins apart."""
LONGEST_EXTENSION = 16

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]')
"""Separators and what Windows refuses, controls, and the invisible ones that make `gpj.exe` look like a picture."""
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(\..*)?", re.IGNORECASE)
"""Devices to Windows, whatever follows a dot, and blanks before it do not count."""
_SPACES = re.compile(r"\s+")


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
