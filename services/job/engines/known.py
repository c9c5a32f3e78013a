"""Which of the known items this very job stored, at an earlier attempt: they are not what the user had before it."""

from __future__ import annotations

import json
from pathlib import Path


class Own:
    """A list in the work folder, which survives a crash. It has at least every item that was stored."""

    def __init__(self, work: Path, known: frozenset[str]) -> None:
        self._path = work / "own-items"
        lines = self._path.read_text("utf-8").splitlines() if self._path.exists() else []
        self.keys = known & {json.loads(line) for line in lines if line.endswith('"')}

    def add(self, key: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(key)}\n")
