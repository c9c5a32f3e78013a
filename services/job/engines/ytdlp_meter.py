"""Progress of one runner: many files and estimates in, one number that never goes back out."""

from __future__ import annotations

import time
from typing import Any

SECONDS = 0.25
"""Between two reports."""
LONGEST = 500


class Meter:
    def __init__(self) -> None:
        self.items_done = 0
        self.items_total: int | None = None
        self._past = 0
        self._files: dict[str, tuple[int, int]] = {}
        self._expected = 0
        self._done = 0
        self._share = 0.0
        self._told = 0.0
        self._endless = False

    def begin(self, info: dict[str, Any]) -> int | None:
        """Bytes expected of this item, if it is known before it comes."""
        self._past += sum(done for done, _ in self._files.values())
        self._files = {}
        parts = info.get("requested_formats") or [info]
        sizes = [part.get("filesize") or part.get("filesize_approx") for part in parts]
        self._expected = int(sum(sizes)) if all(sizes) else 0
        return self._expected or None

    def read(self, status: dict[str, Any]) -> dict[str, Any] | None:
        """What to report now, if anything. Picture and sound come as two files, so each is counted by its name."""
        done = int(status.get("downloaded_bytes") or 0)
        total = int(status.get("total_bytes") or status.get("total_bytes_estimate") or 0)
        self._files[str(status.get("filename"))] = (done, total)
        return self.again(int(status.get("speed") or 0), str((status.get("info_dict") or {}).get("title") or ""))

    def grow(self, name: str, size: int, seconds: float) -> dict[str, Any] | None:
        """Of a recording, looked at every so many seconds: nobody knows how much it will be."""
        self._endless = True
        before, _ = self._files.get(name, (size, 0))
        self._files[name] = (size, 0)
        return self.again(int(max(0, size - before) / seconds))

    def again(self, speed: int = 0, current: str = "") -> dict[str, Any] | None:
        """Where it stands, though nothing may have come since."""
        now = time.monotonic()
        if now - self._told < SECONDS:
            return None
        self._told = now
        self._done = max(self._done, self._past + sum(each for each, _ in self._files.values()))
        whole = self._total() if self.items_total == 1 and not self._endless else None
        return {
            "done": self._done,
            "total": whole,
            "speed": speed,
            "eta": (whole - self._done) // speed if whole and speed else None,
            "items_done": self.items_done,
            "items_total": self.items_total,
            "current": current[:LONGEST] or None,
        }

    def _total(self) -> int | None:
        """An estimate wobbles; the share that is done must not."""
        known = max(self._expected, sum(max(done, total) for done, total in self._files.values()))
        if not known or not self._done:
            return known or None
        self._share = max(self._share, min(1.0, self._done / known))
        return max(self._done, int(self._done / self._share))
