"""The placing of a file under its owner; here and nowhere else it gets the name that it is kept under. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from pathlib import PurePosixPath
from uuid import UUID

from libs.names import safe_name
from proto.storage import About


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
    return placed_among(owner, directory, name, range(twin, twin + 1))[0]


def placed_among(owner: UUID, directory: tuple[str, ...], name: str, twins: range) -> list[PurePosixPath]:
    """As `placed`, for each of `twins`."""
    folder, safe = PurePosixPath(str(owner)) / safe_directory(directory), PurePosixPath(safe_name(name))
    return [folder / _numbered(safe, twin) for twin in twins]


def twin_name(name: str, twin: int) -> str:
    """A safe name; `twin` counts the files that already have it."""
    return _numbered(PurePosixPath(safe_name(name)), twin)


def _numbered(safe: PurePosixPath, twin: int) -> str:
    return f"{safe.stem} ({twin + 1}){safe.suffix}" if twin else safe.name
