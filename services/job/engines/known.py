"""What the user has from other jobs: a file, because gallery-dl reads such files itself and because it may be long."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Self


class Archive:
    """Answers `key in archive` from such a file; without one it holds nothing. A look-up blocks for some microseconds
    when the file is in the page cache."""

    def __init__(self, path: Path | None) -> None:
        self._connection = sqlite3.connect(path, check_same_thread=False) if path is not None else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def __contains__(self, key: str) -> bool:
        if self._connection is None:
            return False
        return self._connection.execute("SELECT 1 FROM archive WHERE entry = ?", (key,)).fetchone() is not None


def begin(path: Path) -> None:
    """Makes an empty file, in place of one that an earlier attempt left."""
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        # As gallery-dl makes them.
        connection.execute("CREATE TABLE archive (entry TEXT PRIMARY KEY) WITHOUT ROWID")


def add(path: Path, keys: Iterable[str]) -> None:
    """Keys that are there already are left as they are."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany("INSERT OR IGNORE INTO archive VALUES (?)", [(key,) for key in keys])
